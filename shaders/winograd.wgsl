// Included by the steps of Winograd convolution F(${M}×${M}, ${R}×${R}) (Lavin, Gray 2015, "Fast algorithms for convolutional
// neural networks"):
//
//   winograd_input_rows      t = d B       for every ${N}×${N} piece d of the input; pieces overlap by ${R - 1}
//   winograd_input_columns   v = Bᵀ t
//   gemm_*                   one matrix product for each of the ${N * N} positions of v, which are its groups
//   winograd_output_columns  s = Aᵀ m      for every tile of products m
//   winograd_output_rows     Aᵀ m A = s A  ${M}×${M} outputs; then bias and ReLU
//
// One invocation transforms one line (a row or a column) of one tile, four channels of it. winograd_input_workgroup is the first
// two steps in one, and winograd_output_workgroup the last two: lines meet in workgroup memory. So are winograd_input_tiles and
// winograd_output_tiles: an invocation transforms a whole tile.

//% include "input.wgsl"
//% include "output.wgsl"

struct Tiles {
  height: u32,      // of the layer's input or output, in rows
  width: u32,       // in pixels
  pixel_rows: u32,  // rows that count as one of pixels, their quads as channels: as many as a strided window moves by
  pixel_quads: u32, // quads of one row of a pixel
  pad_top: u32,
  pad_left: u32,
  quads: u32,       // of the channels
  group_quads: u32, // of one group's channels
  tiles_y: u32,
  tiles_x: u32,
  first_tile: u32,  // of all pictures' tiles, the first in this dispatch
  tiles: u32,       // and how many it transforms
  relu: u32,
}
@group(0) @binding(2) var<uniform> p: Tiles;

// The outputs of a tile start at `row` and `column` of a picture, before which there are `picture` rows of other ones.
struct Corner {
  picture: u32,
  row: u32,
  column: u32,
}

// That of `tile` of all pictures' tiles, where a picture has `p.height` rows.
fn corner_of(tile: u32) -> Corner {
  let picture = tile / (p.tiles_y * p.tiles_x) * p.height;
  return Corner(picture, tile / p.tiles_x % p.tiles_y * ${M}u, tile % p.tiles_x * ${M}u);
}

// What lies between the steps is [row × column of a tile][group][tile][quad of the group]. This is where channel quad `c` of
// `tile` (of this dispatch) lies at the first position, and `position_step` from there to the next.
fn place(tile: u32, c: u32) -> u32 {
  return (c / p.group_quads * p.tiles + tile) * p.group_quads + c % p.group_quads;
}

fn position_step() -> u32 {
  return p.tiles * p.quads;
}
