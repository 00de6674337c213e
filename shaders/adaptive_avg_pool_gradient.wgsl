// Gradient of the input of adaptive average pooling: the share of every part that has the number. One invocation computes
// four channels of one input pixel.
//
// gradient: [n][out_height][out_width][quads], x and y: [n][in_height][in_width][quads]
// Workgroups: (in_width · quads / ${WORKGROUP}, in_height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "derivative.wgsl"
//% include "adaptive_avg_pool_uniform.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.in_width * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let column = id.x / p.quads;
  // Part o has row i where ⌊o·H/h⌋ ≤ i < ⌈(o+1)·H/h⌉: from ⌊i·h/H⌋ on, as long as the part begins there.
  var sum = vec4f(0.0);
  for (var oy = scaled(id.y, p.out_height, p.in_height).x; oy < p.out_height; oy++) {
    let row0 = scaled(oy, p.in_height, p.out_height).x;
    if row0 > id.y {
      break;
    }
    let rows = end_of(oy, p.in_height, p.out_height) - row0;
    for (var ox = scaled(column, p.out_width, p.in_width).x; ox < p.out_width; ox++) {
      let column0 = scaled(ox, p.in_width, p.out_width).x;
      if column0 > column {
        break;
      }
      let columns = end_of(ox, p.in_width, p.out_width) - column0;
      sum += load_gradient(((id.z * p.out_height + oy) * p.out_width + ox) * p.quads + c) / f32(rows * columns);
    }
  }
  let i = (id.z * p.in_height + id.y) * p.in_width * p.quads + id.x;
  store_y(i, pass_back(sum, load_x(i)));
}
