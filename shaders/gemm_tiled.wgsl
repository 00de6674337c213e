// Convolution and fully connected layers for GPUs: implicit GEMM with tiles in workgroup memory.
//
// A workgroup of COLUMN_THREADS × ROW_THREADS computes ROW_THREADS · ${ROWS} rows (output pixels) × COLUMN_THREADS · 4
// columns (output channels); a thread holds ${ROWS} rows × 4 columns in registers. Each turn stages ${K_QUADS * 4} k of both operands.
// Nothing beyond WebGPU's defaults is needed.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][out_quads]
// weights: [group][block][k][COLUMN_THREADS], bias: [group][block][COLUMN_THREADS]
// Workgroups: (row blocks, column blocks, groups · ${SPLITS}).
//% if SPLITS > 1
//
// k is split in ${SPLITS} parts, for layers with fewer tiles than a GPU has room for. y: [part][row][out_quads], sums without
// bias; sum_parts.wgsl adds them up.
//% endif

//% include "input.wgsl"
//% include "output.wgsl"
//% include "weights.wgsl"

override COLUMN_THREADS: u32 = 8u;
override ROW_THREADS: u32 = 8u;

const K_QUADS = ${K_QUADS}u;

var<workgroup> a_tile: array<vec4f, ROW_THREADS * ${ROWS}u * K_QUADS>;        // [row][k / 4]
var<workgroup> b_tile: array<vec4f, K_QUADS * 4u * COLUMN_THREADS>;  // [k][column / 4]

@compute @workgroup_size(COLUMN_THREADS, ROW_THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_id) thread: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let block = p.first_block + workgroup.y;
  let group = workgroup.z / ${SPLITS}u;
  let tile_rows = ROW_THREADS * ${ROWS}u;
  let threads = COLUMN_THREADS * ROW_THREADS;
  let row0 = workgroup.x * tile_rows;
  let pixels = p.out_height * p.out_width;
  let k_quads = p.kernel_height * p.kernel_width * p.tap_quads;
  let w0 = (group * p.bound_blocks + workgroup.y) * p.block_k * COLUMN_THREADS;

//% for r in range(ROWS)
  var acc${r} = vec4f(0.0);
//% endfor

//% if SPLITS > 1
  // Whole turns a part; the last parts may have fewer, or none.
  let part = workgroup.z % ${SPLITS}u;
  let turns = (k_quads + ${SPLITS}u * K_QUADS - 1u) / (${SPLITS}u * K_QUADS);
  let k_first = part * turns * K_QUADS;
  let k_end = min(k_first + turns * K_QUADS, k_quads);
//% else
  let k_first = 0u;
  let k_end = k_quads;
//% endif
  for (var k0 = k_first; k0 < k_end; k0 += K_QUADS) {
    for (var i = index; i < tile_rows * K_QUADS; i += threads) {
      let row = row0 + i / K_QUADS;
      let k = k0 + i % K_QUADS;
      var value = vec4f(0.0);
      if row < p.rows && k < k_quads {
        let c = k % p.tap_quads;
        let tap = k / p.tap_quads;
        let pixel = row % pixels;
        let iy = i32(pixel / p.out_width * p.stride_y + tap / p.kernel_width) - i32(p.pad_top);
        let ix = i32(pixel % p.out_width * p.stride_x + tap % p.kernel_width) - i32(p.pad_left);
        if iy >= 0 && iy < i32(p.in_height) && ix >= 0 && ix < i32(p.in_width) {
          let pixel_in = (row / pixels * p.in_height + u32(iy)) * p.in_width + u32(ix);
          value = load_x(pixel_in * p.in_quads + group * p.in_group + c);
        }
      }
      a_tile[i] = value;
    }
    for (var i = index; i < K_QUADS * 4u * COLUMN_THREADS; i += threads) {
      let k = k0 * 4u + i / COLUMN_THREADS;
      var value = vec4f(0.0);
      if k < k_quads * 4u {
        value = load_w(weights_at(w0 + k0 * 4u * COLUMN_THREADS + i), 0u);
      }
      b_tile[i] = value;
    }
    workgroupBarrier();

    for (var k = 0u; k < K_QUADS; k++) {
      let b0 = b_tile[(k * 4u + 0u) * COLUMN_THREADS + thread.x];
      let b1 = b_tile[(k * 4u + 1u) * COLUMN_THREADS + thread.x];
      let b2 = b_tile[(k * 4u + 2u) * COLUMN_THREADS + thread.x];
      let b3 = b_tile[(k * 4u + 3u) * COLUMN_THREADS + thread.x];
//% for r in range(ROWS)
      let a${r} = a_tile[(thread.y * ${ROWS}u + ${r}u) * K_QUADS + k];
      acc${r} = fma(vec4f(a${r}.x), b0, acc${r});
      acc${r} = fma(vec4f(a${r}.y), b1, acc${r});
      acc${r} = fma(vec4f(a${r}.z), b2, acc${r});
      acc${r} = fma(vec4f(a${r}.w), b3, acc${r});
//% endfor
    }
    workgroupBarrier();
  }

  let quad = block * COLUMN_THREADS + thread.x;
  if quad >= p.group_out_quads {
    return;
  }
//% if SPLITS > 1
  let row = row0 + thread.y * ${ROWS}u;
  let out = (part * p.rows + row) * p.out_quads + group * p.out_group + quad;
//% for r in range(ROWS)
  if row + ${r}u < p.rows {
    store_y(out + ${r}u * p.out_quads, acc${r});
  }
//% endfor
//% else
  let epilogue = epilogue_at(group * p.blocks * COLUMN_THREADS + quad);
  let row = row0 + thread.y * ${ROWS}u;
  let out = row * p.out_quads + group * p.out_group + quad;
//% for r in range(ROWS)
  if row + ${r}u < p.rows {
    store_y(out + ${r}u * p.out_quads, finish(acc${r}, epilogue));
  }
//% endfor
//% endif
}
