// Included by average pooling and its backward pass: the windows, and how many of their positions count.

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

// The number of positions that count in the window which begins at row `top` and column `left` of the padded input.
fn counted(top: u32, left: u32) -> f32 {
  let rows = before(top, p.kernel_height, p.dilation_y, p.end_row)
    - before(top, p.kernel_height, p.dilation_y, p.first_row);
  let columns = before(left, p.kernel_width, p.dilation_x, p.end_column)
    - before(left, p.kernel_width, p.dilation_x, p.first_column);
  return f32(rows) * f32(columns);
}
