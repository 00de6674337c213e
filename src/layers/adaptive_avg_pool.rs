//! Average pooling to a fixed size: shaders/adaptive_avg_pool.wgsl.

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::{
    kernels::{Kernel, Work, pointwise_workgroups},
    program::{Lowering, ProgramError},
    shape::Shape,
};

/// Average pooling to a fixed output size. Output row i is the mean of input rows ⌊i·H/h⌋ to ⌈(i+1)·H/h⌉ − 1; columns
/// likewise (PyTorch's `AdaptiveAvgPool2d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdaptiveAvgPool {
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

/// The `AdaptiveAvgPool` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    in_height: u32,
    in_width: u32,
    quads: u32,
    out_height: u32,
    out_width: u32,
}

impl Operation for AdaptiveAvgPool {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        let [height, width] = self.output;
        if height == 0 || width == 0 {
            return Err(format!("an output of at least 1×1, found {height}×{width}"));
        }
        Ok(Shape::new(input.channels, height, width))
    }

    fn reads(&self, input: Shape, output: Shape) -> u64 {
        // A part of the input, and its overlap with adjacent parts.
        let along = |size: usize, parts: usize| (size / parts + 2).min(size) as u64;
        along(input.height, output.height) * along(input.width, output.width)
    }

    fn describe(&self) -> String {
        "average pooling".into()
    }

    fn reference(&self, input: Shape, output: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let Shape { height, width, .. } = input;
        let bounds = |o: usize, size: usize, out: usize| o * size / out..((o + 1) * size).div_ceil(out);
        let mut y = Vec::with_capacity(output.len());
        for plane in x.chunks_exact(height * width) {
            for oy in 0..output.height {
                for ox in 0..output.width {
                    let (rows, columns) = (bounds(oy, height, output.height), bounds(ox, width, output.width));
                    let count = (rows.len() * columns.len()) as f64;
                    let sum: f64 = rows.flat_map(|iy| &plane[iy * width..][columns.clone()]).sum();
                    y.push(sum / count);
                }
            }
        }
        y
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let uniform = Uniform {
            in_height: input.height as u32,
            in_width: input.width as u32,
            quads: input.channels.div_ceil(4) as u32,
            out_height: output.height as u32,
            out_width: output.width as u32,
        };
        let mut kernel = Kernel::pointwise("adaptive_avg_pool");
        // The shader divides products of a position in the output and the input's size.
        let wide = [(input.height, output.height), (input.width, output.width)]
            .into_iter()
            .any(|(size, parts)| u32::try_from(size as u64 * parts as u64).is_err());
        if wide {
            kernel.settings.push(("WIDE", 1));
        }
        lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(output, batch)))
    }
}
