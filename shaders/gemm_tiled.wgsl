//% set COLUMN_QUADS = COLUMN_THREADS * QUADS
// Convolution and fully connected layers for GPUs: implicit GEMM with tiles in workgroup memory.
//
// A workgroup of ${COLUMN_THREADS} × ${ROW_THREADS} threads computes ${ROW_THREADS * ROWS} rows (output pixels) ×
// ${COLUMN_QUADS * 4} columns (output channels). A thread holds ${QUADS} quads of columns, ${COLUMN_THREADS} apart, of every
// ${ROW_THREADS}th row in registers.
// Each iteration multiplies ${K_QUADS * 4} k of both operands while the next are loaded. Needs nothing beyond WebGPU's
// defaults.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][out_quads]
// weights: [group][block][k][${COLUMN_QUADS}], bias: [group][block][${COLUMN_QUADS}]
// Workgroups: (row blocks, column blocks, groups · ${SPLITS}).
//% if SPLITS > 1
//
// k is split into ${SPLITS} parts, for layers with too few tiles to fill a GPU. y: [part][row][out_quads], sums without
// bias; sum_parts.wgsl adds them up.
//% endif
//% set THREADS = COLUMN_THREADS * ROW_THREADS
//% set A_LOADS = ROWS * K_QUADS // COLUMN_THREADS
//% set B_LOADS = 4 * K_QUADS * QUADS // ROW_THREADS

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"
//% include "window_of_row.wgsl"

// The row pitch of a_tile. Odd, so that threads of different rows read different banks.
const PITCH = ${K_QUADS + 1}u;

var<workgroup> a_tile: array<vec4f, ${ROW_THREADS * ROWS}u * PITCH>;  // [row][k / 4]
var<workgroup> b_tile: array<vec4f, ${4 * K_QUADS * COLUMN_QUADS}u>;   // [k][column / 4]

// Quad `k` of a row; zero in the padding and past the end.
fn load_a(window: Window, k: u32, k_quads: u32) -> vec4f {
  let place = place(window, k, k_quads);
  if place.inside {
    return load_x(place.at);
  }
  return vec4f(0.0);
}

// Quad `i` of a block's weights that begin at `first`; zero past the end.
fn load_b(first: u32, i: u32, k_quads: u32) -> vec4f {
  if i < k_quads * ${4 * COLUMN_QUADS}u {
    return load_w(weights_at(first + i), 0u);
  }
  return vec4f(0.0);
}

@compute @workgroup_size(${COLUMN_THREADS}, ${ROW_THREADS})
fn main(
  @builtin(workgroup_id) dispatched: vec3u,
  @builtin(local_invocation_id) thread: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
//% include "grid.wgsl"
  let block = p.first_block + workgroup.y;
  let group = workgroup.z / ${SPLITS}u;
  let row0 = workgroup.x * ${ROW_THREADS * ROWS}u;
  let k_quads = p.kernel_height * p.kernel_width * p.tap_quads;
  let w0 = (group * p.bound_blocks + workgroup.y) * p.block_k * ${COLUMN_QUADS}u;

//% for r in range(ROWS)
//%   for q in range(QUADS)
  var acc${r}_${q} = vec4f(0.0);
//%   endfor
//% endfor

//% include "split_k.wgsl"
  // A thread stages the same quad of k for ${A_LOADS} rows, and ${B_LOADS} quads of weights.
  let a_row = index / ${K_QUADS}u;
  let a_k = index % ${K_QUADS}u;
//% for j in range(A_LOADS)
  let window${j} = window(row0 + a_row + ${j * (THREADS // K_QUADS)}u, group);
  var a_next${j} = load_a(window${j}, k_first + a_k, k_quads);
//% endfor
//% for j in range(B_LOADS)
  var b_next${j} = load_b(w0, k_first * ${4 * COLUMN_QUADS}u + index + ${j * THREADS}u, k_quads);
//% endfor
  for (var k0 = k_first; k0 < k_end; k0 += ${K_QUADS}u) {
    workgroupBarrier();
//% for j in range(A_LOADS)
    a_tile[(a_row + ${j * (THREADS // K_QUADS)}u) * PITCH + a_k] = a_next${j};
//% endfor
//% for j in range(B_LOADS)
    b_tile[index + ${j * THREADS}u] = b_next${j};
//% endfor
    workgroupBarrier();

    let k_next = k0 + ${K_QUADS}u;
    if k_next < k_end {
//% for j in range(A_LOADS)
      a_next${j} = load_a(window${j}, k_next + a_k, k_quads);
//% endfor
//% for j in range(B_LOADS)
      b_next${j} = load_b(w0, k_next * ${4 * COLUMN_QUADS}u + index + ${j * THREADS}u, k_quads);
//% endfor
    }

    for (var k = 0u; k < ${K_QUADS}u; k++) {
//% for q in range(QUADS)
//%   for i in range(4)
      let b${i}_${q} = b_tile[(k * 4u + ${i}u) * ${COLUMN_QUADS}u + thread.x + ${q * COLUMN_THREADS}u];
//%   endfor
//% endfor
//% for r in range(ROWS)
      let a${r} = a_tile[(thread.y + ${r * ROW_THREADS}u) * PITCH + k];
//%   for q in range(QUADS)
      acc${r}_${q} = fma(vec4f(a${r}.x), b0_${q}, acc${r}_${q});
      acc${r}_${q} = fma(vec4f(a${r}.y), b1_${q}, acc${r}_${q});
      acc${r}_${q} = fma(vec4f(a${r}.z), b2_${q}, acc${r}_${q});
      acc${r}_${q} = fma(vec4f(a${r}.w), b3_${q}, acc${r}_${q});
//%   endfor
//% endfor
    }
  }

  let row = row0 + thread.y;
//% for q in range(QUADS)
  let quad${q} = block * ${COLUMN_QUADS}u + thread.x + ${q * COLUMN_THREADS}u;
  if quad${q} >= p.group_out_quads {
    return;
  }
  let of_quad${q} = group * p.blocks * ${COLUMN_QUADS}u + quad${q};
//%   if SPLITS > 1
  let out${q} = (part_of_k * p.rows + row) * p.out_quads + group * p.out_group + quad${q};
//%   else
  let out${q} = row * p.out_quads + group * p.out_group + quad${q};
  let epilogue${q} = epilogue_at(of_quad${q}, group * p.group_out_quads + quad${q});
//%   endif
//%   for r in range(ROWS)
  if row + ${r * ROW_THREADS}u < p.rows {
//%     if SPLITS == 1
    store_y(out${q} + ${r * ROW_THREADS}u * p.out_quads, finish(acc${r}_${q}, epilogue${q}));
//%     elif weights == "int8"
    store_y(out${q} + ${r * ROW_THREADS}u * p.out_quads, acc${r}_${q} * scales[of_quad${q}]);
//%     else
    store_y(out${q} + ${r * ROW_THREADS}u * p.out_quads, acc${r}_${q});
//%     endif
  }
//%   endfor
//% endfor
}
