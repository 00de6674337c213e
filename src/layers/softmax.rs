//! Softmax: shaders/softmax.wgsl, one workgroup per image.

use super::Operation;
use crate::{
    kernels::{Kernel, Work},
    program::{Lowering, ProgramError},
    shape::Shape,
};

/// Softmax over a vector.
pub(super) struct Softmax;

impl Operation for Softmax {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        if input.height * input.width != 1 {
            return Err(format!("a vector, found {input}"));
        }
        Ok(input)
    }

    fn describe(&self) -> String {
        "softmax".into()
    }

    fn reference(&self, _: Shape, _: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = x.iter().map(|v| (v - max).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.iter().map(|v| v / sum).collect()
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (classes, batch) = (lowering.input.channels, lowering.options.batch);
        let uniform = [classes.div_ceil(4) as u32, classes as u32];
        let workgroups = [batch as u32, 1, 1];
        lowering.pointwise(Work::new(Kernel::pointwise("softmax"), bytemuck::cast_slice(&uniform), workgroups))
    }
}
