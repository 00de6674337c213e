// Winograd convolution, the last two steps combined (see winograd.wgsl): Aᵀ m A of each tile of products m; then bias
// and activation function. A workgroup transforms ${WORKGROUP} channel quads, with one invocation per line. The lines
// are exchanged in workgroup memory.
//
// x: [${N}][${N}][group][tile][quads], y: [n][height][width][quads], bias: [quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "winograd_output.wgsl"

var<workgroup> lines: array<vec4f, ${M * N * WORKGROUP}>;  // [row][column][channel quad]

@compute @workgroup_size(${WORKGROUP}, ${N})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_id) thread: vec3u) {
//% include "grid.wgsl"
  let all = p.tiles * p.quads;
  let first = workgroup.x * ${WORKGROUP}u + thread.x;
  // The last one stands in for those that are missing.
  let c = min(first, all - 1u) % p.quads;
  let tile = min(first, all - 1u) / p.quads;

  // Aᵀ times a column.
  let step = position_step();
  let products = place(tile, c) + thread.y * step;
  let column = thread.y * ${WORKGROUP}u + thread.x;
//% for i in range(N)
  let m${i} = load_x(products + ${i * N}u * step);
//% endfor
//% for i in range(M)
  lines[column + ${i * N * WORKGROUP}u] = {% for k in range(N) if AT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[i][k]} * m${k}{% endfor %};
//% endfor
  workgroupBarrier();
  if first >= all || thread.y >= ${M}u {
    return;
  }

  // A row times A.
  let row = thread.y * ${N * WORKGROUP}u + thread.x;
//% for j in range(N)
  let s${j} = lines[row + ${j * WORKGROUP}u];
//% endfor
  let corner = corner_of(p.first_tile + tile);
  let b = bias_of(c);
//% for j in range(M)
  store_pixel(corner, thread.y, ${j}u, c, b + {% for k in range(N) if AT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[j][k]} * s${k}{% endfor %});
//% endfor
}
