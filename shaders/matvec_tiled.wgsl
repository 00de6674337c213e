// Fully connected layers at a small batch, for GPUs: every weight is read once, by consecutive threads.
//
// A workgroup computes COLUMN_THREADS · 4 outputs of one picture: COLUMN_THREADS threads side by side own four outputs each,
// SLICES of such rows of threads take every SLICES-th k, and their sums meet in workgroup memory.
//
// x: [n][k / 4], y: [n][out_quads]; weights: [block][k][COLUMN_THREADS], bias: [block][COLUMN_THREADS]
// Workgroups: (pictures, column blocks, 1).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "weights.wgsl"

override COLUMN_THREADS: u32 = 8u;
override SLICES: u32 = 16u;  // a power of two

var<workgroup> sums: array<vec4f, SLICES * COLUMN_THREADS>;

@compute @workgroup_size(COLUMN_THREADS, SLICES)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) thread: vec3u) {
  let block = p.first_block + workgroup.y;
  let k_quads = p.in_height * p.in_width * p.in_quads;
  let x0 = workgroup.x * k_quads;
  let w0 = workgroup.y * p.block_k * COLUMN_THREADS + thread.x;

  var acc = vec4f(0.0);
  for (var k = thread.y; k < k_quads; k += SLICES) {
    let a = load_x(x0 + k);
    let at = weights_at(w0 + k * 4u * COLUMN_THREADS);
    acc = fma(vec4f(a.x), load_w(at, 0u), acc);
    acc = fma(vec4f(a.y), load_w(at, COLUMN_THREADS), acc);
    acc = fma(vec4f(a.z), load_w(at, 2u * COLUMN_THREADS), acc);
    acc = fma(vec4f(a.w), load_w(at, 3u * COLUMN_THREADS), acc);
  }

  let slot = thread.y * COLUMN_THREADS + thread.x;
  sums[slot] = acc;
  workgroupBarrier();
  for (var half = SLICES / 2u; half > 0u; half /= 2u) {
    if thread.y < half {
      sums[slot] += sums[slot + half * COLUMN_THREADS];
    }
    workgroupBarrier();
  }

  let quad = block * COLUMN_THREADS + thread.x;
  if thread.y == 0u && quad < p.out_quads {
    store_y(workgroup.x * p.out_quads + quad, finish(sums[thread.x], epilogue_at(quad)));
  }
}
