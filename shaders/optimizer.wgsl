// Included by what updates parameters: an optimiser's step for four of them, with g the gradient, w the parameter, ε the rate and
// μ the momentum.
//
// OPTIMIZER:
// 0, Caffe's SGD:  v ← μ v + ε (g + decay · w), w ← w − v: also the paper's form (Krizhevsky et al. 2012, section 5)
// 1, PyTorch's SGD:  v ← μ v + g + decay · w, w ← w − ε v
// 2, AdamW: Loshchilov, Hutter 2019, "Decoupled weight decay regularization", algorithm 2
// NESTEROV: w moves on from where the momentum will take it (Sutskever et al. 2013), in the form of the same framework.

//% include "step.wgsl"
@group(0) @binding(11) var<storage, read_write> parameters: array<vec4f>;
//% if OPTIMIZER == 2 or MOMENTUM
@group(0) @binding(12) var<storage, read_write> moment1: array<vec4f>;
//% endif
//% if OPTIMIZER == 2
@group(0) @binding(13) var<storage, read_write> moment2: array<vec4f>;
//% endif
//% if MASKED
// 1 where a parameter is, and 0 where the packing has none.
@group(0) @binding(14) var<storage, read> mask: array<vec4f>;
//% endif

// Updates the parameters at `i` and returns them.
fn update(i: u32, gradient: vec4f) -> vec4f {
  let rate = current.rate * p.rate;
  var w = parameters[i];
  var g = gradient{% if MASKED %} * mask[i]{% endif %};
//% if OPTIMIZER == 2
  let m = p.beta1 * moment1[i] + (1.0 - p.beta1) * g;
  let v = p.beta2 * moment2[i] + (1.0 - p.beta2) * g * g;
  moment1[i] = m;
  moment2[i] = v;
  w = w - rate * p.decay * w;
  w = w - rate * (m * current.correction1) / (sqrt(v * current.correction2) + p.epsilon);
//% elif OPTIMIZER == 1
  g = g + p.decay * w;
//%   if MOMENTUM
  let v = p.momentum * moment1[i] + g;
  moment1[i] = v;
//%     if NESTEROV
  w = w - rate * (g + p.momentum * v);
//%     else
  w = w - rate * v;
//%     endif
//%   else
  w = w - rate * g;
//%   endif
//% else
  g = rate * (g + p.decay * w);
//%   if MOMENTUM
  let before = moment1[i];
  let v = p.momentum * before + g;
  moment1[i] = v;
//%     if NESTEROV
  w = w - ((1.0 + p.momentum) * v - p.momentum * before);
//%     else
  w = w - v;
//%     endif
//%   else
  w = w - g;
//%   endif
//% endif
  parameters[i] = w;
  return w;
}
