// Convolution and fully connected layers for software adapters, whose invocations are SIMD lanes of a processor.
//
// One subgroup of ${LANES} lanes computes ${ROWS} rows × ${LANES * 4} columns in registers. A lane owns four columns.
// It loads four k of one row in every ${LANES}, and every lane reads these by broadcast. Workgroup memory and barriers
// are avoided: on such an adapter both cost more than the arithmetic.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][out_quads]
// weights: [group][block][k][${LANES}], bias: [group][block][${LANES}]
// Workgroups: (row blocks, column blocks, groups).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"

//% set GROUPS = (ROWS + LANES - 1) // LANES

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
//% include "grid.wgsl"
  // No device guarantees that a workgroup of ${LANES} fills the first lanes of its subgroup: indices stay in range even
  // so.
  let lane = min(subgroup_lane, ${LANES - 1}u);
  let block = p.first_block + workgroup.y;
  let group = workgroup.z;
  let first_row = workgroup.x * ${ROWS}u;
  let pixels = p.out_height * p.out_width;

//% for j in range(GROUPS)
  // Row group ${j}: the start of this lane's row in the input. A row past the end reads the last one.
  let row${j} = min(first_row + ${j * LANES}u + lane, p.rows - 1u);
  let pixel${j} = row${j} % pixels;
  let y${j} = i32(pixel${j} / p.out_width * p.stride_y) - i32(p.pad_top);
  let x${j} = i32(pixel${j} % p.out_width * p.stride_x) - i32(p.pad_left);
  let picture${j} = row${j} / pixels * p.in_height;
//% endfor

//% for r in range(ROWS)
  var sum${r} = vec4f(0.0);
//% endfor

  var w = (group * p.bound_blocks + workgroup.y) * p.block_k * ${LANES}u + lane;
  for (var ky = 0u; ky < p.kernel_height; ky++) {
    for (var kx = 0u; kx < p.kernel_width; kx++) {
//% for j in range(GROUPS)
      let iy${j} = y${j} + i32(ky{% if DILATED is defined %} * p.dilation_y{% endif %});
      let ix${j} = x${j} + i32(kx{% if DILATED is defined %} * p.dilation_x{% endif %});
      let inside${j} = iy${j} >= 0 && iy${j} < i32(p.in_height) && ix${j} >= 0 && ix${j} < i32(p.in_width);
      let pixel_in${j} = select(0u, (picture${j} + u32(iy${j})) * p.in_width + u32(ix${j}), inside${j});
      let base${j} = pixel_in${j} * p.in_quads + group * p.in_group;
//% endfor
      // Each kernel position is summed separately, so that rounding errors grow with k / (kernel size), not k.
//% for r in range(ROWS)
      var acc${r} = vec4f(0.0);
//% endfor
      for (var c = 0u; c < p.tap_quads; c++) {
//% for j in range(GROUPS)
        let a${j} = select(vec4f(0.0), load_x(base${j} + c), inside${j});
//% endfor
        let at = weights_at(w);
//% for t in range(4)
        let b${t} = load_w(at, ${t * LANES}u);
//% endfor
        w += ${4 * LANES}u;
//% for r in range(ROWS)
        let s${r} = subgroupBroadcast(a${r // LANES}, ${r % LANES}u);
        acc${r} = fma(vec4f(s${r}.x), b0, acc${r});
        acc${r} = fma(vec4f(s${r}.y), b1, acc${r});
        acc${r} = fma(vec4f(s${r}.z), b2, acc${r});
        acc${r} = fma(vec4f(s${r}.w), b3, acc${r});
//% endfor
      }
//% for r in range(ROWS)
      sum${r} += acc${r};
//% endfor
    }
  }

  let quad = block * ${LANES}u + lane;
  if quad >= p.group_out_quads {
    return;
  }
  let epilogue = epilogue_at(group * p.blocks * ${LANES}u + quad, group * p.group_out_quads + quad);
  let out = first_row * p.out_quads + group * p.out_group + quad;
//% for r in range(ROWS)
  if first_row + ${r}u < p.rows {
    store_y(out + ${r}u * p.out_quads, finish(sum${r}, epilogue));
  }
//% endfor
}
