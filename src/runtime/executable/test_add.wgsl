// Two inputs: y = x + z.

//% include "input.wgsl"
//% include "output.wgsl"

struct Add {
  quads: u32,
}
@group(0) @binding(2) var<uniform> p: Add;
@group(0) @binding(6) var<storage, read> z: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i < p.quads {
    store_y(i, load_x(i) + z[i]);
  }
}
