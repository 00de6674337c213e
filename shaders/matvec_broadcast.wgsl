// Fully connected layers at a small batch, for software adapters, whose invocations are SIMD lanes of a processor.
//
// One subgroup of ${LANES} lanes computes ${LANES * 4} outputs of ${ROWS} images. A lane owns four outputs and loads
// four of every ${LANES * 4} inputs; the other lanes read these by broadcast. Weights are read once, from contiguous
// memory.
//
// x: [n][k / 4], y: [n][out_quads]; weights: [block][k][${LANES}], bias: [block][${LANES}]
// Workgroups: (row blocks, column blocks, 1). block_k is padded with zeros to a multiple of ${LANES * 4}.

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
//% include "grid.wgsl"
  // No device guarantees that a workgroup of ${LANES} fills the first lanes of its subgroup: indices stay in range even
  // so.
  let lane = min(subgroup_lane, ${LANES - 1}u);
  let block = p.first_block + workgroup.y;
  let row0 = workgroup.x * ${ROWS}u;
  let k_quads = p.in_height * p.in_width * p.in_quads;
//% for r in range(ROWS)
  let base${r} = min(row0 + ${r}u, p.rows - 1u) * k_quads;
  var sum${r} = vec4f(0.0);
//% endfor

  var w = workgroup.y * p.block_k * ${LANES}u + lane;
  for (var k = 0u; k < p.block_k / 4u; k += ${LANES}u) {
    // Past the last input the weights are zero; the load only has to stay in range.
    let i = min(k + lane, k_quads - 1u);
//% for r in range(ROWS)
    let a${r} = load_x(base${r} + i);
//% endfor
    // Each turn is summed separately, so that rounding errors grow with its length and the number of turns, not k.
//% for r in range(ROWS)
    var acc${r} = vec4f(0.0);
//% endfor
    let at = weights_at(w);
//% for l in range(LANES)
    {
//% for t in range(4)
      let b${t} = load_w(at, ${(l * 4 + t) * LANES}u);
//% endfor
//% for r in range(ROWS)
      let s${r} = subgroupBroadcast(a${r}, ${l}u);
      acc${r} = fma(vec4f(s${r}.x), b0, acc${r});
      acc${r} = fma(vec4f(s${r}.y), b1, acc${r});
      acc${r} = fma(vec4f(s${r}.z), b2, acc${r});
      acc${r} = fma(vec4f(s${r}.w), b3, acc${r});
//% endfor
    }
//% endfor
//% for r in range(ROWS)
    sum${r} += acc${r};
//% endfor
    w += ${4 * LANES * LANES}u;
  }

  let quad = block * ${LANES}u + lane;
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
