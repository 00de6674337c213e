// Winograd convolution, the first two steps combined (see winograd.wgsl): Bᵀ d B of each piece d of the input. A
// workgroup transforms ${WORKGROUP} channel quads, with one invocation per line. The lines are exchanged in workgroup
// memory.
//
// x: [n][height][width][pixel_quads], y: [${N}][${N}][group][tile][quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "winograd_input.wgsl"

var<workgroup> lines: array<vec4f, ${N * N * WORKGROUP}>;  // [row][column][channel quad]

@compute @workgroup_size(${WORKGROUP}, ${N})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_id) thread: vec3u) {
//% include "grid.wgsl"
  let all = p.tiles * p.quads;
  let first = workgroup.x * ${WORKGROUP}u + thread.x;
  // The last one stands in for those that are missing.
  let c = min(first, all - 1u) % p.quads;
  let tile = min(first, all - 1u) / p.quads;

  // A row times B.
  let piece = piece_of(p.first_tile + tile, c);
  let row = thread.y * ${N * WORKGROUP}u + thread.x;
//% for j in range(N)
  let d${j} = load_piece(piece, thread.y, ${j}u);
//% endfor
//% for j in range(N)
  lines[row + ${j * WORKGROUP}u] = {% for k in range(N) if BT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[j][k]} * d${k}{% endfor %};
//% endfor
  workgroupBarrier();
  if first >= all {
    return;
  }

  // Bᵀ times a column.
  let column = thread.y * ${WORKGROUP}u + thread.x;
//% for i in range(N)
  let t${i} = lines[column + ${i * N * WORKGROUP}u];
//% endfor
  let step = position_step();
  let out = place(tile, c) + thread.y * step;
//% for i in range(N)
  store_y(out + ${i * N}u * step, {% for k in range(N) if BT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[i][k]} * t${k}{% endfor %});
//% endfor
}
