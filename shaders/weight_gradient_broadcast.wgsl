// Gradients of the weights and of the bias of convolutions and fully connected layers, for software adapters: for each k
// and each column, the sum of x · gradient over all rows (gemm.wgsl).
//
// One subgroup of ${LANES} lanes computes ${QUADS * 4} k × ${LANES * 4} columns in registers. A lane owns four columns.
// At each output pixel it loads four k, and every lane reads these by broadcast. ${ROWS} pixels are multiplied at a time, so
// that sums stay in registers for as long.
//
// x: [n][in_height][in_width][in_quads], gradient: [n][out_height][out_width][out_quads]
// y: [part][group][block][k][block_quads], bias_gradient: [part][group][block][block_quads]
// Workgroups: (k blocks, column blocks, ${PARTS} parts of the rows · groups).
//% if OPTIMIZER is defined
//
// The weights are updated at once, and y is not there: all other readers of the weights have run.
//% elif ADD
//
// The gradients are added to those that are there.
//% endif

//% include "input.wgsl"
//% include "gradient.wgsl"
//% include "product.wgsl"
//% if OPTIMIZER is defined
//%   include "optimizer.wgsl"
//% else
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
//% endif
@group(0) @binding(7) var<storage, read_write> bias_gradient: array<vec4f>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
//% include "grid.wgsl"
  // No device guarantees that a workgroup of ${LANES} fills the first lanes of its subgroup: indices stay in range even
  // so.
  let lane = min(subgroup_lane, ${LANES - 1}u);
  // Parts are computed one after the other, so that their rows stay in a processor's caches.
  let group = workgroup.z % ${GROUPS}u;
  let part = workgroup.z / ${GROUPS}u;
  let k_quads = p.kernel_height * p.kernel_width * p.tap_quads;
  let first_k = workgroup.x * ${QUADS}u;

  // The four k that this lane loads: their place in a window, and in a pixel. Those that pad a block are zero.
  let exists = first_k + lane % ${QUADS}u < k_quads;
  let k = min(first_k + lane % ${QUADS}u, k_quads - 1u);
  let tap = k / p.tap_quads;
  let ky = i32(tap / p.kernel_width{% if DILATED is defined %} * p.dilation_y{% endif %}) - i32(p.pad_top);
  let kx = i32(tap % p.kernel_width{% if DILATED is defined %} * p.dilation_x{% endif %}) - i32(p.pad_left);
  let channel = group * p.in_group + k % p.tap_quads;

  // The column quad that it owns, in the group, of those that are bound. Those that pad a block are zero too.
  let first_quad = p.first_block * p.block_quads;
  let end_quad = first_quad + p.bound_blocks * p.block_quads;
  let quad = first_quad + workgroup.y * ${LANES}u + lane;
  let column = group * p.out_group + min(quad, p.group_out_quads - 1u);

//% for r in range(4 * QUADS)
  var sum${r} = vec4f(0.0);
//% endfor
  var bias_sum = vec4f(0.0);
  // Whole iterations per part; the last parts may have fewer rows, or none.
  let turns = (p.rows + ${ROWS * PARTS - 1}u) / ${ROWS * PARTS}u;
  let begin = part * turns * ${ROWS}u;
  let part_end = min(begin + turns * ${ROWS}u, p.rows);
  var ox = begin % p.out_width;
  var oy = begin / p.out_width % p.out_height;
  var picture = begin / (p.out_width * p.out_height) * p.in_height;
  for (var first = begin; first < part_end; first += ${SPAN}u) {
    // Every ${SPAN} rows are summed separately, so that rounding errors grow with their number and that of the spans.
//% for r in range(4 * QUADS)
    var acc${r} = vec4f(0.0);
//% endfor
    let end = min(first + ${SPAN}u, part_end);
    for (var row = first; row < end; row += ${ROWS}u) {
//% for u in range(ROWS)
      // Row ${u}: zero past the end.
      let exists${u} = row + ${u}u < end;
      let iy${u} = i32(oy * p.stride_y) + ky;
      let ix${u} = i32(ox * p.stride_x) + kx;
      let inside${u} = exists && exists${u} && iy${u} >= 0 && iy${u} < i32(p.in_height) && ix${u} >= 0 && ix${u} < i32(p.in_width);
      let pixel${u} = select(0u, (picture + u32(iy${u})) * p.in_width + u32(ix${u}), inside${u});
      let a${u} = select(vec4f(0.0), load_x(pixel${u} * p.in_quads + channel), inside${u});
      let at${u} = select(0u, row + ${u}u, exists${u}) * p.out_quads + column;
      let b${u} = select(vec4f(0.0), load_gradient(at${u}), exists${u} && quad < p.group_out_quads);
      // The next row's place, without a division.
      let wraps${u} = ox + 1u == p.out_width;
      ox = select(ox + 1u, 0u, wraps${u});
      let last${u} = wraps${u} && oy + 1u == p.out_height;
      oy = select(oy + u32(wraps${u}), 0u, last${u});
      picture += select(0u, p.in_height, last${u});
//% endfor
      bias_sum += {% for u in range(ROWS) %}b${u}{% if not loop.last %} + {% endif %}{% endfor %};
//% for r in range(QUADS)
//%   for u in range(ROWS)
      let s${r}_${u} = subgroupBroadcast(a${u}, ${r}u);
//%   endfor
//%   for u in range(ROWS)
      acc${4 * r + 0} = fma(vec4f(s${r}_${u}.x), b${u}, acc${4 * r + 0});
//%   endfor
//%   for u in range(ROWS)
      acc${4 * r + 1} = fma(vec4f(s${r}_${u}.y), b${u}, acc${4 * r + 1});
//%   endfor
//%   for u in range(ROWS)
      acc${4 * r + 2} = fma(vec4f(s${r}_${u}.z), b${u}, acc${4 * r + 2});
//%   endfor
//%   for u in range(ROWS)
      acc${4 * r + 3} = fma(vec4f(s${r}_${u}.w), b${u}, acc${4 * r + 3});
//%   endfor
//% endfor
    }
//% for r in range(4 * QUADS)
    sum${r} += acc${r};
//% endfor
  }

  if quad >= end_quad {
    return;
  }
  let block = (quad - first_quad) / p.block_quads;
  let in_block = quad % p.block_quads;
  let of_block = (part * ${GROUPS}u + group) * p.bound_blocks + block;
  let out = (of_block * p.block_k + 4u * first_k) * p.block_quads + in_block;
//% for r in range(4 * QUADS)
  if 4u * first_k + ${r}u < p.block_k {
//%   if OPTIMIZER is defined
    update(out + ${r}u * p.block_quads, sum${r});
//%   else
    y[out + ${r}u * p.block_quads] {% if ADD %}+={% else %}={% endif %} sum${r};
//%   endif
  }
//% endfor
  if workgroup.x == 0u {
    let at = ((part * ${GROUPS}u + group) * p.blocks + p.first_block + block) * p.block_quads + in_block;
    bias_gradient[at] {% if ADD %}+={% else %}={% endif %} bias_sum;
  }
}
