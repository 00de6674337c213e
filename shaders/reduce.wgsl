// One step of a reduction: x and y are summed and z is the largest, over runs of ${RUN} vec4s.
//
// OF = 0: x has the results of another step.
// OF = 1: x has four values per vec4; y gets their sum and the largest.
// OF = 2: y gets the sum of their squares; where MASKED, of those that the mask has.
// One invocation per run. Workgroups: (runs / ${WORKGROUP}, 1, 1).

//% include "input.wgsl"
//% include "output.wgsl"

struct Reduce {
  // The range of vec4s in x.
  first: u32,
  end: u32,
  // The index of the first result in y.
  first_out: u32,
}
@group(0) @binding(2) var<uniform> p: Reduce;
//% if MASKED
// 1 where a parameter is, and 0 where the packing has none.
@group(0) @binding(14) var<storage, read> mask: array<vec4f>;
//% endif

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let run = workgroup.x * ${WORKGROUP}u + thread;
  let first = p.first + ${RUN}u * run;
  if first >= p.end {
    return;
  }
  var result = vec4f(0.0);
  for (var i = first; i < min(first + ${RUN}u, p.end); i++) {
    let value = load_x(i){% if MASKED %} * mask[i]{% endif %};
//% if OF == 1
    result.x += value.x + value.y + value.z + value.w;
    result.z = max(result.z, max(max(value.x, value.y), max(value.z, value.w)));
//% elif OF == 2
    result.x += dot(value, value);
//% else
    result = vec4f(result.x + value.x, result.y + value.y, max(result.z, value.z), 0.0);
//% endif
  }
  store_y(p.first_out + run, result);
}
