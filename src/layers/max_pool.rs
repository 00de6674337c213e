//! Max pooling: shaders/max_pool.wgsl.

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::{
    kernels::{Kernel, WindowUniform, Work, dilated, pointwise_workgroups},
    program::{Lowering, ProgramError},
    shape::Shape,
    window::{Padding, Window},
};

/// Max pooling. Padding is ignored, even if all inputs are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
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

    /// Sets the window.
    pub const fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Sets the padding.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.window.padding = padding.into();
        self
    }
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

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn describe(&self) -> String {
        format!("max pooling {}", self.window.describe())
    }

    fn reference(&self, input: Shape, output: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let values = |at| self.window.values(x, input, at);
        output.indices().map(|at| values(at).fold(f64::NEG_INFINITY, f64::max)).collect()
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let uniform = WindowUniform::new(self.window, input, output);
        let mut kernel = Kernel::pointwise("max_pool");
        kernel.settings.extend(dilated(self.window));
        lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(output, batch)))
    }
}
