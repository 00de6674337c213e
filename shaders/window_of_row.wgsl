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

// Quad `k` of a row's window.
struct Place {
  at: u32,       // its index in x
  inside: bool,  // not in the padding, and not past the end
}

fn place(window: Window, k: u32, k_quads: u32) -> Place {
  let tap = k / p.tap_quads;
  let ky = tap / p.kernel_width{% if DILATED is defined %} * p.dilation_y{% endif %};
  let kx = tap % p.kernel_width{% if DILATED is defined %} * p.dilation_x{% endif %};
  let inside = k < k_quads && window.y + ky < p.in_height && window.x + kx < p.in_width;
  return Place(window.at + (ky * p.in_width + kx) * p.in_quads + k % p.tap_quads, inside);
}
