// Average pooling. One invocation computes four channels of one output pixel.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][in_quads]
// Workgroups: (out_width · in_quads / ${WORKGROUP}, out_height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "avg_pool_uniform.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.out_width * p.in_quads {
    return;
  }
  let c = id.x % p.in_quads;
  let top = id.y * p.stride_y;
  let left = id.x / p.in_quads * p.stride_x;
  let picture = id.z * p.in_height;
  var sum = vec4f(0.0);
  for (var i = 0u; i < p.kernel_height; i++) {
    // Wraps around in the padding, and is then too large.
    let row = top + i * p.dilation_y - p.pad_top;
    if row >= p.in_height {
      continue;
    }
    for (var j = 0u; j < p.kernel_width; j++) {
      let column = left + j * p.dilation_x - p.pad_left;
      if column >= p.in_width {
        continue;
      }
      sum += load_x(((picture + row) * p.in_width + column) * p.in_quads + c);
    }
  }
  store_y((id.z * p.out_height + id.y) * p.out_width * p.in_quads + id.x, sum / counted(top, left));
}
