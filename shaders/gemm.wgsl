// Included by the matrix products: weights [group][column block], bias [group][column block], and the product's shape.

//% include "packed.wgsl"
//% if reads_bias
//%   include "activate.wgsl"
//% endif

// A convolution as a matrix product (implicit GEMM). Rows are output pixels of all images, columns are output channels,
// and k runs over kernel rows, kernel columns and input channels. A fully connected layer is a convolution whose kernel
// is its whole input.
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
  rows: u32,             // images × out_height × out_width
  relu: u32,

  blocks: u32,           // column blocks per group, in total
  first_block: u32,      // the first block in this dispatch (weights too large for one binding)
  bound_blocks: u32,     // blocks of a group in the bound weights
  block_k: u32,          // k of one block: kernel_height × kernel_width × group_in_quads × 4, padded

  dilation_y: u32,       // distance between rows of the kernel, where DILATED is set
  dilation_x: u32,

  in_group: u32,         // distance between the groups' parts of x, in quads
  out_group: u32,        // the same for y
}
@group(0) @binding(2) var<uniform> p: Gemm;
//% if reads_bias

// Converts the sums of a column quad to its outputs. It is read once, since a read costs as much as many sums on some
// adapters.
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

// The epilogue of column quad `quad` of all groups, whose bias is at `i`.
fn epilogue_at(i: u32, quad: u32) -> Epilogue {
  return Epilogue(bias[i], {% if weights == "int8" %}scales[i], {% endif %}p.relu != 0u{% if SIGMOID is defined %}, quad{% endif %});
}

fn finish(sums: vec4f, epilogue: Epilogue) -> vec4f {
  let v = sums{% if weights == "int8" %} * epilogue.scale{% endif %} + epilogue.bias;
  return activate(v, {% if SIGMOID is defined %}epilogue.quad{% else %}0u{% endif %}, epilogue.relu);
}
//% endif
