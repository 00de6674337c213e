// State that a run updates: y += x.

//% include "input.wgsl"
//% include "output.wgsl"

struct Accumulate {
  quads: u32,
}
@group(0) @binding(2) var<uniform> p: Accumulate;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i < p.quads {
    y[i] += load_x(i);
  }
}
