// The differences between the 8-bit samples of two images.
//
// x: [2][height][row_quads], the network's input in rows of interleaved channels; y: [rows][runs] of vec4: the sum of
// squared differences, the number of pixels that differ, and the largest difference of a run of ${RUN} pixels.
// One invocation per run. Workgroups: (runs / ${WORKGROUP}, rows, 1).

//% include "input.wgsl"
//% include "output.wgsl"

struct Difference {
  // Of x: vec4s per row and per image, zeros before each row in pixels.
  row_quads: u32,
  image_quads: u32,
  pad_left: u32,
  // The first pixel, and the number of columns.
  first_row: u32,
  first_column: u32,
  columns: u32,
  // The index of the first run in y, and the runs of a row of the whole image.
  first_out: u32,
  out_runs: u32,
  // Converts a difference of input values to one of samples.
  scale: vec4f,
}
@group(0) @binding(2) var<uniform> p: Difference;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let run = workgroup.x * ${WORKGROUP}u + thread;
  if ${RUN}u * run >= p.columns {
    return;
  }
  let row = (p.first_row + workgroup.y) * p.row_quads;
  var sum = vec4f(0.0);
  for (var column = ${RUN}u * run; column < min(${RUN}u * run + ${RUN}u, p.columns); column++) {
    let first = 3u * (p.pad_left + p.first_column + column);
    var most = 0.0;
    for (var channel = 0u; channel < 3u; channel++) {
      let i = first + channel;
      let f = load_x(row + i / 4u)[i % 4u];
      let g = load_x(p.image_quads + row + i / 4u)[i % 4u];
      let difference = floor(abs(f - g) * p.scale[channel] + 0.5);
      sum.x += difference * difference;
      most = max(most, difference);
    }
    sum.y += min(most, 1.0);
    sum.z = max(sum.z, most);
  }
  store_y(p.first_out + workgroup.y * p.out_runs + run, sum);
}
