// Included by the steps of Winograd convolution that read the layer's input (see winograd.wgsl).
//
// x: [n][height][width][pixel_quads]

//% include "winograd.wgsl"

// One channel quad of a ${N}×${N} piece of the input.
struct Piece {
  picture: u32,  // rows of the images before its own
  top: i32,      // in its own image; negative in the padding, as is `left`
  left: i32,
  quad: u32,     // of its pixels
}

// The piece of channel quad `c` of `tile`, counted over all images.
fn piece_of(tile: u32, c: u32) -> Piece {
  let corner = corner_of(tile);
  let top = i32(corner.row * p.pixel_rows + c / p.pixel_quads) - i32(p.pad_top);
  return Piece(corner.picture, top, i32(corner.column) - i32(p.pad_left), c % p.pixel_quads);
}

// The value of a piece at row `i` and column `j`; zero in the padding.
fn load_piece(piece: Piece, i: u32, j: u32) -> vec4f {
  let row = piece.top + i32(i * p.pixel_rows);
  let column = piece.left + i32(j);
  let inside = row >= 0 && row < i32(p.height) && column >= 0 && column < i32(p.width);
  let pixel = select(0u, (piece.picture + u32(row)) * p.width + u32(column), inside);
  return select(vec4f(0.0), load_x(pixel * p.pixel_quads + piece.quad), inside);
}
