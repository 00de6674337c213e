// Gradient of the input of convolutions and fully connected layers, for GPUs: for each input pixel and channel, the sum
// of gradient · weight over the kernel positions and the output channels. Weights are read as the forward pass has them.
//
// A workgroup of 16 × 8 threads computes 64 pixels × 64 channels. A thread holds four channels of every eighth pixel.
// Each iteration multiplies 16 output channels of both operands in workgroup memory.
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

// Quads of output channels in an iteration.
const TURN = 4u;
// Odd, so that threads of different rows read different banks.
const PITCH = 5u;

var<workgroup> gradient_tile: array<vec4f, 64u * PITCH>;         // [pixel][quad of the turn]
var<workgroup> weight_tile: array<vec4f, 64u * PITCH>;  // [channel of the group's 64][quad of the turn]

@compute @workgroup_size(16, 8)
fn main(
  @builtin(workgroup_id) dispatched: vec3u,
  @builtin(local_invocation_id) thread: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
//% include "grid.wgsl"
  let group = workgroup.z;
//% if STRIDED is defined
  let tile = tile_at(workgroup.x, 64u);
  let first_row = tile.first;
  let pixels = tile.cells.x * tile.cells.y;
  let rows = tile.rows;
//% else
  let first_row = workgroup.x * 64u;
  let pixels = p.in_height * p.in_width;
  let rows = p.rows / (p.out_height * p.out_width) * pixels;
//% endif
  let first_channel = workgroup.y * 16u;
  let first_quad = p.first_block * p.block_quads;
  let quads = min(p.bound_blocks * p.block_quads, p.group_out_quads - first_quad);

  // A thread stages the same quad of a turn for two pixels and two channels.
  let staged = index / TURN;
  let in_turn = index % TURN;
//% for j in range(2)
  let row${j} = first_row + staged + ${32 * j}u;
  let pixel${j} = row${j} % pixels;
  // Where the kernel's first position meets the pixel, or the first one that meets the cell.
//%   if STRIDED is defined
  let y${j} = pixel${j} / tile.cells.x;
  let x${j} = pixel${j} % tile.cells.x;
//%   else
  let y${j} = pixel${j} / p.in_width + p.pad_top;
  let x${j} = pixel${j} % p.in_width + p.pad_left;
//%   endif
  let picture${j} = row${j} / pixels * p.out_height;
  let channel${j} = 4u * first_channel + staged + ${32 * j}u;
//% endfor

//% for r in range(8)
  var sum${r} = vec4f(0.0);
//% endfor
  for (var tap = 0u; tap < p.kernel_height * p.kernel_width; tap++) {
    var down = tap / p.kernel_width{% if DILATED is defined %} * p.dilation_y{% endif %};
    var right = tap % p.kernel_width{% if DILATED is defined %} * p.dilation_x{% endif %};
//% if STRIDED is defined
    if down % p.stride_y != tile.offset.y || right % p.stride_x != tile.offset.x {
      continue;
    }
    down /= p.stride_y;
    right /= p.stride_x;
//% endif
//% for j in range(2)
    // Wraps around where there is no window, and is then too large.
    let oy${j} = y${j} - down;
    let ox${j} = x${j} - right;
    let inside${j} = row${j} < rows && oy${j} < p.out_height && ox${j} < p.out_width;
    let base${j} = ((picture${j} + oy${j}) * p.out_width + ox${j}) * p.out_quads + group * p.out_group + first_quad;
//% endfor
//% for r in range(8)
    var acc${r} = vec4f(0.0);
//% endfor
    for (var first = 0u; first < quads; first += TURN) {
      let quad = first + in_turn;
      let block = quad / p.block_quads;
      let w = ((group * p.bound_blocks + block) * p.block_k + 4u * tap * p.tap_quads) * p.block_quads + quad % p.block_quads;
//% for j in range(2)
      var a${j} = vec4f(0.0);
      if inside${j} && quad < quads {
        a${j} = load_gradient(base${j} + quad);
      }
      var b${j} = vec4f(0.0);
      if quad < quads && channel${j} < 4u * p.tap_quads {
        b${j} = load_w(weights_at(w + channel${j} * p.block_quads), 0u);
      }
//% endfor
      workgroupBarrier();
//% for j in range(2)
      gradient_tile[(staged + ${32 * j}u) * PITCH + in_turn] = a${j};
      weight_tile[(staged + ${32 * j}u) * PITCH + in_turn] = b${j};
//% endfor
      workgroupBarrier();
      for (var t = 0u; t < TURN; t++) {
//% for i in range(4)
        let w${i} = weight_tile[(4u * thread.x + ${i}u) * PITCH + t];
//% endfor
//% for r in range(8)
        let g${r} = gradient_tile[(thread.y + ${8 * r}u) * PITCH + t];
        acc${r} += vec4f(dot(g${r}, w0), dot(g${r}, w1), dot(g${r}, w2), dot(g${r}, w3));
//% endfor
      }
    }
//% for r in range(8)
    sum${r} += acc${r};
//% endfor
  }

  let quad = first_channel + thread.x;
  if quad >= p.tap_quads {
    return;
  }
//% for r in range(8)
//%   if STRIDED is defined
  let pixel_in${r} = pixel_at(tile, first_row + thread.y + ${8 * r}u);
  if pixel_in${r} != ABSENT {
//%   else
  let pixel_in${r} = first_row + thread.y + ${8 * r}u;
  if pixel_in${r} < rows {
//%   endif
    let at = pixel_in${r} * p.in_quads + group * p.in_group + quad;
    store_y(at, pass_back({% if addend_storage is defined %}load_addend(at) + {% endif %}sum${r}, load_x(at)));
  }
//% endfor
}
