// Included by the backward passes: the derivative of the activation function in which the layer below ends. DERIVATIVE
// is its number (kernels/gradients.rs); SLOPE and ALPHA are the bits of its constant.
//
// It follows from the function's value v, which is the layer's input. Where the function has a corner, it is PyTorch's.
// RULE is the number of the rule by which a gradient passes the function (kernels/gradients.rs), if not the derivative's.

fn derivative(v: vec4f) -> vec4f {
//% if DERIVATIVE == 1
  return select(vec4f(0.0), vec4f(1.0), v > vec4f(0.0));
//% elif DERIVATIVE == 2
  return select(vec4f(0.0), vec4f(1.0), (v > vec4f(0.0)) & (v < vec4f(6.0)));
//% elif DERIVATIVE == 3
  return select(vec4f(bitcast<f32>(${SLOPE}u)), vec4f(1.0), v > vec4f(0.0));
//% elif DERIVATIVE == 4
  return v * (1.0 - v);
//% elif DERIVATIVE == 5
  return 1.0 - v * v;
//% elif DERIVATIVE == 6
  return select(v + bitcast<f32>(${ALPHA}u), vec4f(1.0), v > vec4f(0.0));
//% elif DERIVATIVE == 7
  let scale = bitcast<f32>(${SELU_SCALE}u);
  return select(v + scale * bitcast<f32>(${ALPHA}u), vec4f(scale), v > vec4f(0.0));
//% else
  return vec4f(1.0);
//% endif
}

// The gradient before the function, from the one after it.
fn pass_back(gradient: vec4f, v: vec4f) -> vec4f {
//% if RULE is defined and RULE == 1
  return max(gradient, vec4f(0.0)) * derivative(v);
//% elif RULE is defined
  return max(gradient, vec4f(0.0));
//% else
  return gradient * derivative(v);
//% endif
}
