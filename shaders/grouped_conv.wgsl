// Convolution with few channels per group, where a matrix product would multiply by zeros: each output channel reads
// the input channels of its own group.
//
// One invocation computes four output channels of one pixel.
//
// x: [n][in_height][in_width][in_quads], y: [n][out_height][out_width][out_quads]
//% if DEPTHWISE == 1
// Each group has one input and one output channel. weights: [out quad][ky][kx], bias: [out quad]
//% else
// weights: [out quad][ky][kx][span][4 input channels], zero for input channels of another group; bias: [out quad]
//% endif
// Workgroups: (out_width · bound_quads / ${WORKGROUP}, out_height, n).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "packed.wgsl"
//% include "activate.wgsl"

struct GroupedConv {
//% include "window.wgsl"
  group_in: u32,     // input channels of a group
  out_quads: u32,
  group_out: u32,    // output channels of a group
  span: u32,         // input quads that four output channels read
  first_quad: u32,   // the first output quad in this dispatch (weights too large for one binding)
  bound_quads: u32,  // output quads of the bound weights
  relu: u32,
}
@group(0) @binding(2) var<uniform> p: GroupedConv;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i >= p.out_width * p.bound_quads {
    return;
  }
  let bound = i % p.bound_quads;
  let quad = p.first_quad + bound;
  let column = i / p.bound_quads;
  let row = workgroup.y;
  let picture = workgroup.z;
//% if DEPTHWISE == 0
  // The quad in which the first group of these channels begins.
  let first = 4u * quad / p.group_out * p.group_in / 4u;
//% endif

  let top = row * p.stride_y;
  let left = column * p.stride_x;
  var sum = vec4f(0.0);
  for (var ky = 0u; ky < p.kernel_height; ky++) {
    // Wraps around in the padding, and is then too large.
    let y = top + ky{% if DILATED is defined %} * p.dilation_y{% endif %} - p.pad_top;
    if y >= p.in_height {
      continue;
    }
    for (var kx = 0u; kx < p.kernel_width; kx++) {
      let x = left + kx{% if DILATED is defined %} * p.dilation_x{% endif %} - p.pad_left;
      if x >= p.in_width {
        continue;
      }
      let pixel = ((picture * p.in_height + y) * p.in_width + x) * p.in_quads;
      let tap = (bound * p.kernel_height + ky) * p.kernel_width + kx;
//% if DEPTHWISE == 1
      sum = fma(load_x(pixel + quad), load_w(weights_at(tap), 0u), sum);
//% else
      for (var q = 0u; q < p.span; q++) {
        // Past the last channel the weights are zero; the load only has to stay in range.
        let v = load_x(pixel + min(first + q, p.in_quads - 1u));
        let at = weights_at((tap * p.span + q) * 4u);
//%   for i in ["x", "y", "z", "w"]
        sum = fma(vec4f(v.${i}), load_w(at, ${loop.index0}u), sum);
//%   endfor
      }
//% endif
    }
  }
  let pixel = (picture * p.out_height + row) * p.out_width + column;
  store_y(pixel * p.out_quads + quad, activate(sum + bias[quad], quad, p.relu != 0u));
}
