// The network's input from a texture: resize, centre crop and normalise, as src/picture does for an image of 8 bits.
//
// The filter is bilinear, and antialiased when it shrinks. A kernel is a triangle two pixels wide, of the source or the
// result, whichever are larger. It is cut off at the region's edges and normalised. Columns are filtered first and then
// rows, each rounded to 8 bits.
//
// One invocation computes four pixels of a row of the crop.
// Workgroups: (columns / 4 / 8, rows / 8, 1).
//
// RESIZED = 0: the crop has the texels of the region as they are.
// INTERLEAVED = 1: y has rows of interleaved channels without padding: four pixels are three vec4s.
// INTERLEAVED = 0: y has the usual layout: a pixel is one vec4.

struct TextureInput {
  // The region of the texture with the image, in texels.
  origin: vec2u,
  size: vec2u,
  // The start of the crop in the image, and the distance between its pixels.
  start: vec2f,
  step: vec2f,
  // The pixels of the crop that the image fills; the others are black.
  offset: vec2u,
  filled: vec2u,
  crop: vec2u,
  // vec4s before this image in the batch, and per row.
  first: u32,
  row_quads: u32,
  // Zeros before each row, in pixels.
  pad_left: u32,
  // Whether texels are linear light, to be encoded as sRGB.
  linear: u32,
  // Whether blue comes first.
  bgr: u32,
  // Converts a sample of 0…255 to an input value.
  scale: vec4f,
  bias: vec4f,
}

@group(0) @binding(0) var frame: texture_2d<f32>;
//% include "output.wgsl"
@group(0) @binding(2) var<uniform> p: TextureInput;

// A texel as samples of 0…255.
fn sample(at: vec2u) -> vec3f {
  var colour = clamp(textureLoad(frame, p.origin + at, 0).rgb, vec3f(0.0), vec3f(1.0));
  if p.linear != 0u {
    let curve = 1.055 * pow(colour, vec3f(1.0 / 2.4)) - 0.055;
    colour = select(curve, 12.92 * colour, colour <= vec3f(0.0031308));
  }
  return floor(255.0 * colour + 0.5);
}

// One pixel of the crop, normalised; zero outside it.
fn pixel(column: i32, row: u32) -> vec4f {
  if column < 0 || u32(column) >= p.crop.x {
    return vec4f(0.0);
  }
  let at = vec2u(u32(column), row) - p.offset;
  if any(vec2u(u32(column), row) < p.offset) || any(at >= p.filled) {
    return p.bias;
  }
//% if RESIZED == 1
  let centre = p.start + (vec2f(at) + 0.5) * p.step;
  let reach = max(p.step, vec2f(1.0));
  let low = vec2u(max(centre - reach + 0.5, vec2f(0.0)));
  let high = min(vec2u(ceil(centre + reach - 0.5)), p.size);
  var sum = vec3f(0.0);
  var total = 0.0;
  for (var y = low.y; y < high.y; y++) {
    var line = vec3f(0.0);
    var across = 0.0;
    for (var x = low.x; x < high.x; x++) {
      let weight = max(0.0, 1.0 - abs(f32(x) + 0.5 - centre.x) / reach.x);
      line += weight * sample(vec2u(x, y));
      across += weight;
    }
    let weight = max(0.0, 1.0 - abs(f32(y) + 0.5 - centre.y) / reach.y);
    sum += weight * floor(line / across + 0.5);
    total += weight;
  }
  let colour = floor(sum / total + 0.5);
//% else
  let colour = sample(vec2u(p.start) + at);
//% endif
  return vec4f(select(colour, colour.bgr, p.bgr != 0u), 0.0) * p.scale + p.bias;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_id) thread: vec3u) {
//% include "grid.wgsl"
  let id = workgroup * vec3u(8u, 8u, 1u) + thread;
  if id.y >= p.crop.y {
    return;
  }
  let column = i32(4u * id.x) - i32(p.pad_left);
  var quads: array<vec4f, 4>;
  for (var i = 0; i < 4; i++) {
    quads[i] = pixel(column + i, id.y);
  }
  let row = p.first + id.y * p.row_quads;
//% if INTERLEAVED == 1
  let at = 3u * id.x;
  if at < p.row_quads {
    store_y(row + at, vec4f(quads[0].xyz, quads[1].x));
  }
  if at + 1u < p.row_quads {
    store_y(row + at + 1u, vec4f(quads[1].yz, quads[2].xy));
  }
  if at + 2u < p.row_quads {
    store_y(row + at + 2u, vec4f(quads[2].z, quads[3].xyz));
  }
//% else
  for (var i = 0u; i < 4u; i++) {
    if 4u * id.x + i < p.row_quads {
      store_y(row + 4u * id.x + i, quads[i]);
    }
  }
//% endif
}
