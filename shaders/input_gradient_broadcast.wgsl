// Gradient of the input of convolutions and fully connected layers, for software adapters: for each input pixel and
// channel, the sum of gradient · weight over the kernel positions and the output channels. Weights are read as the
// forward pass has them.
//
// One subgroup of ${LANES} lanes computes ${ROWS} pixels × ${LANES * 4} channels in registers. A lane owns four channels.
// It loads four output channels of one pixel in every ${LANES}, and every lane reads these by broadcast.
//
// gradient: [n][out_height][out_width][out_quads], x and y: [n][in_height][in_width][in_quads]
// weights: [group][block][k][block_quads]
// Workgroups: (pixel blocks, channel blocks, groups).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "gradient.wgsl"
//% include "packed.wgsl"
//% include "product.wgsl"
//% include "derivative.wgsl"
//% if STRIDED is defined
//%   include "strided.wgsl"
//% endif
//% if addend_storage is defined
//%   include "addend.wgsl"
//% endif

//% set GROUPS = (ROWS + LANES - 1) // LANES

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) subgroup_lane: u32) {
//% include "grid.wgsl"
  // No device guarantees that a workgroup of ${LANES} fills the first lanes of its subgroup: indices stay in range even
  // so.
  let lane = min(subgroup_lane, ${LANES - 1}u);
  let group = workgroup.z;
//% if STRIDED is defined
  let tile = tile_at(workgroup.x, ${ROWS}u);
  let first_row = tile.first;
  let pixels = tile.cells.x * tile.cells.y;
  let rows = tile.rows;
//% else
  let first_row = workgroup.x * ${ROWS}u;
  let pixels = p.in_height * p.in_width;
  let rows = p.rows / (p.out_height * p.out_width) * pixels;
//% endif
  let quad = workgroup.y * ${LANES}u + lane;
  let channel = min(quad, p.tap_quads - 1u);

//% for j in range(GROUPS)
  // Pixel group ${j}: where the kernel's first position meets this lane's pixel. A pixel past the end reads the last one.
  let row${j} = min(first_row + ${j * LANES}u + lane, rows - 1u);
  let pixel${j} = row${j} % pixels;
//%   if STRIDED is defined
  let y${j} = i32(pixel${j} / tile.cells.x);
  let x${j} = i32(pixel${j} % tile.cells.x);
//%   else
  let y${j} = i32(pixel${j} / p.in_width + p.pad_top);
  let x${j} = i32(pixel${j} % p.in_width + p.pad_left);
//%   endif
  let picture${j} = row${j} / pixels * p.out_height;
//% endfor

//% for r in range(ROWS)
  var sum${r} = vec4f(0.0);
//% endfor

  for (var ky = 0u; ky < p.kernel_height; ky++) {
    for (var kx = 0u; kx < p.kernel_width; kx++) {
      var down = ky{% if DILATED is defined %} * p.dilation_y{% endif %};
      var right = kx{% if DILATED is defined %} * p.dilation_x{% endif %};
//% if STRIDED is defined
      if down % p.stride_y != tile.offset.y || right % p.stride_x != tile.offset.x {
        continue;
      }
      down /= p.stride_y;
      right /= p.stride_x;
//% endif
//% for j in range(GROUPS)
      let oy${j} = y${j} - i32(down);
      let ox${j} = x${j} - i32(right);
      let inside${j} = oy${j} >= 0 && oy${j} < i32(p.out_height) && ox${j} >= 0 && ox${j} < i32(p.out_width);
      let pixel_out${j} = select(0u, (picture${j} + u32(oy${j})) * p.out_width + u32(ox${j}), inside${j});
      let base${j} = pixel_out${j} * p.out_quads + group * p.out_group;
//% endfor
      let k = 4u * ((ky * p.kernel_width + kx) * p.tap_quads + channel);
      // Each kernel position is summed separately, so that rounding errors grow with k / (kernel size), not k.
//% for r in range(ROWS)
      var acc${r} = vec4f(0.0);
//% endfor
      for (var block = 0u; block < p.bound_blocks; block++) {
        let first = (p.first_block + block) * p.block_quads;
        let w = ((group * p.bound_blocks + block) * p.block_k + k) * p.block_quads;
        for (var c = 0u; c < min(p.block_quads, p.group_out_quads - first); c++) {
//% for j in range(GROUPS)
          let a${j} = select(vec4f(0.0), load_gradient(base${j} + first + c), inside${j});
//% endfor
//% for i in range(4)
          let w${i} = load_w(weights_at(w + ${i}u * p.block_quads + c), 0u);
//% endfor
//% for t in ["x", "y", "z", "w"]
          let b${t} = vec4f(w0.${t}, w1.${t}, w2.${t}, w3.${t});
//% endfor
//% for r in range(ROWS)
          let s${r} = subgroupBroadcast(a${r // LANES}, ${r % LANES}u);
          acc${r} = fma(vec4f(s${r}.x), bx, acc${r});
          acc${r} = fma(vec4f(s${r}.y), by, acc${r});
          acc${r} = fma(vec4f(s${r}.z), bz, acc${r});
          acc${r} = fma(vec4f(s${r}.w), bw, acc${r});
//% endfor
        }
      }
//% for r in range(ROWS)
      sum${r} += acc${r};
//% endfor
    }
  }

  if quad >= p.tap_quads {
    return;
  }
  let out = group * p.in_group + quad;
//% for r in range(ROWS)
//%   if STRIDED is defined
  let pixel_in${r} = pixel_at(tile, first_row + ${r}u);
  if pixel_in${r} != ABSENT {
//%   else
  let pixel_in${r} = first_row + ${r}u;
  if pixel_in${r} < rows {
//%   endif
    let at = out + pixel_in${r} * p.in_quads;
    store_y(at, pass_back({% if addend_storage is defined %}load_addend(at) + {% endif %}sum${r}, load_x(at)));
  }
//% endfor
}
