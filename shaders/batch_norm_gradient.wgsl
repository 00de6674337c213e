// Gradient of the input of batch normalisation with fixed statistics: gradient · scale. One invocation computes four
// channels of one pixel.
//
// gradient, x, y: [n][height][width][quads]; scales: [quads]
// Workgroups: (width · quads / ${WORKGROUP}, height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "derivative.wgsl"

struct BatchNorm {
  height: u32,
  width: u32,
  quads: u32,
  relu: u32,
}
@group(0) @binding(2) var<uniform> p: BatchNorm;
@group(0) @binding(5) var<storage, read> scales: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.width * p.quads {
    return;
  }
  let i = (id.z * p.height + id.y) * p.width * p.quads + id.x;
  store_y(i, pass_back(load_gradient(i) * scales[id.x % p.quads], load_x(i)));
}
