// Included by the other shaders: where a layer reads its input x.
//
// An activation is [n][row][column][channel / 4] of vec4<f32>: channels last, padded with zeros to a
// multiple of four. `load_x` takes the flat index of a vec4.
//
// storage = "buffer":  a storage buffer.
// storage = "texture": an rgba32float texture, ${TEXTURE_WIDTH} texels a row; the quick way on old lavapipe.

//% if storage == "texture"
@group(0) @binding(0) var x: texture_2d<f32>;

fn load_x(i: u32) -> vec4f {
  return textureLoad(x, vec2u(i % ${TEXTURE_WIDTH}u, i / ${TEXTURE_WIDTH}u), 0);
}
//% else
@group(0) @binding(0) var<storage, read> x: array<vec4f>;

fn load_x(i: u32) -> vec4f {
  return x[i];
}
//% endif
