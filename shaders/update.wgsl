// One step of an optimiser for one array of parameters. One invocation updates four of them.
//
// gradient: [quads], parameters: [quads] and, for a momentum, moment1: [quads]; for AdamW, moment2: [quads]
//% if writes is defined
// y: a copy of the parameters, for kernels that read them from a texture
//% endif
// Workgroups: (quads / ${WORKGROUP}, 1, 1).

//% if writes is defined
//%   include "output.wgsl"
//% endif

struct Update {
  quads: u32,
  max_norm: f32,  // CLIPS: where the norm of all gradients together is larger, they are scaled down to it
//% include "optimizer_uniform.wgsl"
}
@group(0) @binding(2) var<uniform> p: Update;
@group(0) @binding(6) var<storage, read> gradient: array<vec4f>;
//% if CLIPS
@group(0) @binding(15) var<storage, read> squares: array<vec4f>;
//% endif
//% include "optimizer.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
//% include "grid.wgsl"
  let i = workgroup.x * ${WORKGROUP}u + thread;
  if i >= p.quads {
    return;
  }
  let g = gradient[i]{% if CLIPS %} * min(1.0, p.max_norm / (sqrt(squares[0].x) + 1e-6)){% endif %};
  let updated = update(i, g);
//% if writes is defined
  store_y(i, updated);
//% endif
}
