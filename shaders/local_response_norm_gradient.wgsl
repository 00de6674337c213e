// Second of two steps of the gradient of local response normalisation:
// gradient / scale^beta − 2 · factor · beta · x · Σ ratio, over the channels in whose windows x is. One invocation computes
// four channels of one pixel.
//
// x, gradient, ratio, y: [n · height][width][quads]; ratio is of local_response_norm_ratio.wgsl
// Workgroups: (width · quads / ${WORKGROUP}, height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "addend.wgsl"
//% include "derivative.wgsl"
//% include "local_response_norm_scale.wgsl"

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
  // The window is mirrored: its channels have x in theirs.
  let last = min((4u * c + 3u + p.before) / 4u, p.quads - 1u);
  var sum = vec4f(0.0);
  for (var q = (max(4u * c, p.after) - p.after) / 4u; q <= last; q++) {
    let ratio = load_addend(pixel + q);
    for (var i = 0u; i < 4u; i++) {
      let channel = vec4u(4u * q + i);
      let inside = (channel + p.after >= channels) & (channel <= channels + p.before);
      sum += select(vec4f(0.0), vec4f(ratio[i]), inside);
    }
  }
  let x = load_x(pixel + c);
  let direct = normalised(load_gradient(pixel + c), scale_of(pixel, c));
  store_y(pixel + c, pass_back(direct - 2.0 * p.factor * p.beta * x * sum, x));
}
