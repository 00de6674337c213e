  // Included at the start of the uniforms of shaders that slide a window over x.
  in_height: u32,
  in_width: u32,
  in_quads: u32,    // channels / 4
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,
  pad_top: u32,
  pad_left: u32,
  dilation_y: u32,  // distance between rows of a window; where a shader has DILATED, it is read only if that is set
  dilation_x: u32,
