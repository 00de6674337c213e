// Included by the steps of Winograd convolution that write the layer's output (see winograd.wgsl).
//
// y: [n][height][width][quads], bias: [quads]

//% include "winograd.wgsl"
//% include "activate.wgsl"

@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

// Stores channel quad `c` of the output at row `i` and column `j` of the tile that starts at `corner`, after the
// activation function. Outputs beyond the image are skipped.
fn store_pixel(corner: Corner, i: u32, j: u32, c: u32, v: vec4f) {
  let row = corner.row + i;
  let column = corner.column + j;
  if row < p.height && column < p.width {
    let pixel = (corner.picture + row) * p.width + column;
    store_y(pixel * p.quads + c, activate(v, c, p.relu != 0u));
  }
}
