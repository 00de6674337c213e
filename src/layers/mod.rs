//! The layers, one file each: data, shapes, parameters, f64 reference and kernels.

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
mod winograd;

use serde::{Deserialize, Serialize};

pub use adaptive_avg_pool::AdaptiveAvgPool;
pub use avg_pool::AvgPool;
pub use batch_norm::BatchNorm;
pub use conv::Conv;
pub use linear::Linear;
pub use local_response_norm::{LocalResponseNorm, LrnConvention};
pub use max_pool::MaxPool;

use crate::{
    activation::{Activation, BackwardRule},
    kernels::{Algorithm, KernelConfig, RowsLayout},
    program::{Backward, Lowering, ProgramError},
    shape::Shape,
    window::Window,
};

/// The operation of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Op {
    /// Convolution, bias and optional activation function.
    Conv(Conv),
    /// Max pooling.
    MaxPool(MaxPool),
    /// Local response normalisation.
    LocalResponseNorm(LocalResponseNorm),
    /// Adaptive average pooling.
    AdaptiveAvgPool(AdaptiveAvgPool),
    /// Average pooling with a window.
    AvgPool(AvgPool),
    /// Batch normalisation and optional activation function.
    BatchNorm(BatchNorm),
    /// Fully connected layer: matrix product, bias and optional activation function.
    Linear(Linear),
    /// Dropout: the identity at inference.
    Dropout,
    /// Softmax over a vector, or over the channels of each pixel.
    Softmax,
}

impl Op {
    /// The operation's implementation.
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

    /// Whether the outputs are probabilities: those of a softmax, or of a sigmoid.
    pub(crate) fn gives_probabilities(&self) -> bool {
        *self == Self::Softmax || self.operation().activation() == Activation::Sigmoid
    }

    /// The output shape for `input`; the error says what was expected and found.
    pub(crate) fn output(&self, input: Shape) -> Result<Shape, String> {
        self.operation().output(input)
    }

    /// Returns the names and shapes of its parameters for an input of shape `input`. A layer's tensors are called
    /// `layer.parameter`.
    pub fn parameters(&self, input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        self.operation().parameters(input)
    }

    /// Returns a short description, without the activation function.
    pub fn describe(&self) -> String {
        self.operation().describe()
    }

    /// Returns the activation function that it ends in.
    pub fn activation(&self) -> Activation {
        self.operation().activation()
    }
}

/// The implementation of an operation. Shapes are per image; a method may assume that they fit.
pub(crate) trait Operation {
    /// The output shape for `input`; the error says what was expected and found.
    fn output(&self, input: Shape) -> Result<Shape, String>;

    /// Names and shapes of its parameters.
    fn parameters(&self, _input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        vec![]
    }

    /// The number of input values read per output value.
    fn reads(&self, _input: Shape, _output: Shape) -> u64 {
        1
    }

    /// Multiply-adds per image, for operations that are matrix products.
    fn multiply_adds(&self, _input: Shape, _output: Shape) -> u64 {
        0
    }

    /// A short description.
    fn describe(&self) -> String;

    /// The activation function that it ends in.
    fn activation(&self) -> Activation {
        Activation::None
    }

    /// The window that it slides over its input, if it does.
    fn window(&self) -> Option<Window> {
        None
    }

    /// The output for one image in f64, CHW; `parameters` in the order of [`Operation::parameters`].
    fn reference(&self, input: Shape, output: Shape, x: &[f64], parameters: &[Vec<f64>]) -> Vec<f64>;

    /// The gradients of a loss for one image in f64.
    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients;

    /// Whether its output is a sum of products, so that rounding errors are proportional to the products' magnitudes.
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

    /// The layout that it wants for a network's input, if not the usual one.
    fn input_layout(&self, _input: Shape, _output: Shape) -> Option<RowsLayout> {
        None
    }

    /// The best algorithm for it.
    fn algorithm(&self, _config: KernelConfig, _input: Shape, _output: Shape, _batch: usize) -> Algorithm {
        Algorithm::Direct
    }

    /// The algorithms that may suit it, for tuning.
    fn algorithms(
        &self,
        _config: KernelConfig,
        _input: Shape,
        _output: Shape,
        _layout: Option<RowsLayout>,
    ) -> Vec<Algorithm> {
        vec![Algorithm::Direct]
    }

    /// Adds its dispatches to a program.
    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError>;

    /// Adds the dispatches of its backward pass to a program.
    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError>;
}

/// What the f64 reference of a backward pass reads, per image.
pub(crate) struct BackwardPass<'a> {
    pub input: Shape,
    pub output: Shape,
    /// The layer's input, CHW.
    pub x: &'a [f64],
    /// Its output.
    pub y: &'a [f64],
    /// The loss's gradient for the output.
    pub dy: &'a [f64],
    /// In the order of [`Operation::parameters`].
    pub parameters: &'a [Vec<f64>],
    /// How `dy` passes the layer's activation function; `None` where it has done so.
    pub rule: Option<BackwardRule>,
}

/// The gradients of a loss for a layer's input (CHW) and parameters.
pub(crate) struct Gradients {
    pub x: Vec<f64>,
    /// In the order of [`Operation::parameters`].
    pub parameters: Vec<Vec<f64>>,
}

impl Gradients {
    /// Those of a layer without parameters.
    pub fn of_input(x: Vec<f64>) -> Self {
        Self { x, parameters: vec![] }
    }
}

impl BackwardPass<'_> {
    /// The gradient before the layer's activation function.
    pub fn before(&self, activation: Activation) -> Vec<f64> {
        let before = |(&dy, &y)| self.rule.map_or(dy, |rule: BackwardRule| rule.apply(activation, dy, y));
        self.dy.iter().zip(self.y).map(before).collect()
    }
}
