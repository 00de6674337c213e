//! Average pooling: shaders/avg_pool.wgsl.

use serde::{Deserialize, Serialize};

use super::{BackwardPass, Gradients, Operation};
use crate::{
    kernels::{
        Kernel, WindowUniform, Work,
        binding::{GRADIENT, X, Y},
        gradients::derivative,
        pointwise_workgroups,
    },
    program::{Backward, Lowering, ProgramError, read, write},
    shape::Shape,
    window::{Padding, Window},
};

/// Average pooling with a window (PyTorch's `AvgPool2d`, ONNX's `AveragePool`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AvgPool {
    /// Kernel, stride, padding and dilation.
    #[serde(flatten)]
    pub window: Window,
    /// Whether padding counts as zeros. If not, the mean is over the positions within the input.
    #[serde(default)]
    pub count_padding: bool,
    /// Whether a last window that extends past the padding produces an output too. Positions past the padding never
    /// count.
    #[serde(default)]
    pub ceil: bool,
}

impl AvgPool {
    /// Makes an average pooling layer with a square window of side `kernel` and the given stride, without padding.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self { window: Window::square(kernel, stride), count_padding: false, ceil: false }
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

    /// Sets whether padding counts as zeros.
    pub const fn count_padding(mut self, count: bool) -> Self {
        self.count_padding = count;
        self
    }

    /// Sets whether a last window that extends past the padding produces an output too.
    pub const fn ceil(mut self, ceil: bool) -> Self {
        self.ceil = ceil;
        self
    }

    /// For each axis, the first position that counts and the end of those that do, from the start of the padding.
    fn counted(&self, input: Shape) -> [[usize; 2]; 2] {
        let Padding { top, left, bottom, right } = self.window.padding;
        [(input.height, top, bottom), (input.width, left, right)].map(|(size, before, after)| {
            if self.count_padding { [0, before + size + after] } else { [before, before + size] }
        })
    }
}

/// The `AvgPool` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    window: WindowUniform,
    first_row: u32,
    first_column: u32,
    end_row: u32,
    end_column: u32,
}

impl Operation for AvgPool {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        let [height, width] = if self.ceil { self.window.output_ceil(input)? } else { self.window.output(input)? };
        // A window of zeros that count has a mean; a window without counted positions has none.
        if !self.count_padding {
            self.window.reaches_input(input, [height, width])?;
        }
        Ok(Shape::new(input.channels, height, width))
    }

    fn reads(&self, _: Shape, _: Shape) -> u64 {
        let [height, width] = self.window.kernel.map(|n| n as u64);
        height * width
    }

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn describe(&self) -> String {
        format!("average pooling {}", self.window.describe())
    }

    fn reference(&self, input: Shape, output: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let count = self.count(input);
        let mean = |(c, oy, ox)| self.window.values(x, input, (c, oy, ox)).sum::<f64>() / count(oy, ox);
        output.indices().map(mean).collect()
    }

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, output, x, dy, .. } = *pass;
        let count = self.count(input);
        let mut dx = vec![0.0; x.len()];
        for ((c, oy, ox), dy) in output.indices().zip(dy) {
            for (iy, _) in self.window.rows(oy, input) {
                for (ix, _) in self.window.columns(ox, input) {
                    dx[(c * input.height + iy) * input.width + ix] += dy / count(oy, ox);
                }
            }
        }
        Gradients::of_input(dx)
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let uniform = self.uniform(input, output);
        let kernel = Kernel::pointwise("avg_pool");
        lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(output, batch)))
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (backward.input, backward.output, backward.options.batch);
        let uniform = self.uniform(input, output);
        let mut kernel = Kernel::pointwise("avg_pool_gradient");
        kernel.settings.extend(derivative(backward.below));
        let work = Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(input, batch));
        let bound = [read(X, backward.forward.x), write(Y, backward.dx()), read(GRADIENT, backward.gradient)];
        backward.dispatch(work, &bound)
    }
}

impl AvgPool {
    fn uniform(&self, input: Shape, output: Shape) -> Uniform {
        let [rows, columns] = self.counted(input);
        Uniform {
            window: WindowUniform::new(self.window, input, output),
            first_row: rows[0] as u32,
            first_column: columns[0] as u32,
            end_row: rows[1] as u32,
            end_column: columns[1] as u32,
        }
    }

    /// A function that counts the positions of the window of an output's row and column.
    fn count(&self, input: Shape) -> impl Fn(usize, usize) -> f64 {
        let Window { kernel, stride, dilation, .. } = self.window;
        let counted = self.counted(input);
        // The number of positions of a window along an axis that count, from the start of the padding.
        let counting = move |axis: usize, o: usize| {
            let all = (0..kernel[axis]).map(|k| o * stride[axis] + k * dilation[axis]);
            let [first, end] = counted[axis];
            all.filter(|position| (first..end).contains(position)).count() as f64
        };
        move |oy, ox| counting(0, oy) * counting(1, ox)
    }
}
