// Peak multiplications and additions of an adapter: independent chains in registers.
// Every invocation does ${LOOPS * 16 * 16} of both.
//
// x: [quads] as starting values, y: [invocations]
// Workgroups: any number along x.

//% include "input.wgsl"
//% include "output.wgsl"

struct Roofline {
  quads: u32,  // of x
}
@group(0) @binding(2) var<uniform> p: Roofline;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = load_x(id.x % p.quads);
//% for chain in range(4)
  var v${chain} = factor + ${chain}.0;
//% endfor
  for (var i = 0u; i < ${LOOPS}u; i++) {
//% for turn in range(16)
//% for chain in range(4)
    v${chain} = fma(v${chain}, factor, factor);
//% endfor
//% endfor
  }
  store_y(id.x, v0 + v1 + v2 + v3);
}
