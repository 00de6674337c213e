// Gradient of the input of max pooling: that of every output which took the number. One invocation computes four channels
// of one input pixel.
//
// gradient: [n][out_height][out_width][in_quads], x and y: [n][in_height][in_width][in_quads]
// taken: for each output, the position in its window of the number that was taken, a byte a channel (max_pool.wgsl)
// Workgroups: (in_width · in_quads / ${WORKGROUP}, in_height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "derivative.wgsl"

struct MaxPool {
//% include "window.wgsl"
}
@group(0) @binding(2) var<uniform> p: MaxPool;
@group(0) @binding(9) var<storage, read> taken: array<u32>;

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
//% if DILATED is defined
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
//% else
  // The windows that have the pixel.
  let oy0 = select((row - p.kernel_height) / p.stride_y + 1u, 0u, row < p.kernel_height);
  let oy1 = min(row / p.stride_y + 1u, p.out_height);
  let ox0 = select((column - p.kernel_width) / p.stride_x + 1u, 0u, column < p.kernel_width);
  let ox1 = min(column / p.stride_x + 1u, p.out_width);
  for (var oy = oy0; oy < oy1; oy++) {
    let ky = row - oy * p.stride_y;
    for (var ox = ox0; ox < ox1; ox++) {
      let kx = column - ox * p.stride_x;
//% endif
      let i = ((id.z * p.out_height + oy) * p.out_width + ox) * p.in_quads + c;
      let places = (vec4u(taken[i]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
      sum += select(vec4f(0.0), load_gradient(i), places == vec4u(ky * p.kernel_width + kx));
    }
  }
  let i = (id.z * p.in_height + id.y) * p.in_width * p.in_quads + id.x;
  store_y(i, pass_back(sum, load_x(i)));
}
