//! Optimisers.

use crate::kernels::gradients::OptimizerStep;

/// How a step changes the parameters, with g a gradient, w a parameter, ε the learning rate and μ the momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Which of two forms, which part when the rate changes.
        form: SgdForm,
        /// μ; 0 for none.
        momentum: f32,
        /// Whether w moves on from where the momentum will take it (Sutskever et al. 2013, "On the importance of
        /// initialization and momentum in deep learning"), in the form of the same framework.
        nesterov: bool,
    },
    /// AdamW (Loshchilov, Hutter 2019, "Decoupled weight decay regularization", algorithm 2).
    AdamW {
        /// The decay of the first moment.
        beta1: f32,
        /// The decay of the second moment.
        beta2: f32,
        /// Added to the square root of the second moment.
        epsilon: f32,
    },
}

/// Two forms of stochastic gradient descent with momentum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SgdForm {
    /// v ← μ v + ε (g + decay · w), w ← w − v: Caffe's, and the paper's (Krizhevsky et al. 2012, section 5).
    Caffe,
    /// v ← μ v + g + decay · w, w ← w − ε v: PyTorch's.
    Torch,
}

impl Optimizer {
    /// SGD in PyTorch's form with momentum 0.9.
    pub const SGD: Self = Self::Sgd { form: SgdForm::Torch, momentum: 0.9, nesterov: false };

    /// SGD in the form of Caffe and of the paper, with momentum 0.9.
    pub const CAFFE_SGD: Self = Self::Sgd { form: SgdForm::Caffe, momentum: 0.9, nesterov: false };

    /// AdamW with PyTorch's constants.
    pub const ADAMW: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// The number of arrays that it keeps for each array of parameters.
    pub(super) fn moments(self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            Self::AdamW { .. } => 2,
        }
    }

    /// AdamW's factors of the moments in step `number`, which counts from 1.
    pub(super) fn corrections(self, number: u64) -> [f32; 2] {
        let correction = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(number as f64)) as f32;
        match self {
            Self::Sgd { .. } => [1.0; 2],
            Self::AdamW { beta1, beta2, .. } => [correction(beta1), correction(beta2)],
        }
    }

    /// Checks its constants; otherwise the error has what was expected and found.
    pub(super) fn check(self) -> Result<(), String> {
        let share = |name: &str, value: f32| match value {
            0.0..1.0 => Ok(()),
            _ => Err(format!("a {name} of at least 0 and less than 1, found {value}")),
        };
        match self {
            Self::Sgd { momentum, .. } => share("momentum", momentum),
            Self::AdamW { beta1, beta2, epsilon } => {
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                if !(epsilon > 0.0 && epsilon.is_finite()) {
                    return Err(format!("an epsilon above 0, found {epsilon}"));
                }
                Ok(())
            }
        }
    }

    /// Its step for an array of parameters, with factors of the rate and of the decay.
    pub(super) fn step(self, [rate, decay]: [f32; 2]) -> OptimizerStep {
        let (number, has_momentum, nesterov, constants) = match self {
            Self::Sgd { form, momentum, nesterov } => {
                (if form == SgdForm::Caffe { 0 } else { 1 }, momentum != 0.0, nesterov, [momentum, 0.0, 0.0, 0.0])
            }
            Self::AdamW { beta1, beta2, epsilon } => (2, true, false, [0.0, beta1, beta2, epsilon]),
        };
        let settings = vec![("OPTIMIZER", number), ("MOMENTUM", has_momentum.into()), ("NESTEROV", nesterov.into())];
        let [momentum, beta1, beta2, epsilon] = constants;
        OptimizerStep { settings, uniform: [rate, decay, momentum, beta1, beta2, epsilon] }
    }
}
