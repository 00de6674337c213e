// Included by the other shaders: the layer's output y, laid out as x is (input.wgsl), in the storage that `writes`
// names.

//% if writes != "buffer"
@group(0) @binding(1) var y: texture_storage_2d<rgba32float, write>;

fn store_y(i: u32, value: vec4f) {
  textureStore(y, vec2u(i & ${TEXTURE_WIDTH - 1}u, i >> ${TEXTURE_SHIFT}u), value);
}
//% else
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

fn store_y(i: u32, value: vec4f) {
  y[i] = value;
}
//% endif
