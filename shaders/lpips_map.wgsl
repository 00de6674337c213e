// The largest values of the map of distances: each layer's map, resized bilinearly to the image (centres aligned, as
// PyTorch's `align_corners=False`), and their sum.
//
// x: the layers' maps, one after the other; y: [height][runs] of vec4, whose z is the largest value of a run of ${RUN}
// pixels.
// One invocation per run. Workgroups: (runs / ${WORKGROUP}, height, 1).

struct Map {
  height: u32,
  width: u32,
  runs: u32,
  // Of each layer's map: its first index in x, rows and columns.
  layers: array<vec4u, ${LAYERS}>,
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
//% include "output.wgsl"
@group(0) @binding(2) var<uniform> p: Map;

// The positions before and after a pixel's centre, and the weight of the latter.
struct Between {
  low: u32,
  high: u32,
  weight: f32,
}

// For pixel i of `pixels`, among `positions` that cover the same length. In whole numbers, so that no rounding moves a
// position.
fn between(i: u32, pixels: u32, positions: u32) -> Between {
  let at = max((2u * i + 1u) * positions, pixels) - pixels;
  let low = min(at / (2u * pixels), positions - 1u);
  return Between(low, min(low + 1u, positions - 1u), f32(at - low * 2u * pixels) / f32(2u * pixels));
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let run = workgroup.x * ${WORKGROUP}u + thread;
  if run >= p.runs {
    return;
  }
  var largest = 0.0;
  for (var column = ${RUN}u * run; column < min(${RUN}u * run + ${RUN}u, p.width); column++) {
    var sum = 0.0;
    for (var i = 0u; i < ${LAYERS}u; i++) {
      let layer = p.layers[i];
      let row = between(workgroup.y, p.height, layer.y);
      let at = between(column, p.width, layer.z);
      let above = layer.x + row.low * layer.z;
      let below = layer.x + row.high * layer.z;
      let upper = mix(x[above + at.low], x[above + at.high], at.weight);
      let lower = mix(x[below + at.low], x[below + at.high], at.weight);
      sum += mix(upper, lower, row.weight);
    }
    largest = max(largest, sum);
  }
  store_y(workgroup.y * p.runs + run, vec4f(0.0, 0.0, largest, 0.0));
}
