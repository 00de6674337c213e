// Winograd convolution, last step but one (see winograd.wgsl): Aᵀ times each column of products.
//
// x: [${N}][${N}][group][tile][quads], y: [${M}][${N}][group][tile][quads]
// Workgroups: (tiles · ${N} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.tiles * ${N}u * p.quads {
    return;
  }
  let line = id.x / p.quads;
  let step = position_step();
  let first = place(line / ${N}u, id.x % p.quads) + line % ${N}u * step;
//% for i in range(N)
  let m${i} = load_x(first + ${i * N}u * step);
//% endfor
//% for i in range(M)
  store_y(first + ${i * N}u * step, {% for k in range(N) if AT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[i][k]} * m${k}{% endfor %});
//% endfor
}
