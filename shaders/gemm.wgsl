// Included by the matrix products: weights [group][column block], bias [group][column block], and the shape of the product.

//% include "packed.wgsl"
//% if reads_bias
//%   include "activate.wgsl"
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

  dilation_y: u32,       // from one row of the kernel to the next, where DILATED is set
  dilation_x: u32,

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
//% if SIGMOID is defined
  quad: u32,
//% endif
}

// That of the column quad `quad` of all groups, whose bias is at `i`.
fn epilogue_at(i: u32, quad: u32) -> Epilogue {
  return Epilogue(bias[i], {% if weights == "int8" %}scales[i], {% endif %}p.relu != 0u{% if SIGMOID is defined %}, quad{% endif %});
}

fn finish(sums: vec4f, epilogue: Epilogue) -> vec4f {
  let v = sums{% if weights == "int8" %} * epilogue.scale{% endif %} + epilogue.bias;
  return activate(v, {% if SIGMOID is defined %}epilogue.quad{% else %}0u{% endif %}, epilogue.relu);
}
//% endif
