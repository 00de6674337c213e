// Winograd convolution F(${M}×${M}, ${R}×${R}), last of three steps (see winograd_input.wgsl): Aᵀ m A for every tile of products
// m gives ${M}×${M} outputs; then bias and ReLU.
//
// One invocation computes four channels of one tile.
//
// x: [tile][${N * N}][quads], y: [n][out_height][out_width][quads], bias: [quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "input.wgsl"
//% include "output.wgsl"

struct WinogradOutput {
  out_height: u32,
  out_width: u32,
  quads: u32,
  tiles_y: u32,
  tiles_x: u32,
  first_tile: u32,  // of all pictures' tiles, the first in this dispatch
  tiles: u32,       // and how many it transforms
  relu: u32,
}
@group(0) @binding(2) var<uniform> p: WinogradOutput;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.tiles * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let tile = id.x / p.quads;
  let global_tile = p.first_tile + tile;
  let picture = global_tile / (p.tiles_y * p.tiles_x) * p.out_height;
  let top = global_tile / p.tiles_x % p.tiles_y * ${M}u;
  let left = global_tile % p.tiles_x * ${M}u;

  let first = tile * ${N * N}u * p.quads + c;
//% for i in range(N)
//% for j in range(N)
  let m${i}_${j} = load_x(first + ${i * N + j}u * p.quads);
//% endfor
//% endfor
//% for i in range(M)
//% for j in range(N)
  let t${i}_${j} = {% for k in range(N) if AT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[i][k]} * m${k}_${j}{% endfor %};
//% endfor
//% endfor
  let b = bias[c];
//% for i in range(M)
//% for j in range(M)
  if top + ${i}u < p.out_height && left + ${j}u < p.out_width {
    let value = b + {% for k in range(N) if AT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[j][k]} * t${i}_${k}{% endfor %};
    let pixel = (picture + top + ${i}u) * p.out_width + left + ${j}u;
    store_y(pixel * p.quads + c, select(value, max(value, vec4f(0.0)), p.relu != 0u));
  }
//% endfor
//% endfor
}
