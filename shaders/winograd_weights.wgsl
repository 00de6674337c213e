// Winograd convolution (see winograd.wgsl) in training: G g Gᵀ of each filter g, from the weights that an optimiser updates to
// those of the products. One invocation transforms ${R}×${R} weights of four columns.
//
// TURNED = 0: columns are output channels, as those of x; k are input channels.
// TURNED = 1: for the gradient of the convolution's input, which is a convolution of the output's gradient with the filters
// turned by half a circle. Columns are input channels, and k are output channels.
//
// x: [group][block][kernel row][kernel column][input channel][column]
// y: [${N}][${N}][group][block][k][column / 4]
// Workgroups: (quads of a position / ${WORKGROUP}, 1, 1).

//% include "output.wgsl"

struct Weights {
  quads: u32,         // of a position
  column_quads: u32,  // of a block of y
  k: u32,             // of a block of y
  blocks: u32,        // of a group of y
  x_columns: u32,     // of a block of x
  x_block_k: u32,     // of a block of x
  x_blocks: u32,      // of a group of x
  x_channels: u32,    // input channels at each kernel position of x
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<uniform> p: Weights;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let id = workgroup.x * ${WORKGROUP}u + thread;
  if id >= p.quads {
    return;
  }
  let k = id / p.column_quads % p.k;
  let column = 4u * (id / (p.column_quads * p.k) % p.blocks * p.column_quads + id % p.column_quads);
  let group = id / (p.column_quads * p.k * p.blocks);
//% if TURNED
  let channel = column;
  let output = k;
  let step = p.x_columns;
//% else
  let channel = k;
  let output = column;
  let step = 1u;
//% endif
  // Blocks of y may have places for more channels than x.
  let inside = channel < p.x_channels && output < p.x_blocks * p.x_columns;
  let block = group * p.x_blocks + output / p.x_columns;
  let first = (block * p.x_block_k + channel) * p.x_columns + output % p.x_columns;
  let tap = p.x_channels * p.x_columns;
//% for i in range(R)
//%   for j in range(R)
//%     set place = R * R - 1 - (i * R + j) if TURNED else i * R + j
  let at${i}_${j} = select(0u, first + ${place}u * tap, inside);
  let g${i}_${j} = select(vec4f(0.0), vec4f(x[at${i}_${j}], x[at${i}_${j} + step], x[at${i}_${j} + 2u * step], x[at${i}_${j} + 3u * step]), inside);
//%   endfor
//% endfor
//% for j in range(R)
//%   for i in range(N)
  let t${i}_${j} = {% for k in range(R) if G[i][k] != 0 %}{% if not loop.first %} + {% endif %}${G[i][k]} * g${k}_${j}{% endfor %};
//%   endfor
//% endfor
//% for i in range(N)
//%   for j in range(N)
  store_y(id + ${i * N + j}u * p.quads, {% for k in range(R) if G[j][k] != 0 %}{% if not loop.first %} + {% endif %}${G[j][k]} * t${i}_${k}{% endfor %});
//%   endfor
//% endfor
}
