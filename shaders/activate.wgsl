// Included by shaders that end in an activation function. It is applied to the sums of channel quad `quad` of all
// groups.
//
// The uniform chooses ReLU or none. Any other function is a setting: RELU6, LEAKY_RELU (the bits of its slope), SIGMOID
// (the number of channels; those that pad the last quad stay zero), TANH or ELU (the bits of its alpha; with SELU_SCALE,
// those of a factor of the whole).

fn activate(v: vec4f, quad: u32, relu: bool) -> vec4f {
//% if RELU6 is defined
  return clamp(v, vec4f(0.0), vec4f(6.0));
//% elif LEAKY_RELU is defined
  return select(bitcast<f32>(${LEAKY_RELU}u) * v, v, v > vec4f(0.0));
//% elif SIGMOID is defined
  // For a smaller v, exp would overflow.
  let sigmoid = 1.0 / (1.0 + exp(-max(v, vec4f(-80.0))));
  return select(vec4f(0.0), sigmoid, 4u * quad + vec4u(0u, 1u, 2u, 3u) < vec4u(${SIGMOID}u));
//% elif TANH is defined
  // By the exponential function, since drivers' tanh overflows or is less exact. Near zero, where 1 cancels, by its
  // series.
  let e = exp(2.0 * min(abs(v), vec4f(20.0)));
  let far = sign(v) * (1.0 - 2.0 / (e + 1.0));
  let square = v * v;
  let near = v * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0 - square * (62.0 / 2835.0)))));
  return select(far, near, abs(v) < vec4f(0.25));
//% elif ELU is defined
  // Near zero, where 1 cancels, by the series.
  let low = clamp(v, vec4f(-80.0), vec4f(0.0));
  let near = low * (1.0 + low * (1.0 / 2.0 + low * (1.0 / 6.0 + low * (1.0 / 24.0 + low * (1.0 / 120.0 + low * (1.0 / 720.0))))));
  let negative = bitcast<f32>(${ELU}u) * select(exp(low) - 1.0, near, low > vec4f(-0.25));
  let elu = select(negative, v, v > vec4f(0.0));
//% if SELU_SCALE is defined
  return bitcast<f32>(${SELU_SCALE}u) * elu;
//% else
  return elu;
//% endif
//% else
  return select(v, max(v, vec4f(0.0)), relu);
//% endif
}
