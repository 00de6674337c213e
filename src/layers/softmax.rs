//! Softmax over the channels: shaders/softmax.wgsl, one workgroup per pixel.

use super::{BackwardPass, Gradients, Operation};
use crate::{
    kernels::{
        Kernel, Work,
        binding::{ADDEND, GRADIENT, X, Y},
        gradients::derivative,
    },
    program::{Backward, Lowering, ProgramError, read, write},
    shape::Shape,
};

/// Softmax over a vector, or over the channels of each pixel.
pub(super) struct Softmax;

impl Operation for Softmax {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }

    fn describe(&self) -> String {
        "softmax".into()
    }

    fn reference(&self, input: Shape, _: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let pixels = input.height * input.width;
        let mut y = x.to_vec();
        for pixel in 0..pixels {
            let channels = || (pixel..x.len()).step_by(pixels);
            let max = channels().map(|i| x[i]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = channels().map(|i| (x[i] - max).exp()).sum();
            channels().for_each(|i| y[i] = (x[i] - max).exp() / sum);
        }
        y
    }

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, y, dy, .. } = *pass;
        let pixels = input.height * input.width;
        let mut dx = dy.to_vec();
        for pixel in 0..pixels {
            let channels = || (pixel..y.len()).step_by(pixels);
            let sum: f64 = channels().map(|i| dy[i] * y[i]).sum();
            channels().for_each(|i| dx[i] = y[i] * (dy[i] - sum));
        }
        Gradients::of_input(dx)
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (shape, batch) = (lowering.input, lowering.options.batch);
        let kernel = Kernel::new("softmax", [("WORKGROUP", lowering.options.config.reducing_threads())]);
        lowering.pointwise(work(kernel, shape, batch))
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let mut kernel = Kernel::pointwise("softmax_gradient");
        kernel.settings.extend(derivative(backward.below));
        let forward = backward.forward;
        let bound =
            [read(X, forward.x), read(ADDEND, forward.y), read(GRADIENT, backward.gradient), write(Y, backward.dx())];
        backward.dispatch(work(kernel, backward.input, backward.options.batch), &bound)
    }
}

fn work(kernel: Kernel, shape: Shape, batch: usize) -> Work {
    let uniform = [shape.channels.div_ceil(4), shape.channels, shape.width, shape.height].map(|size| size as u32);
    let workgroups = [shape.width as u32, shape.height as u32, batch as u32];
    Work::new(kernel, bytemuck::cast_slice(&uniform), workgroups)
}
