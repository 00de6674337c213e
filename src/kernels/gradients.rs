//! The Rust half of small shaders of training: derivatives, losses, optimisers.

use super::{Kernel, WORKGROUP, Work};
use crate::activation::{Activation, BackwardRule, Below};

/// The settings of shaders/derivative.wgsl for the activation function of the layer below.
pub(crate) fn derivative(below: Below) -> Vec<(&'static str, u32)> {
    let function = |number, constants: &[(&'static str, u32)]| {
        let mut settings = vec![("DERIVATIVE", number)];
        settings.extend_from_slice(constants);
        match below.rule {
            _ if number == 0 => {}
            BackwardRule::Derivative => {}
            BackwardRule::Guided => settings.push(("RULE", 1)),
            BackwardRule::Deconvnet => settings.push(("RULE", 2)),
        }
        settings
    };
    match below.activation {
        Activation::None => function(0, &[]),
        Activation::Relu => function(1, &[]),
        Activation::Relu6 => function(2, &[]),
        Activation::LeakyRelu { slope } => function(3, &[("SLOPE", slope.to_bits())]),
        Activation::Sigmoid => function(4, &[]),
        Activation::Tanh => function(5, &[]),
        Activation::Elu { alpha } => function(6, &[("ALPHA", alpha.to_bits())]),
        Activation::Selu => function(
            7,
            &[("ALPHA", Activation::SELU_ALPHA.to_bits()), ("SELU_SCALE", Activation::SELU_SCALE.to_bits())],
        ),
    }
}

/// An optimiser's step for an array of parameters (shaders/optimizer.wgsl).
#[derive(Clone, Debug)]
pub(crate) struct OptimizerStep {
    pub settings: Vec<(&'static str, u32)>,
    /// The fields of shaders/optimizer_uniform.wgsl: factors of the array's rate and of its decay, and the optimiser's constants.
    pub uniform: [f32; 6],
}

impl OptimizerStep {
    /// The step for `quads` vec4s, from their gradient. `clip` is the largest norm of all gradients together.
    pub fn update(self, quads: usize, clip: Option<f32>) -> Work {
        let mut kernel = Kernel::pointwise("update");
        kernel.settings.extend(self.settings);
        kernel.settings.push(("CLIPS", clip.is_some().into()));
        let mut uniform = vec![quads as u32, clip.unwrap_or(0.0).to_bits()];
        uniform.extend(self.uniform.map(f32::to_bits));
        flat(kernel, bytemuck::cast_slice(&uniform), quads)
    }
}

/// What a kernel does with the gradient of weights.
#[derive(Clone, Debug)]
pub(crate) enum GradientUse {
    /// It is written.
    Store,
    /// It is added to the one that is there.
    Add,
    /// The weights are updated at once.
    Update(OptimizerStep),
}

/// A pointwise kernel for `quads` vec4s in a row.
pub(crate) fn flat(kernel: Kernel, uniform: &[u8], quads: usize) -> Work {
    Work::new(kernel, uniform, [(quads as u32).div_ceil(WORKGROUP), 1, 1])
}

/// Adds up `parts` arrays of `quads` vec4s; `add` is whether to those that are there.
pub(crate) fn sum(parts: usize, quads: usize, add: bool) -> Work {
    let mut kernel = Kernel::pointwise("sum_gradients");
    kernel.settings.push(("ADD", add.into()));
    flat(kernel, bytemuck::cast_slice(&[parts as u32, quads as u32]), quads)
}

/// Softmax and cross-entropy of `batch` images with `classes` logits, which end in `activation`.
pub(crate) fn cross_entropy(classes: usize, batch: usize, activation: Activation) -> Work {
    let mut kernel = Kernel::pointwise("cross_entropy");
    kernel.settings.extend(derivative(Below { activation, ..Below::default() }));
    let uniform = [classes.div_ceil(4) as u32, classes as u32];
    Work::new(kernel, bytemuck::cast_slice(&uniform), [batch as u32, 1, 1])
}
