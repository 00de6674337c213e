// Included by adaptive average pooling and its backward pass: the sizes, and where the parts begin and end.

struct AdaptiveAvgPool {
  in_height: u32,
  in_width: u32,
  quads: u32,
  out_height: u32,
  out_width: u32,
}
@group(0) @binding(2) var<uniform> p: AdaptiveAvgPool;

// ⌊i · size / parts⌋, and the remainder.
fn scaled(i: u32, size: u32, parts: u32) -> vec2u {
//% if WIDE is defined
  // i · size exceeds 32 bits: long division, for each bit of i from the highest.
  var result = vec2u(0u);
  for (var bit = 0u; bit < 32u; bit++) {
    let rest = 2u * result.y + ((i >> (31u - bit)) & 1u) * size;
    result = vec2u(2u * result.x + rest / parts, rest % parts);
  }
  return result;
//% else
  return vec2u(i * size / parts, i * size % parts);
//% endif
}

// Start of the part after number `i`, rounded up.
fn end_of(i: u32, size: u32, parts: u32) -> u32 {
  let end = scaled(i + 1u, size, parts);
  return end.x + min(end.y, 1u);
}
