// One step of an optimiser for one array of parameters. One invocation updates four of them.
//
// gradient: [quads], parameters: [quads] and, for a momentum, moment1: [quads]; for AdamW, moment2: [quads]
//% if writes is defined
// y: a copy of the parameters, for kernels that read them from a texture
//% endif
// Workgroups: (quads / ${WORKGROUP}, 1, 1).
//
// OPTIMIZER, with g the gradient, w the parameter, ε the rate and μ the momentum:
// 0, Caffe's SGD:  v ← μ v + ε (g + decay · w), w ← w − v: also the paper's form (Krizhevsky et al. 2012, section 5)
// 1, PyTorch's SGD:  v ← μ v + g + decay · w, w ← w − ε v
// 2, AdamW: Loshchilov, Hutter 2019, "Decoupled weight decay regularization", algorithm 2
// NESTEROV: w moves on from where the momentum will take it (Sutskever et al. 2013), in the form of the same framework.

//% if writes is defined
//%   include "output.wgsl"
//% endif
//% include "step.wgsl"

struct Update {
  quads: u32,
  rate: f32,      // factors of this array's rate and of its decay
  decay: f32,
  momentum: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  max_norm: f32,  // CLIPS: where the norm of all gradients together is larger, they are scaled down to it
}
@group(0) @binding(2) var<uniform> p: Update;
@group(0) @binding(6) var<storage, read> gradient: array<vec4f>;
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
//% if CLIPS
@group(0) @binding(15) var<storage, read> squares: array<vec4f>;
//% endif

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i >= p.quads {
    return;
  }
  let rate = current.rate * p.rate;
  var w = parameters[i];
  var g = gradient[i]{% if MASKED %} * mask[i]{% endif %};
//% if CLIPS
  g = g * min(1.0, p.max_norm / (sqrt(squares[0].x) + 1e-6));
//% endif
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
//% if writes is defined
  store_y(i, w);
//% endif
}
