// Computes what gemm_cooperative.wgsl does, with its bindings and workgroups, on devices without cooperative matrices:
// f16 operands by rounding, one output after the other.
//% set PARTS = 4
//% set TILE_ROWS = ROWS * SIZE * (PARTS // SUBGROUP_COLUMNS)

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gemm.wgsl"
//% include "window_of_row.wgsl"

fn half(v: vec4f) -> vec4f {
  // quantizeToF16 may flush subnormal halves to zero.
  let inside = clamp(v, vec4f(-65504.0), vec4f(65504.0));
  return vec4f(unpack2x16float(pack2x16float(inside.xy)), unpack2x16float(pack2x16float(inside.zw)));
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) index: u32) {
//% include "grid.wgsl"
  let block = p.first_block + workgroup.y;
  let group = workgroup.z / ${SPLITS}u;
  let k_quads = p.kernel_height * p.kernel_width * p.tap_quads;
  let w0 = (group * p.bound_blocks + workgroup.y) * p.block_k * 16u;
//% include "split_k.wgsl"
  for (var i = index; i < ${TILE_ROWS * 16}u; i += ${THREADS}u) {
    let row = workgroup.x * ${TILE_ROWS}u + i / 16u;
    let quad = block * 16u + i % 16u;
    if row >= p.rows || quad >= p.group_out_quads {
      continue;
    }
    let window = window(row, group);
    var sums = vec4f(0.0);
    for (var k = k_first; k < k_end; k++) {
      let place = place(window, k, k_quads);
      if place.inside {
        let a = half(load_x(place.at));
        for (var j = 0u; j < 4u; j++) {
          let b = load_w(weights_at(w0 + (k * 4u + j) * 16u + i % 16u), 0u);
          sums += a[j] * {% if weights == "int8" %}b{% else %}half(b){% endif %};
        }
      }
    }
    let of_quad = group * p.blocks * 16u + quad;
//% if SPLITS == 1
    let epilogue = epilogue_at(of_quad, group * p.group_out_quads + quad);
    store_y(row * p.out_quads + group * p.out_group + quad, finish(sums, epilogue));
//% elif weights == "int8"
    store_y((part_of_k * p.rows + row) * p.out_quads + group * p.out_group + quad, sums * scales[of_quad]);
//% else
    store_y((part_of_k * p.rows + row) * p.out_quads + group * p.out_group + quad, sums);
//% endif
  }
}
