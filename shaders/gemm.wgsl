// Included by the matrix products: weights [group][column block], bias [group][column block], and the product's shape.

//% include "packed.wgsl"
//% if reads_bias
//%   include "activate.wgsl"
//% endif

//% include "product.wgsl"
//% if reads_bias

// Converts the sums of a column quad to its outputs. It is read once, since a read costs as much as many sums on some
// adapters.
struct Epilogue {
  bias: vec4f,
//% if weights == "int8"
  scale: vec4f,
//% endif
  relu: bool,
//% if SIGMOID is defined
  quad: u32,
//% endif
}

// The epilogue of column quad `quad` of all groups, whose bias is at `i`.
fn epilogue_at(i: u32, quad: u32) -> Epilogue {
  return Epilogue(bias[i], {% if weights == "int8" %}scales[i], {% endif %}p.relu != 0u{% if SIGMOID is defined %}, quad{% endif %});
}

fn finish(sums: vec4f, epilogue: Epilogue) -> vec4f {
  let v = sums{% if weights == "int8" %} * epilogue.scale{% endif %} + epilogue.bias;
  return activate(v, {% if SIGMOID is defined %}epilogue.quad{% else %}0u{% endif %}, epilogue.relu);
}
//% endif
