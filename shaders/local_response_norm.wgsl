// Local response normalisation across channels: y = x / (k + factor · Σ x²)^beta. The sum is over the window of
// channels around that of x, clipped at both ends. One invocation computes four channels of one pixel.
//
// x, y: [n · height][width][quads]
// Workgroups: (width · quads / ${WORKGROUP}, height, n).

//% include "input.wgsl"
//% include "output.wgsl"
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
  store_y(pixel + c, normalised(load_x(pixel + c), scale_of(pixel, c)));
}
