//! Average pooling to a fixed size: shaders/adaptive_avg_pool.wgsl.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{BackwardPass, Gradients, Operation};
use crate::{
    kernels::{
        Kernel, Work,
        binding::{GRADIENT, X, Y},
        gradients::derivative,
        pointwise_workgroups,
    },
    program::{Backward, Lowering, ProgramError, read, write},
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
        let mut y = Vec::with_capacity(output.len());
        for plane in x.chunks_exact(height * width) {
            for oy in 0..output.height {
                for ox in 0..output.width {
                    let (rows, columns) = (part(oy, height, output.height), part(ox, width, output.width));
                    let count = (rows.len() * columns.len()) as f64;
                    let sum: f64 = rows.flat_map(|iy| &plane[iy * width..][columns.clone()]).sum();
                    y.push(sum / count);
                }
            }
        }
        y
    }

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, output, x, dy, .. } = *pass;
        let mut dx = vec![0.0; x.len()];
        for ((c, oy, ox), dy) in output.indices().zip(dy) {
            let (rows, columns) = (part(oy, input.height, output.height), part(ox, input.width, output.width));
            let share = dy / (rows.len() * columns.len()) as f64;
            for iy in rows {
                let row = (c * input.height + iy) * input.width;
                dx[row..][columns.clone()].iter_mut().for_each(|dx| *dx += share);
            }
        }
        Gradients::of_input(dx)
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (lowering.input, lowering.output, lowering.options.batch);
        let work = work("adaptive_avg_pool", vec![], input, output, pointwise_workgroups(output, batch));
        lowering.pointwise(work)
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let (input, output, batch) = (backward.input, backward.output, backward.options.batch);
        let settings = derivative(backward.below);
        let work = work("adaptive_avg_pool_gradient", settings, input, output, pointwise_workgroups(input, batch));
        let bound = [read(X, backward.forward.x), write(Y, backward.dx()), read(GRADIENT, backward.gradient)];
        backward.dispatch(work, &bound)
    }
}

/// The rows or columns of part `o` of `out`.
fn part(o: usize, size: usize, out: usize) -> Range<usize> {
    o * size / out..((o + 1) * size).div_ceil(out)
}

fn work(
    shader: &'static str,
    settings: Vec<(&'static str, u32)>,
    input: Shape,
    output: Shape,
    workgroups: [u32; 3],
) -> Work {
    let uniform = Uniform {
        in_height: input.height as u32,
        in_width: input.width as u32,
        quads: input.channels.div_ceil(4) as u32,
        out_height: output.height as u32,
        out_width: output.width as u32,
    };
    let mut kernel = Kernel::pointwise(shader);
    kernel.settings.extend(settings);
    // The shader divides products of a position in the output and the input's size.
    let wide = [(input.height, output.height), (input.width, output.width)]
        .into_iter()
        .any(|(size, parts)| u32::try_from(size as u64 * parts as u64).is_err());
    if wide {
        kernel.settings.push(("WIDE", 1));
    }
    Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups)
}
