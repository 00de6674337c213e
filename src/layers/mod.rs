//! The layers: one file each, with its data, shapes, parameters, f64 reference and kernels.

mod adaptive_avg_pool;
mod avg_pool;
mod batch_norm;
mod conv;
mod dropout;
mod linear;
mod local_response_norm;
mod max_pool;
mod product;
mod softmax;

use serde::{Deserialize, Serialize};

pub use adaptive_avg_pool::AdaptiveAvgPool;
pub use avg_pool::AvgPool;
pub use batch_norm::BatchNorm;
pub use conv::Conv;
pub use linear::Linear;
pub use local_response_norm::{LocalResponseNorm, LrnConvention};
pub use max_pool::MaxPool;

use crate::{
    activation::Activation,
    kernels::{Algorithm, KernelConfig, RowsLayout},
    program::{Lowering, ProgramError},
    shape::Shape,
};

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Op {
    /// Convolution, bias and perhaps an activation function.
    Conv(Conv),
    /// Max pooling.
    MaxPool(MaxPool),
    /// Local response normalisation.
    LocalResponseNorm(LocalResponseNorm),
    /// Adaptive average pooling.
    AdaptiveAvgPool(AdaptiveAvgPool),
    /// Average pooling by a window.
    AvgPool(AvgPool),
    /// Batch normalisation and perhaps an activation function.
    BatchNorm(BatchNorm),
    /// Fully connected, bias and perhaps an activation function.
    Linear(Linear),
    /// Dropout: the identity at inference.
    Dropout,
    /// Softmax over a vector.
    Softmax,
}

impl Op {
    /// All that the library knows of it.
    pub(crate) fn operation(&self) -> &dyn Operation {
        match self {
            Self::Conv(conv) => conv,
            Self::MaxPool(pool) => pool,
            Self::LocalResponseNorm(norm) => norm,
            Self::AdaptiveAvgPool(pool) => pool,
            Self::AvgPool(pool) => pool,
            Self::BatchNorm(norm) => norm,
            Self::Linear(linear) => linear,
            Self::Dropout => &dropout::Dropout,
            Self::Softmax => &softmax::Softmax,
        }
    }

    /// The shape that it makes of `input`, or what it expected and found.
    pub(crate) fn output(&self, input: Shape) -> Result<Shape, String> {
        self.operation().output(input)
    }

    /// Names and shapes of its parameters for an input of shape `input`. A layer's tensors are called `layer.parameter`.
    pub fn parameters(&self, input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        self.operation().parameters(input)
    }

    /// The operation in a few words, without its activation function.
    pub fn describe(&self) -> String {
        self.operation().describe()
    }

    /// The activation function that it ends in.
    pub fn activation(&self) -> Activation {
        self.operation().activation()
    }
}

/// What the library asks of an operation. Shapes are those of one image, and it exists only where they fit.
pub(crate) trait Operation {
    /// The shape that it makes of `input`, or what it expected and found.
    fn output(&self, input: Shape) -> Result<Shape, String>;

    /// Names and shapes of its parameters.
    fn parameters(&self, _input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        vec![]
    }

    /// How many numbers of the input are read for a number of the output.
    fn reads(&self, _input: Shape, _output: Shape) -> u64 {
        1
    }

    /// Multiply-adds for one image, of operations that are matrix products.
    fn multiply_adds(&self, _input: Shape, _output: Shape) -> u64 {
        0
    }

    /// It in a few words.
    fn describe(&self) -> String;

    /// The activation function that it ends in.
    fn activation(&self) -> Activation {
        Activation::None
    }

    /// The output for one image in f64, CHW; `parameters` in the order of [`Operation::parameters`].
    fn reference(&self, input: Shape, output: Shape, x: &[f64], parameters: &[Vec<f64>]) -> Vec<f64>;

    /// Whether its output is a sum of products, so that rounding errors are in proportion to the products' magnitudes.
    fn sums_products(&self) -> bool {
        false
    }

    /// Whether its output has no rounding errors.
    fn is_exact(&self) -> bool {
        false
    }

    /// Whether its weights may be held in every [`Precision`](crate::Precision).
    fn has_precisions(&self) -> bool {
        false
    }

    /// Whether its output is a vector rather than feature maps.
    fn flattens(&self) -> bool {
        false
    }

    /// Whether its output is its input.
    fn is_identity(&self) -> bool {
        false
    }

    /// How it wants a network's input laid out, if not as every activation.
    fn input_layout(&self, _input: Shape, _output: Shape) -> Option<RowsLayout> {
        None
    }

    /// How it is computed best.
    fn algorithm(&self, _style: KernelConfig, _input: Shape, _output: Shape, _batch: usize) -> Algorithm {
        Algorithm::Direct
    }

    /// Every algorithm that may suit it, for measuring.
    fn algorithms(
        &self,
        _style: KernelConfig,
        _input: Shape,
        _output: Shape,
        _layout: Option<RowsLayout>,
    ) -> Vec<Algorithm> {
        vec![Algorithm::Direct]
    }

    /// Adds what computes it to a program.
    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError>;
}
