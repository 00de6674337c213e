// Included by the steps of Winograd convolution F(${M}×${M}, ${R}×${R}) (Lavin, Gray 2015, "Fast algorithms for convolutional
// neural networks"):
//
//   winograd_input_rows      t = d B       for every ${N}×${N} piece d of the input; pieces overlap by ${R - 1}
//   winograd_input_columns   v = Bᵀ t
//   gemm_*                   one matrix product for each of the ${N * N} positions of v, which are its groups
//   winograd_output_columns  s = Aᵀ m      for every tile of products m
//   winograd_output_rows     Aᵀ m A = s A  ${M}×${M} outputs; then bias and ReLU
//
// One invocation transforms one line (a row or a column) of one tile, for four channels. Two variants combine two
// steps. winograd_input_workgroup combines the first two steps and winograd_output_workgroup the last two; the lines are
// exchanged in workgroup memory. winograd_input_tiles and winograd_output_tiles do the same with one invocation per tile.

//% include "input.wgsl"
//% include "output.wgsl"

struct Tiles {
  height: u32,      // of the layer's input or output, in rows
  width: u32,       // in pixels
  pixel_rows: u32,  // rows that form one row of pixels, with their quads as channels: the stride of a strided window
  pixel_quads: u32, // quads per row of a pixel
  pad_top: u32,
  pad_left: u32,
  quads: u32,       // of the channels
  group_quads: u32, // of one group's channels
  tiles_y: u32,
  tiles_x: u32,
  first_tile: u32,  // the first tile in this dispatch, counted over all images
  tiles: u32,       // the number of tiles in this dispatch
  relu: u32,
}
@group(0) @binding(2) var<uniform> p: Tiles;

// A tile's outputs start at `row` and `column` of an image; `picture` is the number of rows of the images before it.
struct Corner {
  picture: u32,
  row: u32,
  column: u32,
}

// The corner of `tile`, counted over all images, where an image has `p.height` rows.
fn corner_of(tile: u32) -> Corner {
  let picture = tile / (p.tiles_y * p.tiles_x) * p.height;
  return Corner(picture, tile / p.tiles_x % p.tiles_y * ${M}u, tile % p.tiles_x * ${M}u);
}

// Arrays between the steps are [row × column of a tile][group][tile][quad of the group]. `place` is the index of
// channel quad `c` of `tile` (counted in this dispatch) at the first position, and `position_step` the distance between
// positions.
fn place(tile: u32, c: u32) -> u32 {
  return (c / p.group_quads * p.tiles + tile) * p.group_quads + c % p.group_quads;
}

fn position_step() -> u32 {
  return p.tiles * p.quads;
}
