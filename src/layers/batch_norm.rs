//! Batch normalisation at inference: shaders/batch_norm.wgsl, where it is not folded into the layer before it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BackwardPass, Gradients, Operation};
use crate::{
    activation::Activation,
    kernels::{
        Kernel, Work,
        binding::{BIAS, GRADIENT, SCALES, X, Y},
        gradients::derivative,
        pointwise_workgroups, relu_flag,
    },
    program::{Backward, Lowering, ProgramError, read, write},
    shape::Shape,
    weights::{Weights, WeightsError},
};

/// Batch normalisation with running statistics (Ioffe, Szegedy 2015). Per channel, y = weight · (x − running_mean) /
/// √(running_var + ε) + bias.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchNorm {
    /// ε.
    pub epsilon: f32,
    /// The activation function, fused into the layer.
    #[serde(flatten, with = "crate::activation")]
    pub activation: Activation,
}

impl BatchNorm {
    /// The names of its parameters, each with one value per channel.
    const PARAMETERS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

    /// Makes a batch normalisation layer with ε = `epsilon` (PyTorch's default is 1e-5) and no activation function.
    pub const fn new(epsilon: f32) -> Self {
        Self { epsilon, activation: Activation::None }
    }

    /// Sets the activation function.
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The scale and the shift per channel that follow from [`BatchNorm::PARAMETERS`].
    fn factors(&self, parameters: &[Vec<f64>]) -> Vec<[f64; 2]> {
        let [weight, bias, mean, variance] = parameters else { return vec![] };
        let factors = |c: usize| {
            let scale = weight[c] / (variance[c] + f64::from(self.epsilon)).sqrt();
            [scale, bias[c] - mean[c] * scale]
        };
        (0..weight.len()).map(factors).collect()
    }

    /// The scale and the shift per channel of the layer called `name`.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when a tensor is missing, or a factor is not finite.
    pub(crate) fn factors_of(&self, name: &str, weights: &Weights) -> Result<Vec<[f64; 2]>, WeightsError> {
        let parameter = |parameter| {
            let name = format!("{name}.{parameter}");
            let tensor = weights.tensor(&name)?;
            Ok(tensor.finite(&name, tensor.numbers())?.iter().map(|&v| f64::from(v)).collect())
        };
        let parameters =
            Self::PARAMETERS.into_iter().map(parameter).collect::<Result<Vec<Vec<f64>>, WeightsError>>()?;
        let factors = self.factors(&parameters);
        match factors.iter().flatten().position(|factor| !factor.is_finite()) {
            None => Ok(factors),
            Some(at) => Err(WeightsError::BatchNorm {
                layer: name.into(),
                what: format!(
                    "a variance that is positive with ε, found {} in channel {}",
                    parameters[3][at / 2],
                    at / 2
                ),
            }),
        }
    }
}

/// The `BatchNorm` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    height: u32,
    width: u32,
    quads: u32,
    relu: u32,
}

impl Operation for BatchNorm {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        self.activation.check()?;
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return Err(format!("ε of at least 0, found {}", self.epsilon));
        }
        Ok(input)
    }

    fn parameters(&self, input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        Self::PARAMETERS.map(|name| (name, vec![input.channels])).into()
    }

    fn describe(&self) -> String {
        "batch normalisation".into()
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn reference(&self, input: Shape, _: Shape, x: &[f64], parameters: &[Vec<f64>]) -> Vec<f64> {
        let planes = x.chunks_exact(input.height * input.width).zip(self.factors(parameters));
        let channel = |(plane, [scale, shift]): (&[f64], [f64; 2])| -> Vec<f64> {
            plane.iter().map(|x| self.activation.apply(scale * x + shift)).collect()
        };
        planes.flat_map(channel).collect()
    }

    /// With fixed statistics, which have no gradients.
    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, x, parameters, .. } = *pass;
        let dy = pass.before(self.activation);
        let channels = input.channels;
        let (mut dx, mut dw, mut db) = (Vec::with_capacity(x.len()), vec![0.0; channels], vec![0.0; channels]);
        let [_, _, mean, variance] = parameters else { return Gradients::of_input(dx) };
        let plane = input.height * input.width;
        for (c, [scale, _]) in self.factors(parameters).into_iter().enumerate() {
            let deviation = (variance[c] + f64::from(self.epsilon)).sqrt();
            for (dy, x) in dy[c * plane..][..plane].iter().zip(&x[c * plane..]) {
                dx.push(dy * scale);
                dw[c] += dy * (x - mean[c]) / deviation;
                db[c] += dy;
            }
        }
        Gradients { x: dx, parameters: vec![dw, db, vec![0.0; channels], vec![0.0; channels]] }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (shape, batch) = (lowering.input, lowering.options.batch);
        let quads = shape.channels.div_ceil(4);
        let mut factor = |label, which: usize| {
            let (norm, name) = (*self, lowering.name.to_string());
            let numbers = move |weights: &Weights| {
                let mut numbers: Vec<f32> =
                    norm.factors_of(&name, weights)?.iter().map(|factors| factors[which] as f32).collect();
                numbers.resize(4 * quads, 0.0);
                Ok(numbers)
            };
            lowering.vector(label, quads, Arc::new(numbers))
        };
        let (scales, bias) = (factor("scales", 0), factor("bias", 1));
        lowering.kept.push(scales);
        let uniform = self.uniform(shape);
        let kernel = Kernel::pointwise("batch_norm").with_activation(self.activation, shape.channels);
        let work = Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(shape, batch));
        let bound = [read(X, lowering.x()), write(Y, lowering.y()), read(BIAS, bias), read(SCALES, scales)];
        lowering.dispatch(work, &bound)
    }

    /// The gradient of the input: a network is trained with these parameters fixed.
    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let (shape, batch) = (backward.input, backward.options.batch);
        let mut kernel = Kernel::pointwise("batch_norm_gradient");
        kernel.settings.extend(derivative(backward.below));
        let work = Work::new(kernel, bytemuck::bytes_of(&self.uniform(shape)), pointwise_workgroups(shape, batch));
        let mut bound = vec![read(X, backward.forward.x), write(Y, backward.dx()), read(GRADIENT, backward.gradient)];
        bound.extend(backward.forward.kept.iter().map(|&scales| read(SCALES, scales)));
        backward.dispatch(work, &bound)
    }
}

impl BatchNorm {
    fn uniform(&self, shape: Shape) -> Uniform {
        Uniform {
            height: shape.height as u32,
            width: shape.width as u32,
            quads: shape.channels.div_ceil(4) as u32,
            relu: relu_flag(self.activation),
        }
    }
}
