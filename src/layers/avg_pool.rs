//! Average pooling: shaders/avg_pool.wgsl.

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::{
    kernels::{Kernel, Work, pointwise_workgroups},
    program::{Lowering, ProgramError},
    shape::Shape,
    window::{Padding, Window, positions},
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

    fn describe(&self) -> String {
        format!("average pooling {}", self.window.describe())
    }

    fn reference(&self, input: Shape, output: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let Window { kernel, stride, padding, dilation } = self.window;
        let counted = self.counted(input);
        // The number of positions of a window along an axis that count, from the start of the padding.
        let counting = |axis: usize, o: usize| {
            let all = (0..kernel[axis]).map(|k| o * stride[axis] + k * dilation[axis]);
            let [first, end] = counted[axis];
            all.filter(|position| (first..end).contains(position)).count() as f64
        };
        let mut y = Vec::with_capacity(output.len());
        for (c, oy, ox) in output.indices() {
            let rows = positions(oy, (stride[0], padding.top), (kernel[0], dilation[0]), input.height);
            let columns = positions(ox, (stride[1], padding.left), (kernel[1], dilation[1]), input.width);
            let row = |iy: usize| &x[(c * input.height + iy) * input.width..];
            let sum: f64 = rows.flat_map(|(iy, _)| columns.clone().map(move |(ix, _)| row(iy)[ix])).sum();
            y.push(sum / (counting(0, oy) * counting(1, ox)));
        }
        y
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let Window { kernel, stride, padding, dilation } = self.window;
        let [rows, columns] = self.counted(input);
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
            first_row: rows[0] as u32,
            first_column: columns[0] as u32,
            end_row: rows[1] as u32,
            end_column: columns[1] as u32,
        };
        let kernel = Kernel::pointwise("avg_pool");
        lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(output, batch)))
    }
}
