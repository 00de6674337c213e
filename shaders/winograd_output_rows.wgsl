// Winograd convolution, last step (see winograd.wgsl): each row times A gives ${M} outputs; then bias and ReLU.
//
// x: [${M}][${N}][group][tile][quads], y: [n][height][width][quads], bias: [quads]
// Workgroups: (tiles · ${M} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@group(0) @binding(4) var<storage, read> bias: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.tiles * ${M}u * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let line = id.x / p.quads;
  let i = line % ${M}u;
  let corner = corner_of(p.first_tile + line / ${M}u);
  let row = corner.row + i;
  if row >= p.height {
    return;
  }

  let step = position_step();
  let first = place(line / ${M}u, c) + i * ${N}u * step;
//% for j in range(N)
  let s${j} = load_x(first + ${j}u * step);
//% endfor
  let b = bias[c];
//% for j in range(M)
  if corner.column + ${j}u < p.width {
    let value = b + {% for k in range(N) if AT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${AT[j][k]} * s${k}{% endfor %};
    let pixel = (corner.picture + row) * p.width + corner.column + ${j}u;
    store_y(pixel * p.quads + c, select(value, max(value, vec4f(0.0)), p.relu != 0u));
  }
//% endfor
}
