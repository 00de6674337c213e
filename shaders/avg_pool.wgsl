// Average pooling. One invocation computes four channels of one output pixel.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][in_quads]
// Workgroups: (out_width · in_quads / ${WORKGROUP}, out_height, n).

//% include "input.wgsl"
//% include "output.wgsl"

struct AvgPool {
//% include "window.wgsl"
  // The positions of a window that count, from the start of the padding: a range along each axis.
  first_row: u32,
  first_column: u32,
  end_row: u32,
  end_column: u32,
}
@group(0) @binding(2) var<uniform> p: AvgPool;

// The number of positions before `limit` among the `count` positions `start`, `start` + `step`, ….
fn before(start: u32, count: u32, step: u32, limit: u32) -> u32 {
  return min((max(limit, start) - start + step - 1u) / step, count);
}

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
  let rows = before(top, p.kernel_height, p.dilation_y, p.end_row)
    - before(top, p.kernel_height, p.dilation_y, p.first_row);
  let columns = before(left, p.kernel_width, p.dilation_x, p.end_column)
    - before(left, p.kernel_width, p.dilation_x, p.first_column);
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
  store_y((id.z * p.out_height + id.y) * p.out_width * p.in_quads + id.x, sum / (f32(rows) * f32(columns)));
}
