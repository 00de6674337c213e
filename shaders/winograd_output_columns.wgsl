// Winograd convolution, last step but one (see winograd.wgsl): Aᵀ times each column of products.
//
// x: [tile][${N}][${N}][quads], y: [tile][${M}][${N}][quads]
// Workgroups: (tiles · ${N} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let line_quads = ${N}u * p.quads;
  if id.x >= p.tiles * line_quads {
    return;
  }
  let tile = id.x / line_quads;
  let place = id.x % line_quads;
//% for i in range(N)
  let m${i} = load_x((tile * ${N}u + ${i}u) * line_quads + place);
//% endfor
//% for i in range(M)
  store_y((tile * ${M}u + ${i}u) * line_quads + place, {% for k in range(N) if AT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[i][k]} * m${k}{% endfor %});
//% endfor
}
