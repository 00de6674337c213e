// Included by the gradients of the input of convolutions with a stride: the order of the pixels.
//
// A cell is stride_y × stride_x pixels, and rows are the cells of all images. Pixels at the same offset in their cells meet
// the same kernel positions, every stride-th one, so each workgroup takes pixels at one offset.

const ABSENT = 0xffffffffu;

struct Tile {
  rows: u32,      // cells of all images
  first: u32,     // the first row of the workgroup
  offset: vec2u,  // column and row of its pixels in their cells
  cells: vec2u,   // cells in a row and in a column of an image
}

// The tile of workgroup `i`, of `size` rows.
fn tile_at(i: u32, size: u32) -> Tile {
  let stride = vec2u(p.stride_x, p.stride_y);
  let cells = (vec2u(p.in_width + p.pad_left, p.in_height + p.pad_top) + stride - 1u) / stride;
  let rows = p.rows / (p.out_height * p.out_width) * cells.x * cells.y;
  let tiles = (rows + size - 1u) / size;
  let offset = i / tiles;
  return Tile(rows, i % tiles * size, vec2u(offset % p.stride_x, offset / p.stride_x), cells);
}

// The pixel of a row, counted over all images; ABSENT where it is padding.
fn pixel_at(tile: Tile, row: u32) -> u32 {
  let cell = row % (tile.cells.x * tile.cells.y);
  // In the padding it wraps around, and is then too large.
  let x = cell % tile.cells.x * p.stride_x + tile.offset.x - p.pad_left;
  let y = cell / tile.cells.x * p.stride_y + tile.offset.y - p.pad_top;
  let pixel = (row / (tile.cells.x * tile.cells.y) * p.in_height + y) * p.in_width + x;
  return select(ABSENT, pixel, row < tile.rows && x < p.in_width && y < p.in_height);
}
