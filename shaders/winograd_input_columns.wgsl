// Winograd convolution, second step (see winograd.wgsl): Bᵀ times each column.
//
// x and y: [${N}][${N}][group][tile][quads]
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
  let t${i} = load_x(first + ${i * N}u * step);
//% endfor
//% for i in range(N)
  store_y(first + ${i * N}u * step, {% for k in range(N) if BT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[i][k]} * t${k}{% endfor %});
//% endfor
}
