// LPIPS of one layer: at each position, the weighted distance between the features of two images, normalised to unit
// length: d = Σ_c w_c (f_c / (‖f‖ + 1e-10) − g_c / (‖g‖ + 1e-10))² (Zhang and others 2018, equation 1).
//
// x: [2][height][width][quads], after a ReLU; bias: w, [quads]; y: the layers' maps of distances, one after the other.
// One invocation per position. Workgroups: (columns / ${WORKGROUP}, rows, 1).

//% include "input.wgsl"

struct Distance {
  // Of x: columns, vec4s per position, vec4s per image.
  width: u32,
  quads: u32,
  image_quads: u32,
  // The first position, and the number of columns.
  first_row: u32,
  first_column: u32,
  columns: u32,
  // The index of the first position in y, and the columns of the layer's map.
  first_out: u32,
  out_width: u32,
}
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Distance;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let column = workgroup.x * ${WORKGROUP}u + thread;
  if column >= p.columns {
    return;
  }
  let first = ((p.first_row + workgroup.y) * p.width + p.first_column + column) * p.quads;
  var squares = vec2f(0.0);
  for (var i = first; i < first + p.quads; i++) {
    let f = load_x(i);
    let g = load_x(p.image_quads + i);
    squares += vec2f(dot(f, f), dot(g, g));
  }
  let scale = 1.0 / (sqrt(squares) + 1e-10);
  var sum = 0.0;
  for (var i = first; i < first + p.quads; i++) {
    // Features are not negative, so max changes nothing. Without it, a compiler may fuse one of the products with the
    // subtraction, and the distance between equal features would be a rounding error.
    let f = max(load_x(i) * scale.x, vec4f(0.0));
    let g = max(load_x(p.image_quads + i) * scale.y, vec4f(0.0));
    sum += dot(bias[i - first], (f - g) * (f - g));
  }
  y[p.first_out + workgroup.y * p.out_width + column] = sum;
}
