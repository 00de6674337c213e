//! Fully connected layer: shaders/matvec_*.wgsl or gemm_*.wgsl.

use serde::{Deserialize, Serialize};

use super::{
    BackwardPass, Gradients, Operation,
    product::{lower_product, lower_product_backward, product_algorithms},
};
use crate::{
    activation::Activation,
    kernels::{Algorithm, Gemm, KernelConfig, RowsLayout},
    program::{Backward, Lowering, Options, ProgramError},
    select,
    shape::Shape,
};

/// Fully connected layer with bias, on the input flattened in CHW order. Weights are `out_features × in_features`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Linear {
    /// Number of outputs.
    pub out_features: usize,
    /// The activation function, fused into the layer.
    #[serde(flatten, with = "crate::activation")]
    pub activation: Activation,
}

impl Linear {
    /// Makes a fully connected layer with `out_features` outputs and no activation function.
    pub const fn new(out_features: usize) -> Self {
        Self { out_features, activation: Activation::None }
    }

    /// Sets the activation function to ReLU.
    pub const fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// Sets the activation function.
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

impl Linear {
    fn gemm(&self, input: Shape, batch: usize) -> Gemm {
        Gemm::linear(self.out_features, self.activation, input, batch)
    }
}

impl Operation for Linear {
    fn output(&self, _: Shape) -> Result<Shape, String> {
        self.activation.check()?;
        if self.out_features == 0 {
            return Err("at least one output, found 0".into());
        }
        Ok(Shape::vector(self.out_features))
    }

    fn parameters(&self, input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        vec![("weight", vec![self.out_features, input.len()]), ("bias", vec![self.out_features])]
    }

    fn reads(&self, input: Shape, _: Shape) -> u64 {
        input.len() as u64
    }

    fn multiply_adds(&self, input: Shape, output: Shape) -> u64 {
        output.len() as u64 * input.len() as u64
    }

    fn describe(&self) -> String {
        "fully connected".into()
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn reference(&self, _: Shape, _: Shape, x: &[f64], parameters: &[Vec<f64>]) -> Vec<f64> {
        let [weight, bias] = parameters else { return vec![] };
        let sum = |(w, b): (&[f64], &f64)| b + w.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        let row = |pair| self.activation.apply(sum(pair));
        weight.chunks_exact(x.len()).zip(bias).map(row).collect()
    }

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { x, parameters, .. } = *pass;
        let dy = pass.before(self.activation);
        let mut dx = vec![0.0; x.len()];
        for (row, dy) in parameters[0].chunks_exact(x.len()).zip(&dy) {
            dx.iter_mut().zip(row).for_each(|(dx, w)| *dx += dy * w);
        }
        let dw = dy.iter().flat_map(|dy| x.iter().map(move |x| dy * x)).collect();
        Gradients { x: dx, parameters: vec![dw, dy] }
    }

    fn sums_products(&self) -> bool {
        true
    }

    fn has_precisions(&self) -> bool {
        true
    }

    fn flattens(&self) -> bool {
        true
    }

    fn algorithm(&self, config: KernelConfig, input: Shape, _: Shape, batch: usize) -> Algorithm {
        select::split(config, &self.gemm(input, batch), batch)
    }

    fn algorithms(&self, config: KernelConfig, _: Shape, _: Shape, _: Option<RowsLayout>) -> Vec<Algorithm> {
        product_algorithms(config, [(16, 8), (16, 16), (32, 8), (128, 1), (128, 4)]).collect()
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let Options { batch, precision, .. } = lowering.options;
        let gemm = self.gemm(lowering.input, batch).with_precision(precision);
        lower_product(lowering, gemm.by(lowering.algorithm, lowering.config()))
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let gemm = self.gemm(backward.input, backward.options.batch);
        lower_product_backward(backward, &gemm)
    }
}
