//! Max pooling: shaders/max_pool.wgsl.

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::{
    kernels::{Kernel, Work, dilated, pointwise_workgroups},
    program::{Lowering, ProgramError},
    shape::Shape,
    window::{Padding, Window, positions},
};

/// Max pooling. Padding is ignored, even if all inputs are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaxPool {
    /// Kernel, stride and padding.
    #[serde(flatten)]
    pub window: Window,
}

impl MaxPool {
    /// Makes a max pooling layer with a square window of side `kernel` and the given stride, without padding.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self { window: Window::square(kernel, stride) }
    }

    /// Sets the padding.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.window.padding = padding.into();
        self
    }
}

/// The `MaxPool` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    in_height: u32,
    in_width: u32,
    quads: u32,
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

impl Operation for MaxPool {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        let [height, width] = self.window.output(input)?;
        self.window.reaches_input(input, [height, width])?;
        Ok(Shape::new(input.channels, height, width))
    }

    fn reads(&self, input: Shape, _: Shape) -> u64 {
        let [height, width] = self.window.kernel;
        (height.min(input.height) * width.min(input.width)) as u64
    }

    fn describe(&self) -> String {
        format!("max pooling {}", self.window.describe())
    }

    fn reference(&self, input: Shape, output: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let Window { kernel, stride, padding, dilation } = self.window;
        let mut y = Vec::with_capacity(output.len());
        for (c, oy, ox) in output.indices() {
            let rows = positions(oy, (stride[0], padding.top), (kernel[0], dilation[0]), input.height);
            let columns = positions(ox, (stride[1], padding.left), (kernel[1], dilation[1]), input.width);
            let row = |iy: usize| &x[(c * input.height + iy) * input.width..];
            let window = rows.flat_map(|(iy, _)| columns.clone().map(move |(ix, _)| row(iy)[ix]));
            y.push(window.fold(f64::NEG_INFINITY, f64::max));
        }
        y
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let Window { kernel, stride, padding, dilation } = self.window;
        let uniform = Uniform {
            in_height: input.height as u32,
            in_width: input.width as u32,
            quads: input.channels.div_ceil(4) as u32,
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
        };
        let workgroups = pointwise_workgroups(output, batch);
        let mut kernel = Kernel::pointwise("max_pool");
        kernel.settings.extend(dilated(dilation));
        lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups))
    }
}
