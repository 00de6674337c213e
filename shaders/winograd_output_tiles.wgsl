// Winograd convolution, the last two steps combined (see winograd.wgsl): Aᵀ m A of each tile of products m; then bias
// and activation function.
//
// x: [${N}][${N}][group][tile][quads], y: [n][height][width][quads], bias: [quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "winograd_output.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.tiles * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let tile = id.x / p.quads;
  let step = position_step();
  let first = place(tile, c);
//% for j in range(N)
//%   for i in range(N)
  let m${i}_${j} = load_x(first + ${i * N + j}u * step);
//%   endfor
//%   for i in range(M)
  let s${i}_${j} = {% for k in range(N) if AT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[i][k]} * m${k}_${j}{% endfor %};
//%   endfor
//% endfor
  let corner = corner_of(p.first_tile + tile);
  let b = bias_of(c);
//% for i in range(M)
//%   for j in range(M)
  store_pixel(corner, ${i}u, ${j}u, c, b + {% for k in range(N) if AT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[j][k]} * s${i}_${k}{% endfor %});
//%   endfor
//% endfor
}
