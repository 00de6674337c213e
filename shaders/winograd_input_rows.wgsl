// Winograd convolution, first step (see winograd.wgsl): each row of a piece of the input times B.
//
// x: [n][height][width][pixel_quads], y: [${N}][${N}][group][tile][quads]
// Workgroups: (tiles · ${N} · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.tiles * ${N}u * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let line = id.x / p.quads;
  let i = line % ${N}u;
  let corner = corner_of(p.first_tile + line / ${N}u);
  let row = i32((corner.row + i) * p.pixel_rows + c / p.pixel_quads) - i32(p.pad_top);
  let left = i32(corner.column) - i32(p.pad_left);
  let quad = c % p.pixel_quads;
  let row_inside = row >= 0 && row < i32(p.height);

//% for j in range(N)
  let column${j} = left + ${j};
  let inside${j} = row_inside && column${j} >= 0 && column${j} < i32(p.width);
  let pixel${j} = select(0u, (corner.picture + u32(row)) * p.width + u32(column${j}), inside${j});
  let d${j} = select(vec4f(0.0), load_x(pixel${j} * p.pixel_quads + quad), inside${j});
//% endfor
  let step = position_step();
  let out = place(line / ${N}u, c) + i * ${N}u * step;
//% for j in range(N)
  store_y(out + ${j}u * step, {% for k in range(N) if BT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[j][k]} * d${k}{% endfor %});
//% endfor
}
