// Convolution and fully connected layers for software adapters with four lanes (SwiftShader). There a load or a
// broadcast costs as much as many multiplications, but lanes of a quad are swapped in one instruction.
//
// Four lanes compute ${ROWS} rows × ${COLUMN_QUADS * 16} columns in registers. A lane loads four k of one row in every
// four, and ${COLUMN_QUADS} quads of columns. Each of its sums is for its own columns and the row of lane ^ p. The
// three possible swaps bring every row together with every column.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][out_quads]
// weights: [group][block][k / 4][4][k % 4][${COLUMN_QUADS}], bias: [group][block][${COLUMN_QUADS * 4}]
// Workgroups: (row blocks, column blocks, groups).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"

//% set groups = ROWS // 4
//% set block_quads = COLUMN_QUADS * 4
//% set swaps = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"]

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
//% include "grid.wgsl"
  // No device guarantees that a workgroup of 4 fills the first lanes of its subgroup: indices stay in range even so.
  let lane = min(subgroup_lane, 3u);
  let block = p.first_block + workgroup.y;
  let group = workgroup.z;
  let first_row = workgroup.x * ${ROWS}u;
  let pixels = p.out_height * p.out_width;

//% for j in range(groups)
  // Row group ${j}: the start of this lane's row in the input. A row past the end reads the last one.
  let row${j} = min(first_row + ${j * 4}u + lane, p.rows - 1u);
  let pixel${j} = row${j} % pixels;
  let y${j} = i32(pixel${j} / p.out_width * p.stride_y) - i32(p.pad_top);
  let x${j} = i32(pixel${j} % p.out_width * p.stride_x) - i32(p.pad_left);
  let picture${j} = row${j} / pixels * p.in_height;
//%   for s in range(4)
//%     for q in range(COLUMN_QUADS)
  var sum${j}_${s}_${q} = vec4f(0.0);
//%     endfor
//%   endfor
//% endfor

  var w = (group * p.bound_blocks + workgroup.y) * p.block_k * ${block_quads}u + lane * ${block_quads}u;
  for (var ky = 0u; ky < p.kernel_height; ky++) {
    for (var kx = 0u; kx < p.kernel_width; kx++) {
//% for j in range(groups)
      let iy${j} = y${j} + i32(ky{% if DILATED is defined %} * p.dilation_y{% endif %});
      let ix${j} = x${j} + i32(kx{% if DILATED is defined %} * p.dilation_x{% endif %});
      let inside${j} = iy${j} >= 0 && iy${j} < i32(p.in_height) && ix${j} >= 0 && ix${j} < i32(p.in_width);
      let pixel_in${j} = select(0u, (picture${j} + u32(iy${j})) * p.in_width + u32(ix${j}), inside${j});
      let base${j} = pixel_in${j} * p.in_quads + group * p.in_group;
//% endfor
      // Each kernel position is summed separately, so that rounding errors grow with k / (kernel size), not k.
//% for j in range(groups)
//%   for s in range(4)
//%     for q in range(COLUMN_QUADS)
      var acc${j}_${s}_${q} = vec4f(0.0);
//%     endfor
//%   endfor
//% endfor
      for (var c = 0u; c < p.tap_quads; c += ${UNROLL}u) {
//% for u in range(UNROLL)
        {
//%   if u > 0
          // Past the last of an odd number of quads the input counts as zero.
          let more = c + ${u}u < p.tap_quads;
          let k = select(c, c + ${u}u, more);
//%   else
          let k = c;
//%   endif
          let at = weights_at(w + k * ${4 * block_quads}u);
//%   for q in range(COLUMN_QUADS)
//%     for t in range(4)
          let b${q}_${t} = load_w(at, ${t * COLUMN_QUADS + q}u);
//%     endfor
//%     for i in ["x", "y", "z", "w"]
          let column${q}${i} = vec4f(b${q}_0.${i}, b${q}_1.${i}, b${q}_2.${i}, b${q}_3.${i});
//%     endfor
//%   endfor
//%   for j in range(groups)
          let a${j}_0 = select(vec4f(0.0), load_x(base${j} + k), inside${j}{% if u > 0 %} && more{% endif %});
//%     for s in range(4)
//%       if s > 0
          let a${j}_${s} = ${swaps[s]}(a${j}_0);
//%       endif
//%       for q in range(COLUMN_QUADS)
          acc${j}_${s}_${q} += vec4f(dot(a${j}_${s}, column${q}x), dot(a${j}_${s}, column${q}y), dot(a${j}_${s}, column${q}z), dot(a${j}_${s}, column${q}w));
//%       endfor
//%     endfor
//%   endfor
        }
//% endfor
      }
      w += p.tap_quads * ${4 * block_quads}u;
//% for j in range(groups)
//%   for s in range(4)
//%     for q in range(COLUMN_QUADS)
      sum${j}_${s}_${q} += acc${j}_${s}_${q};
//%     endfor
//%   endfor
//% endfor
    }
  }

//% for q in range(COLUMN_QUADS)
  {
    let quad = block * ${block_quads}u + ${q * 4}u + lane;
    if quad < p.group_out_quads {
      let epilogue = epilogue_at(group * p.blocks * ${block_quads}u + quad, group * p.group_out_quads + quad);
//%   for j in range(groups)
//%     for s in range(4)
      {
        let row = first_row + ${j * 4}u + (lane ^ ${s}u);
        if row < p.rows {
          store_y(row * p.out_quads + group * p.out_group + quad, finish(sum${j}_${s}_${q}, epilogue));
        }
      }
//%     endfor
//%   endfor
    }
  }
//% endfor
}
