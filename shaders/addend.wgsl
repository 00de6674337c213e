// Included by shaders that add their results to other ones: those, laid out as y is, in the storage that
// `addend_storage` names.

//% if addend_storage == "buffer"
@group(0) @binding(8) var<storage, read> addend: array<vec4f>;

fn load_addend(i: u32) -> vec4f {
  return addend[i];
}
//% else
//%   if addend_storage == "sampled"
@group(0) @binding(8) var addend: texture_2d<f32>;
//%   else
@group(0) @binding(8) var addend: texture_storage_2d<rgba32float, read>;
//%   endif

fn load_addend(i: u32) -> vec4f {
  return textureLoad(addend, vec2u(i & ${TEXTURE_WIDTH - 1}u, i >> ${TEXTURE_SHIFT}u){% if addend_storage == "sampled" %}, 0{% endif %});
}
//% endif
