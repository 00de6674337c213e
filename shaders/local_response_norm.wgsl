// Local response normalisation across channels: y = x / (k + factor · Σ x²)^beta. The sum is over the window of
// channels around that of x, clipped at both ends. One invocation computes four channels of one pixel.
//
// x, y: [n · height][width][quads]
// Workgroups: (width · quads / ${WORKGROUP}, height, n).

//% include "input.wgsl"
//% include "output.wgsl"

struct LocalResponseNorm {
  height: u32,
  width: u32,
  quads: u32,
  before: u32,  // channels of the window before its centre
  after: u32,   // and after it
  factor: f32,
  beta: f32,
  k: f32,
}
@group(0) @binding(2) var<uniform> p: LocalResponseNorm;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.width * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let pixel = ((id.z * p.height + id.y) * p.width + id.x / p.quads) * p.quads;
  let channels = 4u * c + vec4u(0u, 1u, 2u, 3u);
  let last = min((4u * c + 3u + p.after) / 4u, p.quads - 1u);

  // Channels that pad the last quad are zero and add nothing.
  var squares = vec4f(0.0);
  for (var q = (max(4u * c, p.before) - p.before) / 4u; q <= last; q++) {
    let value = load_x(pixel + q);
    let square = value * value;
    for (var i = 0u; i < 4u; i++) {
      let channel = vec4u(4u * q + i);
      let inside = (channel + p.before >= channels) & (channel <= channels + p.after);
      squares += select(vec4f(0.0), vec4f(square[i]), inside);
    }
  }

  let base = p.k + p.factor * squares;
  let value = load_x(pixel + c);
  var result: vec4f;
  if p.beta == 0.75 {
    // Two square roots are exact, while pow is a driver's approximation.
    let root = sqrt(base);
    result = value / (root * sqrt(root));
  } else {
    result = value * pow(base, vec4f(-p.beta));
  }
  store_y(pixel + c, result);
}
