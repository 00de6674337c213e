//! Softmax over the channels: shaders/softmax.wgsl, one workgroup per pixel.

use super::Operation;
use crate::{
    kernels::{Kernel, Work},
    program::{Lowering, ProgramError},
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

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (shape, batch) = (lowering.input, lowering.options.batch);
        let uniform = [shape.channels.div_ceil(4), shape.channels, shape.width, shape.height].map(|size| size as u32);
        let workgroups = [shape.width as u32, shape.height as u32, batch as u32];
        lowering.pointwise(Work::new(Kernel::pointwise("softmax"), bytemuck::cast_slice(&uniform), workgroups))
    }
}
