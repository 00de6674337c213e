// First of two steps of the gradient of local response normalisation: gradient · output / scale, which the second one
// sums. One invocation computes four channels of one pixel.
//
// x, gradient, y: [n · height][width][quads]
// Workgroups: (width · quads / ${WORKGROUP}, height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
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
  let scale = scale_of(pixel, c);
  store_y(pixel + c, load_gradient(pixel + c) * normalised(load_x(pixel + c), scale) / scale);
}
