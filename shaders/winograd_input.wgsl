// Winograd convolution F(${M}×${M}, ${R}×${R}), first of three steps: v = Bᵀ d B for every ${N}×${N} piece d of the input. The
// second step is one matrix product for each of the ${N * N} positions of v (gemm_*.wgsl, with the positions as groups),
// the third is winograd_output.wgsl. (Lavin, Gray 2015, "Fast algorithms for convolutional neural networks".)
//
// One invocation transforms four channels of one tile. Tiles overlap by ${R - 1}.
//
// x: [n][in_height][in_width][quads], y: [tile][${N * N}][quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "input.wgsl"
//% include "output.wgsl"

struct WinogradInput {
  in_height: u32,
  in_width: u32,
  quads: u32,
  tiles_y: u32,
  tiles_x: u32,
  pad_top: u32,
  pad_left: u32,
  first_tile: u32,  // of all pictures' tiles, the first in this dispatch
  tiles: u32,       // and how many it transforms
}
@group(0) @binding(2) var<uniform> p: WinogradInput;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.tiles * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let tile = id.x / p.quads;
  let global_tile = p.first_tile + tile;
  let picture = global_tile / (p.tiles_y * p.tiles_x) * p.in_height;
  let top = i32(global_tile / p.tiles_x % p.tiles_y * ${M}u) - i32(p.pad_top);
  let left = i32(global_tile % p.tiles_x * ${M}u) - i32(p.pad_left);

//% for j in range(N)
  let column${j} = left + ${j};
  let column_inside${j} = column${j} >= 0 && column${j} < i32(p.in_width);
//% endfor
//% for i in range(N)
  let row${i} = top + ${i};
  let row_inside${i} = row${i} >= 0 && row${i} < i32(p.in_height);
//% for j in range(N)
  let inside${i}_${j} = row_inside${i} && column_inside${j};
  let pixel${i}_${j} = select(0u, (picture + u32(row${i})) * p.in_width + u32(column${j}), inside${i}_${j});
  let d${i}_${j} = select(vec4f(0.0), load_x(pixel${i}_${j} * p.quads + c), inside${i}_${j});
//% endfor
//% endfor

//% for i in range(N)
//% for j in range(N)
  let t${i}_${j} = {% for k in range(N) if BT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[i][k]} * d${k}_${j}{% endfor %};
//% endfor
//% endfor
  let out = tile * ${N * N}u * p.quads + c;
//% for i in range(N)
//% for j in range(N)
  store_y(out + ${i * N + j}u * p.quads, {% for k in range(N) if BT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[j][k]} * t${i}_${k}{% endfor %});
//% endfor
//% endfor
}
