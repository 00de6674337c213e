// Second of two steps of a convolution with k split (gemm_tiled.wgsl): adds up the parts' sums and the bias, and
// applies the activation function.
//
// One invocation adds up four channels of one pixel.
//
// x: [part][row][out_quads], y: [row][out_quads], bias: [out_quads]
// Workgroups: (rows · out_quads / ${WORKGROUP}, 1, 1).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "activate.wgsl"

struct SumParts {
  parts: u32,
  quads: u32,      // rows · out_quads
  out_quads: u32,
  relu: u32,
}
@group(0) @binding(2) var<uniform> p: SumParts;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  let i = id.x;
  if i >= p.quads {
    return;
  }
  var sum = bias[i % p.out_quads];
  for (var part = 0u; part < p.parts; part++) {
    sum += load_x(part * p.quads + i);
  }
  store_y(i, activate(sum, i % p.out_quads, p.relu != 0u));
}
