// Winograd convolution, first step (see winograd.wgsl): each row of a piece of the input times B.
//
// x: [n][height][width][pixel_quads], y: [${N}][${N}][group][tile][quads]
// Workgroups: (tiles · ${N} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd_input.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.tiles * ${N}u * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let line = id.x / p.quads;
  let i = line % ${N}u;
  let tile = line / ${N}u;
  let piece = piece_of(p.first_tile + tile, c);
//% for j in range(N)
  let d${j} = load_piece(piece, i, ${j}u);
//% endfor
  let step = position_step();
  let out = place(tile, c) + i * ${N}u * step;
//% for j in range(N)
  store_y(out + ${j}u * step, {% for k in range(N) if BT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[j][k]} * d${k}{% endfor %});
//% endfor
}
