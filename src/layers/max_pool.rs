//! Max pooling: shaders/max_pool.wgsl.

use serde::{Deserialize, Serialize};

use super::{BackwardPass, Gradients, Operation};
use crate::{
    kernels::{
        Kernel, Precision, WindowUniform, Work,
        binding::{GRADIENT, TAKEN, X, Y},
        dilated,
        gradients::derivative,
        pointwise_workgroups,
    },
    program::{Backward, Lowering, ProgramError, read, write},
    shape::Shape,
    window::{Padding, Window},
};

/// The positions of a window that a byte tells apart.
const MOST_PLACES: usize = 256;

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

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, output, x, y, dy, .. } = *pass;
        let mut dx = vec![0.0; x.len()];
        for (((c, oy, ox), y), dy) in output.indices().zip(y).zip(dy) {
            // Of equal numbers the first one is taken, as PyTorch does.
            let rows = self.window.rows(oy, input).map(|(iy, _)| (c * input.height + iy) * input.width);
            let columns = self.window.columns(ox, input);
            let mut places = rows.flat_map(|row| columns.clone().map(move |(ix, _)| row + ix));
            if let Some(taken) = places.find(|&at| x[at] == *y) {
                dx[taken] += dy;
            }
        }
        Gradients::of_input(dx)
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let uniform = WindowUniform::new(self.window, input, output);
        let mut kernel = Kernel::pointwise("max_pool");
        kernel.settings.extend(dilated(self.window));
        let workgroups = pointwise_workgroups(output, batch);
        if lowering.training.is_none() {
            return lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups));
        }
        if self.window.kernel.iter().product::<usize>() > MOST_PLACES {
            return Err(ProgramError::Untrainable {
                layer: lowering.name.into(),
                reason: format!("its windows have more than {MOST_PLACES} positions"),
            });
        }
        kernel.settings.push(("TAKEN", 1));
        let taken = lowering.keep("taken", Precision::Int8);
        let bound = [read(X, lowering.x()), write(Y, lowering.y()), write(TAKEN, taken)];
        lowering.dispatch(Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups), &bound)
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (backward.input, backward.output, backward.options.batch);
        let uniform = WindowUniform::new(self.window, input, output);
        let mut kernel = Kernel::pointwise("max_pool_gradient");
        kernel.settings.extend(derivative(backward.below));
        kernel.settings.extend(dilated(self.window));
        let work = Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(input, batch));
        let mut bound = vec![read(X, backward.forward.x), write(Y, backward.dx()), read(GRADIENT, backward.gradient)];
        bound.extend(backward.forward.kept.iter().map(|&taken| read(TAKEN, taken)));
        backward.dispatch(work, &bound)
    }
}
