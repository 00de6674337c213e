// Gradient of the input of a softmax over the channels of each pixel: o · (gradient − Σ gradient · o), where o is the
// softmax's output. One workgroup per pixel.
//
// x is the softmax's input, addend its output; all are [n][height][width][quads], and channels that pad them are zero.
// Workgroups: (width, height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "addend.wgsl"
//% include "derivative.wgsl"

struct Softmax {
  quads: u32,
  classes: u32,
  width: u32,
  height: u32,
}
@group(0) @binding(2) var<uniform> p: Softmax;

const THREADS = ${WORKGROUP}u;

var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let first = ((workgroup.z * p.height + workgroup.y) * p.width + workgroup.x) * p.quads;
  var sum = 0.0;
  for (var q = thread; q < p.quads; q += THREADS) {
    sum += dot(load_addend(first + q), load_gradient(first + q));
  }
  partial[thread] = sum;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half {
      partial[thread] += partial[thread + half];
    }
    workgroupBarrier();
  }
  sum = partial[0];
  for (var q = thread; q < p.quads; q += THREADS) {
    let i = first + q;
    store_y(i, pass_back(load_addend(i) * (load_gradient(i) - sum), load_x(i)));
  }
}
