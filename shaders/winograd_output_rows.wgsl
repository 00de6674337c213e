// Winograd convolution, last step (see winograd.wgsl): each row times A gives ${M} outputs; then bias and activation
// function.
//
// x: [${M}][${N}][group][tile][quads], y: [n][height][width][quads], bias: [quads]
// Workgroups: (tiles · ${M} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd_output.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  if id.x >= p.tiles * ${M}u * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let line = id.x / p.quads;
  let i = line % ${M}u;
  let tile = line / ${M}u;
  let step = position_step();
  let first = place(tile, c) + i * ${N}u * step;
//% for j in range(N)
  let s${j} = load_x(first + ${j}u * step);
//% endfor
  let corner = corner_of(p.first_tile + tile);
  let b = bias_of(c);
//% for j in range(M)
  store_pixel(corner, i, ${j}u, c, b + {% for k in range(N) if AT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[j][k]} * s${k}{% endfor %});
//% endfor
}
