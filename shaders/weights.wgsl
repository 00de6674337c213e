// Included by the shaders that multiply: packed weights [group][column block] in quads of four output channels, ordered as the
// shader says, and the bias, one vec4 a column quad, in a storage buffer.
//
// weights = "f32":   vec4<f32>.
// weights = "f16":   four halves.
// weights = "int8":  four signed bytes, −1 to 1 in steps of 1/127; `scales` has what a column's ±1 stands for.
//
// `weights_at` finds the quad with flat index `i`, once for several loads: `load_w` reads the quad `offset` after it. Both lie
// between the same two multiples of a power of two of at most ${TEXTURE_WIDTH}, so that no row of a texture ends between them.

//% if storage != "buffer"
//%   if storage == "sampled"
@group(0) @binding(3) var weights: texture_2d<f32>;
//%   else
//%     set format = {"f32": "rgba32float", "f16": "rgba16float", "int8": "rgba8snorm"}[weights]
@group(0) @binding(3) var weights: texture_storage_2d<${format}, read>;
//%   endif

fn weights_at(i: u32) -> vec2u {
  return vec2u(i & ${TEXTURE_WIDTH - 1}u, i >> ${TEXTURE_SHIFT}u);
}

fn load_w(at: vec2u, offset: u32) -> vec4f {
  return textureLoad(weights, vec2u(at.x + offset, at.y){% if storage == "sampled" %}, 0{% endif %});
}
//% else
//%   set quad = {"f32": "vec4f", "f16": "vec2u", "int8": "u32"}[weights]
@group(0) @binding(3) var<storage, read> weights: array<${quad}>;

fn weights_at(i: u32) -> u32 {
  return i;
}

fn load_w(at: u32, offset: u32) -> vec4f {
  let quad = weights[at + offset];
//%   if weights == "f32"
  return quad;
//%   elif weights == "f16"
  return vec4f(unpack2x16float(quad.x), unpack2x16float(quad.y));
//%   else
  return unpack4x8snorm(quad);
//%   endif
}
//% endif
//% if reads_bias
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
//% endif
//% if weights == "int8"
@group(0) @binding(5) var<storage, read> scales: array<vec4f>;
//% endif

// A convolution seen as a matrix product: rows are output pixels (of all pictures), columns are output
// channels, k runs over kernel rows, kernel columns and input channels. A fully connected layer is a
// convolution whose kernel is its whole input.
struct Gemm {
  in_height: u32,
  in_width: u32,
  in_quads: u32,         // input channels / 4, of all groups
  tap_quads: u32,        // consecutive vec4s read at one kernel position: a group's input channels / 4

  out_height: u32,
  out_width: u32,
  out_quads: u32,        // output channels / 4, of all groups
  group_out_quads: u32,  // output channels / 4 of one group

  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,

  pad_top: u32,
  pad_left: u32,
  rows: u32,             // pictures × out_height × out_width
  relu: u32,

  blocks: u32,           // column blocks of one group, in all
  first_block: u32,      // the first block in this dispatch (weights too large for one binding)
  bound_blocks: u32,     // blocks of a group in the bound weights
  block_k: u32,          // k of one block: kernel_height × kernel_width × group_in_quads × 4, padded

  in_group: u32,         // from a group's part of x to the next one's, in quads
  out_group: u32,        // and of y
}
@group(0) @binding(2) var<uniform> p: Gemm;
//% if reads_bias

// What turns sums of a column quad into its outputs: read once, since a read costs as much as many sums on some adapters.
struct Epilogue {
  bias: vec4f,
//% if weights == "int8"
  scale: vec4f,
//% endif
  relu: bool,
}

// That of the column quad whose bias is at `i`.
fn epilogue_at(i: u32) -> Epilogue {
  return Epilogue(bias[i], {% if weights == "int8" %}scales[i], {% endif %}p.relu != 0u);
}

fn finish(sums: vec4f, epilogue: Epilogue) -> vec4f {
  let v = sums{% if weights == "int8" %} * epilogue.scale{% endif %} + epilogue.bias;
  return select(v, max(v, vec4f(0.0)), epilogue.relu);
}
//% endif
