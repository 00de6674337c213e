//% set PARTS = 4
//% set TILE_ROWS = ROWS * SIZE * (PARTS // SUBGROUP_COLUMNS)
//% set STORED = [COLUMNS, 256 // (SIZE * SIZE)] | min
//% set A_LOADS = TILE_ROWS * K_QUADS // THREADS
//% set B_LOADS = 64 * K_QUADS // THREADS
// Convolution and fully connected layers for GPUs with cooperative matrices (tensor cores): implicit GEMM with operands
// in f16 and sums in f32.
//
// A workgroup computes ${TILE_ROWS} rows (output pixels) × 64 columns (output channels), in ${PARTS} parts of
// ${ROWS * SIZE} × ${COLUMNS * SIZE}. A subgroup holds a part's sums as ${ROWS} × ${COLUMNS} matrices of ${SIZE} × ${SIZE}.
// Each iteration rounds ${K_QUADS * 4} k of both operands to f16 in workgroup memory and multiplies them, while the next
// are loaded.
//
// The size of subgroups is the driver's choice. With fewer than ${PARTS} subgroups, the parts are computed in several
// passes; with more, those beyond compute the last part for nothing.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][out_quads]
// weights: [group][block][k][16], bias: [group][block][16]
// Workgroups: (row blocks, column blocks, groups · ${SPLITS}).
//% if SPLITS > 1
//
// k is split into ${SPLITS} parts, as in gemm_tiled.wgsl.
//% endif

enable f16;
enable wgpu_cooperative_matrix;

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"
//% include "window_of_row.wgsl"

// Pitches in workgroup memory: multiples of 16 bytes, as matrices require, and none of 128 bytes, so that rows begin in
// different banks.
const PITCH = ${K_QUADS * 4 + 8}u;
const C_PITCH = ${STORED * SIZE}u;

var<workgroup> a_tile: array<f16, ${TILE_ROWS}u * PITCH>;         // [row][k]
var<workgroup> b_tile: array<f16, 64u * PITCH>;         // [column][k], as some GPUs load whole columns of k at once
var<workgroup> c_tile: array<f32, ${PARTS * SIZE}u * C_PITCH>;  // [part][row][column], of ${STORED} matrices of each part

// The nearest halves; numbers too large become the largest half.
fn halves(v: vec4f) -> vec4<f16> {
  return vec4<f16>(clamp(v, vec4f(-65504.0), vec4f(65504.0)));
}

fn stage_a(at: u32, v: vec4<f16>) {
  a_tile[at] = v.x;
  a_tile[at + 1u] = v.y;
  a_tile[at + 2u] = v.z;
  a_tile[at + 3u] = v.w;
}

