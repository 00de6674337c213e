// Included by the other shaders: the layer's input x.
//
// An activation is [n][row][column][channel / 4] of vec4<f32>: channels last, padded with zeros to a
// multiple of four. `load_x` takes the flat index of a vec4.
//
// reads = "buffer":   a storage buffer.
// reads = "texture":  an rgba32float storage texture, ${TEXTURE_WIDTH} texels per row.
// reads = "sampled":  the same texture, sampled.

//% if reads == "buffer"
@group(0) @binding(0) var<storage, read> x: array<vec4f>;

fn load_x(i: u32) -> vec4f {
  return x[i];
}
//% else
//%   if reads == "sampled"
@group(0) @binding(0) var x: texture_2d<f32>;
//%   else
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
//%   endif

fn load_x(i: u32) -> vec4f {
  return textureLoad(x, vec2u(i & ${TEXTURE_WIDTH - 1}u, i >> ${TEXTURE_SHIFT}u){% if reads == "sampled" %}, 0{% endif %});
}
//% endif
