// Included by the tiled matrix products: the windows of a convolution's rows.

// The start of a row's window in x.
struct Window {
  y: u32,   // from the top of its image, and x from the left: negative in the padding, in two's complement
  x: u32,
  at: u32,  // index of its first quad
}

// The window of `row`; outside all images where there is no such row.
fn window(row: u32, group: u32) -> Window {
  let pixels = p.out_height * p.out_width;
  let pixel = row % pixels;
  let y = pixel / p.out_width * p.stride_y - p.pad_top;
  let x = pixel % p.out_width * p.stride_x - p.pad_left;
  let at = ((row / pixels * p.in_height + y) * p.in_width + x) * p.in_quads + group * p.in_group;
  return Window(select(0x80000000u, y, row < p.rows), x, at);
}
