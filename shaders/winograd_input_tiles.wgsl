// Winograd convolution, the first two steps combined (see winograd.wgsl): Bᵀ d B of each piece d of the input.
//
// x: [n][height][width][pixel_quads], y: [${N}][${N}][group][tile][quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "winograd_input.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.tiles * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let tile = id.x / p.quads;
  let piece = piece_of(p.first_tile + tile, c);
//% for i in range(N)
//%   for j in range(N)
  let d${i}_${j} = load_piece(piece, ${i}u, ${j}u);
//%   endfor
//%   for j in range(N)
  let t${i}_${j} = {% for k in range(N) if BT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[j][k]} * d${i}_${k}{% endfor %};
//%   endfor
//% endfor
  let step = position_step();
  let out = place(tile, c);
//% for i in range(N)
//%   for j in range(N)
  store_y(out + ${i * N + j}u * step, {% for k in range(N) if BT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[i][k]} * t${k}_${j}{% endfor %});
//%   endfor
//% endfor
}
