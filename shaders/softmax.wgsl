// Softmax over the channels of each pixel, shifted by their maximum. One workgroup per pixel: one per image for a vector; of
// one invocation on processors, whose drivers take long to compile barriers.
//
// x, y: [n][height][width][quads]; channels past p.classes are padding and become zero.
// Workgroups: (width, height, n).

//% include "input.wgsl"
//% include "output.wgsl"

struct Softmax {
  quads: u32,
  classes: u32,
  width: u32,
  height: u32,
}
@group(0) @binding(2) var<uniform> p: Softmax;

const LOWEST = -3.4028234e38;
const THREADS = ${WORKGROUP}u;

var<workgroup> partial: array<f32, THREADS>;

fn classes_of(quad: u32) -> vec4<bool> {
  return 4u * quad + vec4u(0u, 1u, 2u, 3u) < vec4u(p.classes);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let first = ((workgroup.z * p.height + workgroup.y) * p.width + workgroup.x) * p.quads;

  var highest = LOWEST;
  for (var q = thread; q < p.quads; q += THREADS) {
    let v = select(vec4f(LOWEST), load_x(first + q), classes_of(q));
    highest = max(highest, max(max(v.x, v.y), max(v.z, v.w)));
  }
  partial[thread] = highest;
//% if WORKGROUP > 1
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half {
      partial[thread] = max(partial[thread], partial[thread + half]);
    }
    workgroupBarrier();
  }
//% endif
  highest = partial[0];
//% if WORKGROUP > 1
  workgroupBarrier();
//% endif

  var sum = 0.0;
  for (var q = thread; q < p.quads; q += THREADS) {
    let e = select(vec4f(0.0), exp(load_x(first + q) - highest), classes_of(q));
    sum += e.x + e.y + e.z + e.w;
  }
  partial[thread] = sum;
//% if WORKGROUP > 1
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half {
      partial[thread] += partial[thread + half];
    }
    workgroupBarrier();
  }
//% endif
  sum = partial[0];

  for (var q = thread; q < p.quads; q += THREADS) {
    let e = select(vec4f(0.0), exp(load_x(first + q) - highest), classes_of(q));
    store_y(first + q, e / sum);
  }
}
