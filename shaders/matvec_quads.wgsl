// Fully connected layers at a small batch, for software adapters with four lanes (see gemm_quads.wgsl).
//
// Four lanes compute 16 outputs of ${ROWS} images. A lane owns four outputs and loads four of every 16 inputs; it gets
// the other lanes' inputs by swapping lanes. Weights are read once, from contiguous memory.
//
// x: [n][k / 4], y: [n][out_quads]; weights: [block][k / 16][k % 4][k / 4 % 4][4], bias: [block][4]
// Workgroups: (row blocks, column blocks, 1). block_k is padded with zeros to a multiple of 16.

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"

//% set swaps = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"]

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
//% include "grid.wgsl"
  // No device guarantees that a workgroup of 4 fills the first lanes of its subgroup: indices stay in range even so.
  let lane = min(subgroup_lane, 3u);
  let block = p.first_block + workgroup.y;
  let row0 = workgroup.x * ${ROWS}u;
  let k_quads = p.in_height * p.in_width * p.in_quads;
//% for r in range(ROWS)
  let base${r} = min(row0 + ${r}u, p.rows - 1u) * k_quads;
  var sum${r} = vec4f(0.0);
//% endfor

  var w = workgroup.y * p.block_k * 4u + lane;
  for (var k = 0u; k < p.block_k / 4u; k += 4u) {
    // Past the last input the weights are zero; the load only has to stay in range.
    let i = min(k + lane, k_quads - 1u);
//% for r in range(ROWS)
    let a${r}_0 = load_x(base${r} + i);
//%   for s in range(1, 4)
    let a${r}_${s} = ${swaps[s]}(a${r}_0);
//%   endfor
//% endfor
    // Each turn is summed separately, so that rounding errors grow with its length and the number of turns, not k.
//% for r in range(ROWS)
    var acc${r} = vec4f(0.0);
//% endfor
    let at = weights_at(w);
//% for s in range(4)
    {
      // The four inputs that lane ^ ${s} loaded.
      let first = (lane ^ ${s}u) * 4u;
//%   for t in range(4)
      let b${t} = load_w(at, first + ${t * 16}u);
//%   endfor
//%   for i in ["x", "y", "z", "w"]
      let column${i} = vec4f(b0.${i}, b1.${i}, b2.${i}, b3.${i});
//%   endfor
//%   for r in range(ROWS)
      acc${r} += vec4f(dot(a${r}_${s}, columnx), dot(a${r}_${s}, columny), dot(a${r}_${s}, columnz), dot(a${r}_${s}, columnw));
//%   endfor
    }
//% endfor
//% for r in range(ROWS)
    sum${r} += acc${r};
//% endfor
    w += 64u;
  }

  let quad = block * 4u + lane;
  if quad >= p.out_quads {
    return;
  }
  let epilogue = epilogue_at(quad, quad);
//% for r in range(ROWS)
  if row0 + ${r}u < p.rows {
    store_y((row0 + ${r}u) * p.out_quads + quad, finish(sum${r}, epilogue));
  }
//% endfor
}
