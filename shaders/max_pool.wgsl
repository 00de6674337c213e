// Max pooling. One invocation computes four channels of one output pixel.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][in_quads]
//% if TAKEN is defined
// taken: for each y, the position in its window of the number that was taken, the first of equal ones: a byte a channel
//% endif
// Workgroups: (out_width · in_quads / ${WORKGROUP}, out_height, n).

//% include "input.wgsl"
//% include "output.wgsl"

struct MaxPool {
//% include "window.wgsl"
}
@group(0) @binding(2) var<uniform> p: MaxPool;
//% if TAKEN is defined
@group(0) @binding(9) var<storage, read_write> taken: array<u32>;
//% endif

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.out_width * p.in_quads {
    return;
  }
  let c = id.x % p.in_quads;
  // The window's rows and columns within the input; padding is ignored.
  let top = id.y * p.stride_y;
  let left = id.x / p.in_quads * p.stride_x;
//% if DILATED is defined
  let row0 = top + (max(top, p.pad_top) - top + p.dilation_y - 1u) / p.dilation_y * p.dilation_y - p.pad_top;
  let row1 = min(top + (p.kernel_height - 1u) * p.dilation_y + 1u - p.pad_top, p.in_height);
  let column0 = left + (max(left, p.pad_left) - left + p.dilation_x - 1u) / p.dilation_x * p.dilation_x - p.pad_left;
  let column1 = min(left + (p.kernel_width - 1u) * p.dilation_x + 1u - p.pad_left, p.in_width);
//% else
  let row0 = max(top, p.pad_top) - p.pad_top;
  let row1 = min(top + p.kernel_height - p.pad_top, p.in_height);
  let column0 = max(left, p.pad_left) - p.pad_left;
  let column1 = min(left + p.kernel_width - p.pad_left, p.in_width);
//% endif
  // The first of them starts the maximum; one exists, since padding is smaller than the kernel.
  let picture = id.z * p.in_height;
  var best = load_x(((picture + row0) * p.in_width + column0) * p.in_quads + c);
//% if TAKEN is defined
  // Positions count from the window's start, in the padding too.
  let first = (row0 + p.pad_top - top){% if DILATED is defined %} / p.dilation_y{% endif %} * p.kernel_width + (column0 + p.pad_left - left){% if DILATED is defined %} / p.dilation_x{% endif %};
  var places = vec4u(first);
//% endif
  for (var row = row0; row < row1; row += {% if DILATED is defined %}p.dilation_y{% else %}1u{% endif %}) {
    for (var column = column0; column < column1; column += {% if DILATED is defined %}p.dilation_x{% else %}1u{% endif %}) {
//% if TAKEN is defined
      let value = load_x(((picture + row) * p.in_width + column) * p.in_quads + c);
      let place = (row + p.pad_top - top){% if DILATED is defined %} / p.dilation_y{% endif %} * p.kernel_width + (column + p.pad_left - left){% if DILATED is defined %} / p.dilation_x{% endif %};
      places = select(places, vec4u(place), value > best);
      best = max(best, value);
//% else
      best = max(best, load_x(((picture + row) * p.in_width + column) * p.in_quads + c));
//% endif
    }
  }
  let out = (id.z * p.out_height + id.y) * p.out_width * p.in_quads + id.x;
  store_y(out, best);
//% if TAKEN is defined
  taken[out] = places.x | (places.y << 8u) | (places.z << 16u) | (places.w << 24u);
//% endif
}