@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) dispatched: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
) {
//% include "grid.wgsl"
  let block = p.first_block + workgroup.y;
  let group = workgroup.z / ${SPLITS}u;
  let row0 = workgroup.x * ${TILE_ROWS}u;
  let k_quads = p.kernel_height * p.kernel_width * p.tap_quads;
  let w0 = (group * p.bound_blocks + workgroup.y) * p.block_k * 16u;

//% include "split_k.wgsl"
  // A thread stages the same quad of k for ${A_LOADS} rows, and ${B_LOADS} adjacent k of a column quad.
  let a_row = index / ${K_QUADS}u;
  let a_k = index % ${K_QUADS}u;
  let a_at = a_row * PITCH + a_k * 4u;
  let b_quad = index / ${K_QUADS * 4 // B_LOADS}u;
  let b_k = index % ${K_QUADS * 4 // B_LOADS}u * ${B_LOADS}u;
  let b_at = b_quad * 4u * PITCH + b_k;
  let k_last = k_quads * 4u - 1u;
//% for j in range(A_LOADS)
  let window${j} = window(row0 + a_row + ${j * (THREADS // K_QUADS)}u, group);
//% endfor

  for (var first = 0u; first < ${PARTS}u; first += subgroups) {
    let part = min(first + subgroup, ${PARTS - 1}u);
    let part_row = part / ${SUBGROUP_COLUMNS}u * ${ROWS * SIZE}u;
    let part_column = part % ${SUBGROUP_COLUMNS}u * ${COLUMNS * SIZE}u;

    // The sums begin as a matrix of zeros.
    workgroupBarrier();
    for (var i = index; i < ${SIZE}u * C_PITCH; i += ${THREADS}u) {
      c_tile[i] = 0.0;
    }
    workgroupBarrier();
//% for r in range(ROWS)
//%   for c in range(COLUMNS)
    var sums${r}${c} = coopLoadT<coop_mat${SIZE}x${SIZE}<f32, C>>(&c_tile[0], C_PITCH);
//%   endfor
//% endfor

    // Loads have no branches, so that all of them are under way while the matrices before are multiplied. What is in the
    // padding is replaced later; past the end of k, where a is zero, b is the last of its column.
//% for j in range(A_LOADS)
    var place${j} = place(window${j}, k_first + a_k, k_quads);
    var a_next${j} = load_x(select(0u, place${j}.at, place${j}.inside));
//% endfor
//% for j in range(B_LOADS)
    var b_next${j} = load_w(weights_at(w0 + min(k_first * 4u + b_k + ${j}u, k_last) * 16u + b_quad), 0u);
//% endfor
    for (var k0 = k_first; k0 < k_end; k0 += ${K_QUADS}u) {
      workgroupBarrier();
//% for j in range(A_LOADS)
      stage_a(a_at + ${j * (THREADS // K_QUADS)}u * PITCH, halves(select(vec4f(0.0), a_next${j}, place${j}.inside)));
//% endfor
//% for j in range(B_LOADS)
      let b_half${j} = {% if weights == "int8" %}vec4<f16>(round(b_next${j} * 127.0)){% else %}halves(b_next${j}){% endif %};
//% endfor
//% for c in range(4)
//%   for j in range(B_LOADS)
      b_tile[b_at + ${c}u * PITCH + ${j}u] = b_half${j}[${c}];
//%   endfor
//% endfor
      workgroupBarrier();

      let k_next = k0 + ${K_QUADS}u;
      if k_next < k_end {
//% for j in range(A_LOADS)
        place${j} = place(window${j}, k_next + a_k, k_quads);
        a_next${j} = load_x(select(0u, place${j}.at, place${j}.inside));
//% endfor
//% for j in range(B_LOADS)
        b_next${j} = load_w(weights_at(w0 + min(k_next * 4u + b_k + ${j}u, k_last) * 16u + b_quad), 0u);
//% endfor
      }

      let a0 = part_row * PITCH;
      let b0 = part_column * PITCH;
//% for k in range(0, K_QUADS * 4, SIZE)
//%   for c in range(COLUMNS)
      let b${k}_${c} = coopLoad<coop_mat${SIZE}x${SIZE}<f16, B>>(&b_tile[b0 + ${c * SIZE}u * PITCH + ${k}u], PITCH);
//%   endfor
//%   for r in range(ROWS)
      let a${k}_${r} = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, A>>(&a_tile[a0 + ${r * SIZE}u * PITCH + ${k}u], PITCH);
//%     for c in range(COLUMNS)
      sums${r}${c} = coopMultiplyAdd(a${k}_${r}, b${k}_${c}, sums${r}${c});
//%     endfor
//%   endfor
//% endfor
    }

    // The sums go through workgroup memory, since only there is it known which is whose.
    let slot = part * ${SIZE}u * C_PITCH;
//% for r in range(ROWS)
//%   for c in range(0, COLUMNS, STORED)
    workgroupBarrier();
    if first + subgroup < ${PARTS}u {
//%     for s in range(STORED)
      let at${s} = slot + ${s * SIZE}u;
      coopStoreT(sums${r}${c + s}, &c_tile[at${s}], C_PITCH);
//%     endfor
    }
    workgroupBarrier();
    for (var i = index; i < ${PARTS * SIZE * SIZE * STORED // 4}u; i += ${THREADS}u) {
      let of_part = i / ${SIZE * SIZE * STORED // 4}u;
      let in_part = i % ${SIZE * SIZE * STORED // 4}u;
      let row = row0 + of_part / ${SUBGROUP_COLUMNS}u * ${ROWS * SIZE}u + ${r * SIZE}u + in_part / ${STORED * SIZE // 4}u;
      let quad = block * 16u + of_part % ${SUBGROUP_COLUMNS}u * ${COLUMNS * SIZE // 4}u + ${c * SIZE // 4}u
        + in_part % ${STORED * SIZE // 4}u;
      if of_part - first < subgroups && row < p.rows && quad < p.group_out_quads {
        let sums = vec4f(c_tile[4u * i], c_tile[4u * i + 1u], c_tile[4u * i + 2u], c_tile[4u * i + 3u]){% if weights == "int8" %} / 127.0{% endif %};
        let of_quad = group * p.blocks * 16u + quad;
//%     if SPLITS == 1
        let epilogue = epilogue_at(of_quad, group * p.group_out_quads + quad);
        store_y(row * p.out_quads + group * p.out_group + quad, finish(sums, epilogue));
//%     elif weights == "int8"
        store_y((part_of_k * p.rows + row) * p.out_quads + group * p.out_group + quad, sums * scales[of_quad]);
//%     else
        store_y((part_of_k * p.rows + row) * p.out_quads + group * p.out_group + quad, sums);
//%     endif
      }
    }
//%   endfor
//% endfor
  }
}
