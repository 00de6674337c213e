// Fully connected layers at a small batch, for GPUs: consecutive threads read every weight once for ${ROWS} images.
//
// A workgroup computes COLUMN_THREADS · 4 outputs of ${ROWS} images. A row of COLUMN_THREADS threads owns four outputs
// per thread. There are SLICES such rows; each takes every SLICES-th quad of k, and their sums are added up in
// workgroup memory.
//
// x: [n][k / 4], y: [n][out_quads]; weights: [block][k][COLUMN_THREADS], bias: [block][COLUMN_THREADS]
// Workgroups: (images / ${ROWS}, column blocks, 1).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"

override COLUMN_THREADS: u32 = 8u;
override SLICES: u32 = 16u;  // a power of two

var<workgroup> sums: array<vec4f, SLICES * COLUMN_THREADS>;

@compute @workgroup_size(COLUMN_THREADS, SLICES)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_id) thread: vec3u) {
//% include "grid.wgsl"
  let block = p.first_block + workgroup.y;
  let k_quads = p.in_height * p.in_width * p.in_quads;
  let w0 = workgroup.y * p.block_k * COLUMN_THREADS + thread.x;
  let picture = workgroup.x * ${ROWS}u;
//% for r in range(ROWS)
  // The last image stands in for those that are missing.
  let x${r} = min(picture + ${r}u, p.rows - 1u) * k_quads;
  var acc${r} = vec4f(0.0);
//% endfor

  for (var k = thread.y; k < k_quads; k += SLICES) {
    let at = weights_at(w0 + k * 4u * COLUMN_THREADS);
//% for i in range(4)
    let w${i} = load_w(at, ${i}u * COLUMN_THREADS);
//% endfor
//% for r in range(ROWS)
    let a${r} = load_x(x${r} + k);
    acc${r} = fma(vec4f(a${r}.x), w0, acc${r});
    acc${r} = fma(vec4f(a${r}.y), w1, acc${r});
    acc${r} = fma(vec4f(a${r}.z), w2, acc${r});
    acc${r} = fma(vec4f(a${r}.w), w3, acc${r});
//% endfor
  }

  let slot = thread.y * COLUMN_THREADS + thread.x;
  let quad = block * COLUMN_THREADS + thread.x;
//% for r in range(ROWS)
  sums[slot] = acc${r};
  workgroupBarrier();
  for (var half = SLICES / 2u; half > 0u; half /= 2u) {
    if thread.y < half {
      sums[slot] += sums[slot + half * COLUMN_THREADS];
    }
    workgroupBarrier();
  }
  if thread.y == 0u && quad < p.out_quads && picture + ${r}u < p.rows {
    store_y((picture + ${r}u) * p.out_quads + quad, finish(sums[thread.x], epilogue_at(quad, quad)));
  }
//% endfor
}
