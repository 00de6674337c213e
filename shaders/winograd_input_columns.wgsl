// Winograd convolution, second step (see winograd.wgsl): Bᵀ times each column.
//
// x and y: [tile][${N}][${N}][quads]
// Workgroups: (tiles · ${N} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let line_quads = ${N}u * p.quads;
  if id.x >= p.tiles * line_quads {
    return;
  }
  let first = id.x / line_quads * ${N}u * line_quads + id.x % line_quads;
//% for i in range(N)
  let t${i} = load_x(first + ${i}u * line_quads);
//% endfor
//% for i in range(N)
  store_y(first + ${i}u * line_quads, {% for k in range(N) if BT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[i][k]} * t${k}{% endfor %});
//% endfor
}
