// Two outputs: y = 2 x and z = x².

//% include "input.wgsl"
//% include "output.wgsl"

struct Split {
  quads: u32,
}
@group(0) @binding(2) var<uniform> p: Split;
@group(0) @binding(6) var<storage, read_write> z: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i < p.quads {
    let v = load_x(i);
    store_y(i, 2.0 * v);
    z[i] = v * v;
  }
}
