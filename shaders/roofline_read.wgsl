// Peak read throughput of an adapter's memory: every workgroup sums up consecutive vec4s, each read once.
//
// x: [workgroups][loops][${WORKGROUP}], y: [invocations]
// Workgroups: the first dimension of x.

//% include "input.wgsl"
//% include "output.wgsl"

struct Roofline {
  loops: u32,  // a multiple of ${UNROLLED}
}
@group(0) @binding(2) var<uniform> p: Roofline;

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let first = workgroup.x * p.loops * ${WORKGROUP}u + index;
//% for j in range(4)
  var sum${j} = vec4f(0.0);
//% endfor
  for (var i = 0u; i < p.loops; i += ${UNROLLED}u) {
//% for j in range(UNROLLED)
    sum${j % 4} += load_x(first + (i + ${j}u) * ${WORKGROUP}u);
//% endfor
  }
  store_y(id.x, sum0 + sum1 + sum2 + sum3);
}
