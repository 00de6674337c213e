// Second of two steps of gradients whose rows are summed in parts (weight_gradient_*.wgsl): adds up the parts.
//
// One invocation adds up four numbers.
//
// x: [part][quads], y: [quads]
// Workgroups: (quads / ${WORKGROUP}, 1, 1).

//% include "input.wgsl"
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

struct SumGradients {
  parts: u32,
  quads: u32,
}
@group(0) @binding(2) var<uniform> p: SumGradients;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i >= p.quads {
    return;
  }
  var sum = load_x(i);
  for (var part = 1u; part < p.parts; part++) {
    sum += load_x(part * p.quads + i);
  }
  y[i] {% if ADD %}+={% else %}={% endif %} sum;
}
