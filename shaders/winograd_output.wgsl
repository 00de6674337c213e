// Included by the steps of Winograd convolution that write the layer's output (see winograd.wgsl), or in a backward pass the
// gradient of its input, which it multiplies by the derivative of the activation function of the layer below.
//
// y: [n][height][width][quads], bias: [quads], addend: the layer's input, laid out as y is

//% include "winograd.wgsl"
//% if DERIVATIVE is defined
//%   include "addend.wgsl"
//%   include "derivative.wgsl"

fn bias_of(c: u32) -> vec4f {
  return vec4f(0.0);
}
//% else
//%   include "activate.wgsl"

@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

fn bias_of(c: u32) -> vec4f {
  return bias[c];
}
//% endif

// Stores channel quad `c` of the output at row `i` and column `j` of the tile that starts at `corner`, after the
// activation function or its derivative. Outputs beyond the image are skipped.
fn store_pixel(corner: Corner, i: u32, j: u32, c: u32, v: vec4f) {
  let row = corner.row + i;
  let column = corner.column + j;
  if row < p.height && column < p.width {
    let pixel = (corner.picture + row) * p.width + column;
    let at = pixel * p.quads + c;
//% if DERIVATIVE is defined
    store_y(at, pass_back(v, load_addend(at)));
//% else
    store_y(at, activate(v, c, p.relu != 0u));
//% endif
  }
}
