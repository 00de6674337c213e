// Winograd convolution, the first two steps in one (see winograd.wgsl): Bᵀ d B of each piece d of the input.
//
// x: [n][height][width][pixel_quads], y: [${N}][${N}][group][tile][quads]
// Workgroups: (tiles · quads / ${WORKGROUP}, 1, 1).

//% include "winograd.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if id.x >= p.tiles * p.quads {
    return;
  }
  let c = id.x % p.quads;
  let corner = corner_of(p.first_tile + id.x / p.quads);
  let top = i32(corner.row * p.pixel_rows + c / p.pixel_quads) - i32(p.pad_top);
  let left = i32(corner.column) - i32(p.pad_left);
  let quad = c % p.pixel_quads;
//% for j in range(N)
  let column${j} = left + ${j};
  let column_inside${j} = column${j} >= 0 && column${j} < i32(p.width);
//% endfor

//% for i in range(N)
  let row${i} = top + ${i} * i32(p.pixel_rows);
  let row_inside${i} = row${i} >= 0 && row${i} < i32(p.height);
  let first${i} = (corner.picture + u32(row${i})) * p.width;
//%   for j in range(N)
  let inside${i}_${j} = row_inside${i} && column_inside${j};
  let pixel${i}_${j} = select(0u, first${i} + u32(column${j}), inside${i}_${j});
  let d${i}_${j} = select(vec4f(0.0), load_x(pixel${i}_${j} * p.pixel_quads + quad), inside${i}_${j});
//%   endfor
//%   for j in range(N)
  let t${i}_${j} = {% for k in range(N) if BT[j][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[j][k]} * d${i}_${k}{% endfor %};
//%   endfor
//% endfor
  let step = position_step();
  let out = place(id.x / p.quads, c);
//% for i in range(N)
//%   for j in range(N)
  store_y(out + ${i * N + j}u * step, {% for k in range(N) if BT[i][k] != 0 %}{% if not loop.first %} + {% endif %}${BT[i][k]} * t${k}_${j}{% endfor %});
//%   endfor
//% endfor
}
