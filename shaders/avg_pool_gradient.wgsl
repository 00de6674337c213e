// Gradient of the input of average pooling: the share of every output whose window has the number. One invocation computes
// four channels of one input pixel.
//
// gradient: [n][out_height][out_width][in_quads], x and y: [n][in_height][in_width][in_quads]
// Workgroups: (in_width · in_quads / ${WORKGROUP}, in_height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "derivative.wgsl"
//% include "avg_pool_uniform.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.in_width * p.in_quads {
    return;
  }
  let c = id.x % p.in_quads;
  // From the start of the padding.
  let row = id.y + p.pad_top;
  let column = id.x / p.in_quads + p.pad_left;
  var sum = vec4f(0.0);
  for (var ky = 0u; ky < p.kernel_height; ky++) {
    // Wraps around where the window would begin before the padding, and is then too large.
    let top = row - ky * p.dilation_y;
    let oy = top / p.stride_y;
    if oy * p.stride_y != top || oy >= p.out_height {
      continue;
    }
    for (var kx = 0u; kx < p.kernel_width; kx++) {
      let left = column - kx * p.dilation_x;
      let ox = left / p.stride_x;
      if ox * p.stride_x != left || ox >= p.out_width {
        continue;
      }
      sum += load_gradient(((id.z * p.out_height + oy) * p.out_width + ox) * p.in_quads + c) / counted(top, left);
    }
  }
  let i = (id.z * p.in_height + id.y) * p.in_width * p.in_quads + id.x;
  store_y(i, pass_back(sum, load_x(i)));
}
