// Included by the matrix products and by their backward passes: the product's shape.

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
  block_quads: u32,      // columns / 4 of one block
//% if OPTIMIZER is defined
//%   include "optimizer_uniform.wgsl"
//% endif
}
@group(0) @binding(2) var<uniform> p: Gemm;
