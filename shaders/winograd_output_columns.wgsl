// Winograd convolution, second to last step (see winograd.wgsl): Aᵀ times each column of products.
//
// x: [${N}][${N}][group][tile][quads], y: [${M}][${N}][group][tile][quads]
// Workgroups: (tiles · ${N} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = vec3u(workgroup.x * ${WORKGROUP}u + thread, workgroup.y, workgroup.z);
  let step = position_step();
  // In memory order: all of one column of the tiles, then the next.
  let first = id.x;
  if first >= ${N}u * step {
    return;
  }
//% for i in range(N)
  let m${i} = load_x(first + ${i * N}u * step);
//% endfor
//% for i in range(M)
  store_y(first + ${i * N}u * step, {% for k in range(N) if AT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[i][k]} * m${k}{% endfor %});
//% endfor
}
