// Softmax, its cross-entropy with the images' classes, and the gradient of the logits, in one: (softmax − 1 at the class) ·
// weight. One workgroup per image.
//
// x: [n][quads], the logits; targets: [n] of (class, weight of the image's loss in the sum, 0, 0), in which the host divides
// by the number of images; y: [n][quads]
// results: [n] of (cross-entropy, the most likely class, the probability of the image's class, weight)
// Workgroups: (n, 1, 1).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "derivative.wgsl"

struct CrossEntropy {
  quads: u32,
  classes: u32,
}
@group(0) @binding(2) var<uniform> p: CrossEntropy;
@group(0) @binding(8) var<storage, read> targets: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> results: array<vec4f>;

const LOWEST = -3.4028234e38;
const THREADS = ${WORKGROUP}u;

var<workgroup> partial: array<f32, THREADS>;
var<workgroup> places: array<u32, THREADS>;

fn classes_of(quad: u32) -> vec4<bool> {
  return 4u * quad + vec4u(0u, 1u, 2u, 3u) < vec4u(p.classes);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let image = workgroup.x;
  let first = image * p.quads;

  // The largest logit, and the first class that has it.
  var highest = LOWEST;
  var place = 0u;
  for (var q = thread; q < p.quads; q += THREADS) {
    let v = select(vec4f(LOWEST), load_x(first + q), classes_of(q));
    for (var i = 0u; i < 4u; i++) {
      if v[i] > highest {
        highest = v[i];
        place = 4u * q + i;
      }
    }
  }
  partial[thread] = highest;
  places[thread] = place;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half {
      let other = partial[thread + half];
      let here = partial[thread];
      if other > here || (other == here && places[thread + half] < places[thread]) {
        partial[thread] = other;
        places[thread] = places[thread + half];
      }
    }
    workgroupBarrier();
  }
  highest = partial[0];
  place = places[0];
  workgroupBarrier();

  var sum = 0.0;
  for (var q = thread; q < p.quads; q += THREADS) {
    let e = select(vec4f(0.0), exp(load_x(first + q) - highest), classes_of(q));
    sum += e.x + e.y + e.z + e.w;
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

  let target_of = targets[image];
  let label = min(u32(target_of.x), p.classes - 1u);
  for (var q = thread; q < p.quads; q += THREADS) {
    let logits = load_x(first + q);
    let e = select(vec4f(0.0), exp(logits - highest), classes_of(q)) / sum;
    let hit = select(vec4f(0.0), vec4f(1.0), 4u * q + vec4u(0u, 1u, 2u, 3u) == vec4u(label));
    store_y(first + q, pass_back((e - hit) * target_of.y, logits));
    if q == label / 4u {
      results[image] = vec4f(log(sum) + highest - dot(logits, hit), f32(place), dot(e, hit), target_of.y);
    }
  }
}
