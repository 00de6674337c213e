// Included by local response normalisation and its backward pass: the constants and the sums of squares.

struct LocalResponseNorm {
  height: u32,
  width: u32,
  quads: u32,
  before: u32,  // channels of the window before its centre
  after: u32,   // and after it
  factor: f32,
  beta: f32,
  k: f32,
}
@group(0) @binding(2) var<uniform> p: LocalResponseNorm;

// k + factor · Σ x² for the four channels of quad `c` of the pixel that begins at `pixel`.
fn scale_of(pixel: u32, c: u32) -> vec4f {
  let channels = 4u * c + vec4u(0u, 1u, 2u, 3u);
  let last = min((4u * c + 3u + p.after) / 4u, p.quads - 1u);

  // Channels that pad the last quad are zero and add nothing.
  var squares = vec4f(0.0);
  for (var q = (max(4u * c, p.before) - p.before) / 4u; q <= last; q++) {
    let value = load_x(pixel + q);
    let square = value * value;
    for (var i = 0u; i < 4u; i++) {
      let channel = vec4u(4u * q + i);
      let inside = (channel + p.before >= channels) & (channel <= channels + p.after);
      squares += select(vec4f(0.0), vec4f(square[i]), inside);
    }
  }
  return p.k + p.factor * squares;
}

// v / scale^beta.
fn normalised(v: vec4f, scale: vec4f) -> vec4f {
  if p.beta == 0.75 {
    // Two square roots are exact, while pow is a driver's approximation.
    let root = sqrt(scale);
    return v / (root * sqrt(root));
  }
  return v * pow(scale, vec4f(-p.beta));
}
