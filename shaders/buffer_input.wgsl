// The network's input from a storage buffer of preprocessed values in CHW order.
//
// One invocation writes one vec4. x: [n][channel][row][column] of f32.
// Workgroups: (vec4s of a row / ${WORKGROUP}, rows, n).
//
// INTERLEAVED = 1: y has rows of interleaved channels, without padding between pixels.
// INTERLEAVED = 0: y has the usual layout: channels last, padded with zeros to whole vec4s.

struct BufferInput {
  channels: u32,
  height: u32,
  width: u32,
  // vec4s in a row.
  row_quads: u32,
  // Zeros before each row, in pixels.
  pad_left: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
//% include "output.wgsl"
@group(0) @binding(2) var<uniform> p: BufferInput;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.row_quads {
    return;
  }
  var quad = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
//% if INTERLEAVED == 1
    let number = 4u * id.x + i;
    // Wraps around in the padding, and is then too large.
    let column = number / p.channels - p.pad_left;
    let channel = number % p.channels;
//% else
    let pixel_quads = (p.channels + 3u) / 4u;
    let column = id.x / pixel_quads;
    let channel = 4u * (id.x % pixel_quads) + i;
//% endif
    if column < p.width && channel < p.channels {
      quad[i] = x[((id.z * p.channels + channel) * p.height + id.y) * p.width + column];
    }
  }
  store_y((id.z * p.height + id.y) * p.row_quads + id.x, quad);
}
