//! Local response normalisation: shaders/local_response_norm.wgsl.

use serde::{Deserialize, Serialize};

use super::{BackwardPass, Gradients, Operation};
use crate::{
    kernels::{
        Kernel, Work,
        binding::{ADDEND, GRADIENT, X, Y},
        gradients::derivative,
        pointwise_workgroups,
    },
    program::{Backward, Lowering, ProgramError, read, write},
    shape::{MAX_ACTIVATION, Shape},
};

/// The meaning of α in a [`LocalResponseNorm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrnConvention {
    /// α multiplies the mean of squares, α/n · Σx²: Caffe, ONNX, PyTorch.
    Mean,
    /// α multiplies the sum of squares, α · Σx²: the paper (Krizhevsky et al. 2012, section 3.3).
    Sum,
}

/// Local response normalisation across channels: y = x / (k + a · Σ x²)^β. The sum is over a window of `size` channels,
/// centred on the channel of x and clipped at the ends; a is α or α / `size`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalResponseNorm {
    /// Number of channels in the window, n.
    pub size: usize,
    /// α.
    pub alpha: f32,
    /// β.
    pub beta: f32,
    /// k.
    pub k: f32,
    /// The meaning of α.
    pub convention: LrnConvention,
}

impl LocalResponseNorm {
    /// n = 5, α = 1e-4, β = 0.75, k = 1, α over the mean: BVLC AlexNet's `norm1` and `norm2`.
    pub const CAFFE: Self = Self { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0, convention: LrnConvention::Mean };

    /// n = 5, α = 1e-4, β = 0.75, k = 2, α over the sum: Krizhevsky et al. 2012, section 3.3.
    pub const PAPER: Self = Self { size: 5, alpha: 1e-4, beta: 0.75, k: 2.0, convention: LrnConvention::Sum };

    /// The paper's constants, α over the mean: PyTorch's `LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)`.
    pub const TORCH_PAPER: Self = Self { convention: LrnConvention::Mean, ..Self::PAPER };

    /// Returns the factor of Σx²: α, or α divided by the window's size.
    pub fn factor(&self) -> f32 {
        match self.convention {
            LrnConvention::Mean => self.alpha / self.size as f32,
            LrnConvention::Sum => self.alpha,
        }
    }

    /// Returns the number of channels before and after the centre of the window.
    pub const fn reach(&self) -> [usize; 2] {
        [(self.size - 1) / 2, self.size / 2]
    }
}

/// The `LocalResponseNorm` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    height: u32,
    width: u32,
    quads: u32,
    before: u32,
    after: u32,
    factor: f32,
    beta: f32,
    k: f32,
}

impl Operation for LocalResponseNorm {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        let Self { size, alpha, beta, k, .. } = *self;
        if size == 0 || size > MAX_ACTIVATION {
            return Err(format!("a window of 1 to {MAX_ACTIVATION} channels, found {size}"));
        }
        if !(k > 0.0 && alpha >= 0.0 && beta.is_finite() && k.is_finite() && alpha.is_finite()) {
            return Err(format!(
                "finite constants with k > 0 and alpha ≥ 0, found k = {k}, alpha = {alpha}, beta = {beta}"
            ));
        }
        Ok(input)
    }

    fn reads(&self, input: Shape, _: Shape) -> u64 {
        self.size.min(input.channels) as u64
    }

    fn describe(&self) -> String {
        format!("normalisation over {} channels", self.size)
    }

    fn reference(&self, input: Shape, _: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        let plane = input.height * input.width;
        let [before, after] = self.reach();
        let mut y = Vec::with_capacity(x.len());
        for c in 0..input.channels {
            let window = c.saturating_sub(before)..(c + after + 1).min(input.channels);
            for p in 0..plane {
                let squares: f64 = window.clone().map(|j| x[j * plane + p].powi(2)).sum();
                let scale = f64::from(self.k) + f64::from(self.factor()) * squares;
                y.push(x[c * plane + p] * scale.powf(-f64::from(self.beta)));
            }
        }
        y
    }

    /// dxⱼ = dyⱼ / sⱼ^β − 2 · a · β · xⱼ · Σ dyᵢ · yᵢ / sᵢ, over the channels i in whose windows j is; s is the base of the
    /// power.
    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, x, y, dy, .. } = *pass;
        let plane = input.height * input.width;
        let [before, after] = self.reach();
        let (factor, beta) = (f64::from(self.factor()), f64::from(self.beta));
        let window = |c: usize| c.saturating_sub(before)..(c + after + 1).min(input.channels);
        let mirrored = |c: usize| c.saturating_sub(after)..(c + before + 1).min(input.channels);
        let mut dx = Vec::with_capacity(x.len());
        for c in 0..input.channels {
            for p in 0..plane {
                let scale = |i: usize| {
                    let squares: f64 = window(i).map(|j| x[j * plane + p].powi(2)).sum();
                    f64::from(self.k) + factor * squares
                };
                let ratio = |i: usize| dy[i * plane + p] * y[i * plane + p] / scale(i);
                let at = c * plane + p;
                let sum: f64 = mirrored(c).map(ratio).sum();
                dx.push(dy[at] * scale(c).powf(-beta) - 2.0 * factor * beta * x[at] * sum);
            }
        }
        Gradients::of_input(dx)
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (shape, batch) = (lowering.input, lowering.options.batch);
        let uniform = self.uniform(shape);
        let kernel = Kernel::pointwise("local_response_norm");
        lowering.pointwise(Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(shape, batch)))
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let (shape, batch) = (backward.input, backward.options.batch);
        let uniform = self.uniform(shape);
        let work = |kernel| Work::new(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(shape, batch));
        let (x, gradient, ratio) = (backward.forward.x, backward.gradient, backward.like_input());
        let bound = [read(X, x), read(GRADIENT, gradient), write(Y, ratio)];
        backward.dispatch(work(Kernel::pointwise("local_response_norm_ratio")), &bound)?;
        let mut kernel = Kernel::pointwise("local_response_norm_gradient");
        kernel.settings.extend(derivative(backward.below));
        let bound = [read(X, x), read(GRADIENT, gradient), read(ADDEND, ratio), write(Y, backward.dx())];
        backward.dispatch(work(kernel), &bound)
    }
}

impl LocalResponseNorm {
    fn uniform(&self, shape: Shape) -> Uniform {
        let [before, after] = self.reach();
        Uniform {
            height: shape.height as u32,
            width: shape.width as u32,
            quads: shape.channels.div_ceil(4) as u32,
            before: before as u32,
            after: after as u32,
            factor: self.factor(),
            beta: self.beta,
            k: self.k,
        }
    }
}
