//! Dropout: the identity at inference, and shaders/dropout.wgsl in training.

use super::{BackwardPass, Gradients, Operation};
use crate::{
    activation::Below,
    kernels::{
        Kernel, WORKGROUP, Work, activation_quads,
        binding::{GRADIENT, STEP, X, Y},
        gradients::derivative,
    },
    program::{Backward, Lowering, ProgramError, Training, read, write},
    shape::Shape,
};

/// Dropout.
pub(super) struct Dropout;

/// The `Dropout` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    quads: u32,
    layer: u32,
    threshold: u32,
    scale: f32,
}

/// The kernel for the forward pass, or for the backward pass behind a layer that ends in an activation function.
fn work(training: Training, shape: Shape, batch: usize, below: Option<Below>) -> Work {
    let quads = activation_quads(shape) as u32;
    let uniform = Uniform {
        quads,
        layer: training.layer,
        threshold: threshold(training.dropout),
        scale: 1.0 / (1.0 - training.dropout),
    };
    let mut kernel = Kernel::pointwise("dropout");
    kernel.settings.extend(below.map(derivative).into_iter().flatten());
    Work::new(kernel, bytemuck::bytes_of(&uniform), [quads.div_ceil(WORKGROUP), batch as u32, 1])
}

/// Random numbers below it drop a number.
pub(crate) fn threshold(probability: f32) -> u32 {
    (f64::from(probability) * 2f64.powi(32)) as u32
}

impl Operation for Dropout {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }

    fn describe(&self) -> String {
        "dropout, the identity here".into()
    }

    fn reference(&self, _: Shape, _: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        x.to_vec()
    }

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        Gradients::of_input(pass.dy.to_vec())
    }

    fn is_identity(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let Some((training, step)) = lowering.training.and_then(|training| Some((training, training.step?))) else {
            return Ok(());
        };
        let bound = [read(X, lowering.x()), write(Y, lowering.y()), read(STEP, step)];
        lowering.dispatch(work(training, lowering.input, lowering.options.batch, None), &bound)
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let training = backward.training;
        let mut bound = vec![read(X, backward.forward.x), write(Y, backward.dx()), read(GRADIENT, backward.gradient)];
        bound.extend(training.step.map(|step| read(STEP, step)));
        let work = work(training, backward.input, backward.options.batch, Some(backward.below));
        backward.dispatch(work, &bound)
    }
}
