// Dropout in training: a number is dropped with a probability, and the others are divided by that of being kept. The
// backward pass drops the same gradients.
//
// Random numbers are Philox 4×32-10's (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). The key is the
// seed; the counter is made of the quad in its image, the image in its step, the number of the step, and the layer. One
// invocation computes four channels of one pixel.
//
//% if gradient_storage is defined
// gradient, x, y: [n][quads]
//% else
// x, y: [n][quads]
//% endif
// Workgroups: (quads / ${WORKGROUP}, n, 1).

//% include "input.wgsl"
//% include "output.wgsl"
//% include "step.wgsl"
//% if gradient_storage is defined
//%   include "gradient.wgsl"
//%   include "derivative.wgsl"
//% endif

struct Dropout {
  quads: u32,
  layer: u32,
  threshold: u32,  // numbers whose random number is below it are dropped
  scale: f32,      // 1 / (1 − the probability)
}
@group(0) @binding(2) var<uniform> p: Dropout;

// The upper and lower halves of a product.
fn multiply(a: u32, b: u32) -> vec2u {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let carry = (middle & 0xffffu) + a0 * b1;
  return vec2u(a1 * b1 + (middle >> 16u) + (carry >> 16u), a * b);
}

fn philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let m0 = multiply(0xD2511F53u, c.x);
    let m1 = multiply(0xCD9E8D57u, c.z);
    c = vec4u(m1.x ^ c.y ^ key.x, m1.y, m0.x ^ c.w ^ key.y, m0.y);
    key += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let quad = workgroup.x * ${WORKGROUP}u + thread;
  if quad >= p.quads {
    return;
  }
  let i = workgroup.y * p.quads + quad;
  let random = philox(vec4u(quad, current.first_image + workgroup.y, current.number, p.layer), current.seed);
  let dropped = random < vec4u(p.threshold);
  let kept = select(select(vec4f(p.scale), vec4f(0.0), dropped), vec4f(1.0), current.dropout == 0u);
//% if gradient_storage is defined
  store_y(i, pass_back(load_gradient(i) * kept, load_x(i)));
//% else
  store_y(i, load_x(i) * kept);
//% endif
}
