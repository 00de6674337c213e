// LPIPS of one layer, and its gradient with respect to the features of the first image, before their ReLU:
// d = Σ_c w_c (u_c − v_c)² with u = f / n, n = ‖f‖ + 1e-10, and v the same of g (lpips_distance.wgsl), so
// ∂d/∂f_c = (e_c − u_c Σ_k e_k f_k / ‖f‖) / n with e_c = 2 w_c (u_c − v_c). Where all features are zero, it is zero.
//
// x: f, [quads per position] at each position, after a ReLU; others: g, laid out alike; bias: w; y: `share` times
// the gradient, plus the addend where there is one (the gradient that comes from the layers after it), laid out as x is;
// distances: a number a position.
// One invocation per position. Workgroups: (positions / ${WORKGROUP}, 1, 1).

//% include "input.wgsl"
//% include "output.wgsl"
//% if ADDED
//%   include "addend.wgsl"
//% endif

struct Gradient {
  // Of x: positions, and vec4s per position.
  positions: u32,
  quads: u32,
  // The index of the first distance.
  first_out: u32,
  // The factor of the gradient.
  share: f32,
}
@group(0) @binding(2) var<uniform> p: Gradient;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> distances: array<f32>;
@group(0) @binding(16) var<storage, read> others: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let position = workgroup.x * ${WORKGROUP}u + thread;
  if position >= p.positions {
    return;
  }
  let first = position * p.quads;
  var squares = vec2f(0.0);
  for (var i = first; i < first + p.quads; i++) {
    let f = load_x(i);
    let g = others[i];
    squares += vec2f(dot(f, f), dot(g, g));
  }
  let norms = sqrt(squares);
  let scale = 1.0 / (norms + 1e-10);
  var sum = 0.0;
  var along = 0.0;
  for (var i = first; i < first + p.quads; i++) {
    let f = load_x(i);
    // As in lpips_distance.wgsl, max keeps equal features' distance zero.
    let difference = max(f * scale.x, vec4f(0.0)) - max(others[i] * scale.y, vec4f(0.0));
    sum += dot(bias[i - first], difference * difference);
    along += dot(bias[i - first] * difference, f);
  }
  distances[p.first_out + position] = sum;
  let back = along / max(norms.x, 1e-30) * scale.x;
  for (var i = first; i < first + p.quads; i++) {
    let f = load_x(i);
    let difference = max(f * scale.x, vec4f(0.0)) - max(others[i] * scale.y, vec4f(0.0));
    let slope = 2.0 * p.share * scale.x * (bias[i - first] * difference - f * back);
    store_y(i, select(vec4f(0.0), slope, f > vec4f(0.0)){% if ADDED %} + load_addend(i){% endif %});
  }
}
