// Adaptive average pooling: output row i is the mean of input rows ⌊i·H/h⌋ to ⌈(i+1)·H/h⌉ − 1, columns alike.
// One invocation computes four channels of one output pixel.
//
// x: [n][in_height][in_width][quads], y: [n][out_height][out_width][quads]
// Workgroups: (out_width · quads / ${WORKGROUP}, out_height, n).

//% include "input.wgsl"
//% include "output.wgsl"

struct AdaptiveAvgPool {
  in_height: u32,
  in_width: u32,
  quads: u32,
  out_height: u32,
  out_width: u32,
}
@group(0) @binding(2) var<uniform> p: AdaptiveAvgPool;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.out_width * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let out_column = id.x / p.quads;
  let row0 = id.y * p.in_height / p.out_height;
  let row1 = ((id.y + 1u) * p.in_height + p.out_height - 1u) / p.out_height;
  let column0 = out_column * p.in_width / p.out_width;
  let column1 = ((out_column + 1u) * p.in_width + p.out_width - 1u) / p.out_width;
  var sum = vec4f(0.0);
  for (var row = row0; row < row1; row++) {
    for (var column = column0; column < column1; column++) {
      sum += load_x(((id.z * p.in_height + row) * p.in_width + column) * p.quads + c);
    }
  }
  let mean = sum / f32((row1 - row0) * (column1 - column0));
  store_y((id.z * p.out_height + id.y) * p.out_width * p.quads + id.x, mean);
}
