// Gradients of the weights and of the bias of convolutions and fully connected layers, for GPUs: for each k and each
// column, the sum of x · gradient over all rows (gemm.wgsl).
//
// A workgroup of 16 × 8 threads computes 64 k × 64 columns. A thread owns four columns of two quads of k. Each iteration
// multiplies 8 rows of both operands in workgroup memory.
//
// x: [n][in_height][in_width][in_quads], gradient: [n][out_height][out_width][out_quads]
// y: [part][group][block][k][block_quads], bias_gradient: [part][group][block][block_quads]
// Workgroups: (k blocks, column blocks, groups · parts). Each part sums its own share of the rows.
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

const ROWS = 8u;
const QUADS = 16u;

var<workgroup> x_tile: array<vec4f, ROWS * QUADS>;         // [row][k / 4]
var<workgroup> gradient_tile: array<vec4f, ROWS * QUADS>;  // [row][column / 4]

@compute @workgroup_size(16, 8)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_id) thread: vec3u) {
//% include "grid.wgsl"
  let group = workgroup.z / ${PARTS}u;
  let part = workgroup.z % ${PARTS}u;
  let groups = ${GROUPS}u;
  let k_quads = p.kernel_height * p.kernel_width * p.tap_quads;
  let first_k = workgroup.x * QUADS;

  // A thread stages the quad of k and the column quad of its x, at the row of its y. What pads a block is zero.
  let k = first_k + thread.x;
  let tap = k / p.tap_quads;
  let ky = tap / p.kernel_width{% if DILATED is defined %} * p.dilation_y{% endif %} - p.pad_top;
  let kx = tap % p.kernel_width{% if DILATED is defined %} * p.dilation_x{% endif %} - p.pad_left;
  let channel = group * p.in_group + k % p.tap_quads;
  let first_quad = p.first_block * p.block_quads;
  let end_quad = first_quad + p.bound_blocks * p.block_quads;
  let quad = first_quad + workgroup.y * QUADS + thread.x;
  let column = group * p.out_group + quad;
  let pixels = p.out_height * p.out_width;

  // Whole iterations per part; the last parts may have fewer rows, or none.
  let turns = (p.rows + ROWS * ${PARTS}u - 1u) / (ROWS * ${PARTS}u);
  let begin = part * turns * ROWS;
  let end = min(begin + turns * ROWS, p.rows);

//% for r in range(8)
  var sum${r} = vec4f(0.0);
//% endfor
  var bias_sum = vec4f(0.0);
  for (var first = begin; first < end; first += ${SPAN}u) {
    // Every ${SPAN} rows are summed separately, so that rounding errors grow with their number and that of the spans.
//% for r in range(8)
    var acc${r} = vec4f(0.0);
//% endfor
    let span_end = min(first + ${SPAN}u, end);
    for (var row0 = first; row0 < span_end; row0 += ROWS) {
      let row = row0 + thread.y;
      var a = vec4f(0.0);
      var b = vec4f(0.0);
      if row < span_end {
        let pixel = row % pixels;
        // Wraps around in the padding, and is then too large.
        let iy = pixel / p.out_width * p.stride_y + ky;
        let ix = pixel % p.out_width * p.stride_x + kx;
        if k < k_quads && iy < p.in_height && ix < p.in_width {
          a = load_x(((row / pixels * p.in_height + iy) * p.in_width + ix) * p.in_quads + channel);
        }
        if quad < p.group_out_quads {
          b = load_gradient(row * p.out_quads + column);
        }
      }
      workgroupBarrier();
      x_tile[thread.y * QUADS + thread.x] = a;
      gradient_tile[thread.y * QUADS + thread.x] = b;
      workgroupBarrier();
      for (var r = 0u; r < ROWS; r++) {
        let g = gradient_tile[r * QUADS + thread.x];
        let x0 = x_tile[r * QUADS + thread.y];
        let x1 = x_tile[r * QUADS + thread.y + 8u];
        acc0 = fma(vec4f(x0.x), g, acc0);
        acc1 = fma(vec4f(x0.y), g, acc1);
        acc2 = fma(vec4f(x0.z), g, acc2);
        acc3 = fma(vec4f(x0.w), g, acc3);
        acc4 = fma(vec4f(x1.x), g, acc4);
        acc5 = fma(vec4f(x1.y), g, acc5);
        acc6 = fma(vec4f(x1.z), g, acc6);
        acc7 = fma(vec4f(x1.w), g, acc7);
        bias_sum += g;
      }
    }
//% for r in range(8)
    sum${r} += acc${r};
//% endfor
  }

  if quad >= end_quad {
    return;
  }
  let block = (quad - first_quad) / p.block_quads;
  let in_block = quad % p.block_quads;
  let of_block = (part * groups + group) * p.bound_blocks + block;
  let out = (of_block * p.block_k + 4u * (first_k + thread.y)) * p.block_quads + in_block;
//% for r in range(8)
  if 4u * (first_k + thread.y) + ${r // 4 * 32 + r % 4}u < p.block_k {
//%   if OPTIMIZER is defined
    update(out + ${r // 4 * 32 + r % 4}u * p.block_quads, sum${r});
//%   else
    y[out + ${r // 4 * 32 + r % 4}u * p.block_quads] {% if ADD %}+={% else %}={% endif %} sum${r};
//%   endif
  }
//% endfor
  if workgroup.x == 0u && thread.y == 0u {
    let at = ((part * groups + group) * p.blocks + p.first_block + block) * p.block_quads + in_block;
    bias_gradient[at] {% if ADD %}+={% else %}={% endif %} bias_sum;
  }
}
