// Adaptive average pooling: output row i is the mean of input rows ⌊i·H/h⌋ to ⌈(i+1)·H/h⌉ − 1; columns likewise. One
// invocation computes four channels of one output pixel.
//
// x: [n][in_height][in_width][quads], y: [n][out_height][out_width][quads]
// Workgroups: (out_width · quads / ${WORKGROUP}, out_height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "adaptive_avg_pool_uniform.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.out_width * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let out_column = id.x / p.quads;
  let row0 = scaled(id.y, p.in_height, p.out_height).x;
  let row1 = end_of(id.y, p.in_height, p.out_height);
  let column0 = scaled(out_column, p.in_width, p.out_width).x;
  let column1 = end_of(out_column, p.in_width, p.out_width);
  var sum = vec4f(0.0);
  for (var row = row0; row < row1; row++) {
    for (var column = column0; column < column1; column++) {
      sum += load_x(((id.z * p.in_height + row) * p.in_width + column) * p.quads + c);
    }
  }
  let mean = sum / f32((row1 - row0) * (column1 - column0));
  store_y((id.z * p.out_height + id.y) * p.out_width * p.quads + id.x, mean);
}
