// Included by the shaders that multiply. Packed weights are quads of four output channels, in the order that the shader
// states. The bias is one vec4 per column quad, in a storage buffer.
//
// weights = "f32":   vec4<f32>.
// weights = "f16":   four halves.
// weights = "int8":  four signed bytes, −1 to 1 in steps of 1/127; `scales` has the factor of each column.
//
// weights_storage is their storage, as `reads` in input.wgsl.
//
// `weights_at` finds the quad with flat index `i`, once for several loads: `load_w` reads the quad `offset` after it.
// Both are between the same two multiples of a power of two of at most ${TEXTURE_WIDTH}, so that they are in the same
// row of a texture.

//% if weights_storage != "buffer"
//%   if weights_storage == "sampled"
@group(0) @binding(3) var weights: texture_2d<f32>;
//%   else
//%     set format = {"f32": "rgba32float", "f16": "rgba16float", "int8": "rgba8snorm"}[weights]
@group(0) @binding(3) var weights: texture_storage_2d<${format}, read>;
//%   endif

fn weights_at(i: u32) -> vec2u {
  return vec2u(i & ${TEXTURE_WIDTH - 1}u, i >> ${TEXTURE_SHIFT}u);
}

fn load_w(at: vec2u, offset: u32) -> vec4f {
  return textureLoad(weights, vec2u(at.x + offset, at.y){% if weights_storage == "sampled" %}, 0{% endif %});
}
//% else
//%   set quad = {"f32": "vec4f", "f16": "vec2u", "int8": "u32"}[weights]
@group(0) @binding(3) var<storage, read> weights: array<${quad}>;

fn weights_at(i: u32) -> u32 {
  return i;
}

fn load_w(at: u32, offset: u32) -> vec4f {
  let quad = weights[at + offset];
//%   if weights == "f32"
  return quad;
//%   elif weights == "f16"
  return vec4f(unpack2x16float(quad.x), unpack2x16float(quad.y));
//%   else
  return unpack4x8snorm(quad);
//%   endif
}
//% endif
//% if reads_bias
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
//% endif
//% if weights == "int8"
@group(0) @binding(5) var<storage, read> scales: array<vec4f>;
//% endif
