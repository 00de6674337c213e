// The k largest values in each image's vector, largest first; among equal values, the lower index comes first. One
// workgroup per image; of one invocation on processors, as in softmax.wgsl.
//
// x: [n][quads]; y: [n][k] of Entry. Where fewer than k values are left, the index is NONE. All indices of an image are
// NONE if one of its values is NaN.
// Workgroups: (n, 1, 1).

struct Entry {
  index: u32,
  value: f32,
}
struct TopK {
  quads: u32,
  classes: u32,
  k: u32,
}

//% include "input.wgsl"
@group(0) @binding(1) var<storage, read_write> y: array<Entry>;
@group(0) @binding(2) var<uniform> p: TopK;

const NONE = 0xffffffffu;
// The index that marks a NaN until it is written.
const NOT_A_NUMBER = 0xfffffffeu;
const THREADS = ${WORKGROUP}u;

var<workgroup> partial: array<Entry, THREADS>;

// Whether a comes before b. A NaN comes before everything, NONE last.
fn precedes(a: Entry, b: Entry) -> bool {
  if a.index == NOT_A_NUMBER || b.index == NOT_A_NUMBER {
    return a.index == NOT_A_NUMBER;
  }
  if a.index == NONE || b.index == NONE {
    return a.index != NONE;
  }
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  // Loops run over flat indices, from one image's first to the next one's. With loops from 0 to a bound in the uniform,
  // lavapipe (Mesa 22.3) would recompile the shader for that bound at every dispatch, which takes longer than a layer.
  let first = workgroup.x * p.quads;
  let end = first + p.quads;
  let first_entry = workgroup.x * p.k;
  var previous = Entry(NONE, 0.0);
  for (var i = first_entry; i < first_entry + p.k; i++) {
    var best = Entry(NONE, 0.0);
    // The same number of iterations for every thread. FXC, Direct3D's old compiler, refuses the barriers below after a
    // loop whose end depends on the thread, even by a `continue`.
    for (var base = first; base < end; base += THREADS) {
      let quad = base + thread;
      if quad < end {
        let values = load_x(quad);
        for (var j = 0u; j < 4u; j++) {
          let entry = Entry(4u * (quad - first) + j, values[j]);
          let left = i == first_entry || precedes(previous, entry);
          // Compared as bits: a compiler may assume that no float is NaN.
          if entry.index < p.classes && (bitcast<u32>(entry.value) & 0x7fffffffu) > 0x7f800000u {
            best = Entry(NOT_A_NUMBER, 0.0);
          } else if entry.index < p.classes && left && precedes(entry, best) {
            best = entry;
          }
        }
      }
    }
    partial[thread] = best;
//% if WORKGROUP > 1
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
      if thread < half && precedes(partial[thread + half], partial[thread]) {
        partial[thread] = partial[thread + half];
      }
      workgroupBarrier();
    }
//% endif
    previous = partial[0];
    if thread == 0u {
      y[i] = Entry(select(previous.index, NONE, previous.index == NOT_A_NUMBER), previous.value);
    }
//% if WORKGROUP > 1
    workgroupBarrier();
//% endif
  }
}
