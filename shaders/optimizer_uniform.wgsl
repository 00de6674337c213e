// Included by the uniforms of what includes optimizer.wgsl.
  rate: f32,      // factors of this array's rate and of its decay
  decay: f32,
  momentum: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
