//! shaders/window.wgsl: the start of the uniforms of shaders that slide a window.

use crate::{shape::Shape, window::Window};

/// The fields of shaders/window.wgsl, in order.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct WindowUniform {
    in_height: u32,
    in_width: u32,
    in_quads: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_top: u32,
    pad_left: u32,
    dilation_y: u32,
    dilation_x: u32,
}

impl WindowUniform {
    /// The uniform of a window that makes `output` of `input`.
    pub fn new(window: Window, input: Shape, output: Shape) -> Self {
        let Window { kernel, stride, padding, dilation } = window;
        Self {
            in_height: input.height as u32,
            in_width: input.width as u32,
            in_quads: input.channels.div_ceil(4) as u32,
            out_height: output.height as u32,
            out_width: output.width as u32,
            kernel_height: kernel[0] as u32,
            kernel_width: kernel[1] as u32,
            stride_y: stride[0] as u32,
            stride_x: stride[1] as u32,
            pad_top: padding.top as u32,
            pad_left: padding.left as u32,
            dilation_y: dilation[0] as u32,
            dilation_x: dilation[1] as u32,
        }
    }
}

/// The setting with which a shader reads the dilation. Without dilation, one shader serves all windows.
pub(crate) fn dilated(window: Window) -> Option<(&'static str, u32)> {
    (window.dilation != [1, 1]).then_some(("DILATED", 1))
}
