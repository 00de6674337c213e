// Included by the backward passes: the gradient of the layer's output, laid out as the output is (input.wgsl), in the
// storage that `gradient_storage` names.

//% if gradient_storage == "buffer"
@group(0) @binding(6) var<storage, read> gradient: array<vec4f>;

fn load_gradient(i: u32) -> vec4f {
  return gradient[i];
}
//% else
//%   if gradient_storage == "sampled"
@group(0) @binding(6) var gradient: texture_2d<f32>;
//%   else
@group(0) @binding(6) var gradient: texture_storage_2d<rgba32float, read>;
//%   endif

fn load_gradient(i: u32) -> vec4f {
  return textureLoad(gradient, vec2u(i & ${TEXTURE_WIDTH - 1}u, i >> ${TEXTURE_SHIFT}u){% if gradient_storage == "sampled" %}, 0{% endif %});
}
//% endif
