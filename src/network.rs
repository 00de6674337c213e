//! A network as plain data: a list of named layers, and the shapes that follow from it.
//!
//! Nothing here knows a GPU or a weight file. A [`Network`] can only be made through
//! [`Network::new`] or a [`NetworkBuilder`], which infer every shape, so a `Network` that
//! exists fits together.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::activation::Activation;

/// Activations of a layer hold at most this many numbers for one picture, channels rounded up to fours as they lie on the
/// device; more is an error, not an allocation. (VGG's largest activation has 3.2 million; a file of a hundred bytes can
/// ask for any number.) 64 MiB of f32: with the input's copies and what Winograd keeps, a run stays well below 1 GB.
pub const MAX_ACTIVATION: usize = 1 << 24;

/// The largest tensor of a layer holds at most this many numbers (VGG-16's fc6 has 103 million).
pub const MAX_WEIGHT: usize = 1 << 30;

/// A network has at most this many layers. (Sequential networks have tens.)
pub const MAX_LAYERS: usize = 4096;

/// A network takes at most this many steps for one picture: a number of a layer's window (its kernel, its input's channels)
/// for a number of its output. (VGG-16 takes 1.5e10, this is 2.7e11: a minute on a processor, where a few bytes can ask for years.)
pub const MAX_STEPS: u64 = 1 << 38;

/// The shape of one picture's activation: channels × height × width (CHW).
///
/// A vector of n numbers, as a fully connected layer gives, is n×1×1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Channels (feature maps).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// `channels` maps of `height` rows and `width` columns.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// A vector of `n` numbers, n×1×1.
    pub const fn vector(n: usize) -> Self {
        Self::new(n, 1, 1)
    }

    /// How many numbers an activation of this shape holds.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an activation of this shape holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn checked_len(&self) -> Option<usize> {
        self.channels.checked_mul(self.height)?.checked_mul(self.width)
    }

    /// Whether this is an activation: not empty, and no more than [`MAX_ACTIVATION`].
    pub(crate) fn is_sensible(&self) -> bool {
        let padded = self.channels.checked_next_multiple_of(4).map(|channels| Self { channels, ..*self });
        matches!(padded.and_then(|shape| shape.checked_len()), Some(1..=MAX_ACTIVATION))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// Rows and columns of zeros (convolution) or of nothing (pooling) around the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl From<usize> for Padding {
    fn from(p: usize) -> Self {
        Self { top: p, left: p, bottom: p, right: p }
    }
}

/// What slides over the input in a convolution or a pooling layer: `[rows, columns]` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step between two windows.
    pub stride: [usize; 2],
    /// Padding around the input.
    #[serde(default)]
    pub padding: Padding,
}

impl Window {
    /// A square window of side `kernel` that moves by `stride`, without padding.
    pub const fn square(kernel: usize, stride: usize) -> Self {
        let padding = Padding { top: 0, left: 0, bottom: 0, right: 0 };
        Self { kernel: [kernel, kernel], stride: [stride, stride], padding }
    }

    /// Rows and columns of the output: ⌊(in + padding − kernel) / stride⌋ + 1.
    fn output(&self, input: Shape) -> Result<[usize; 2], String> {
        let padding = self.padding;
        let axes = [
            ("height", input.height, padding.top, padding.bottom, self.kernel[0], self.stride[0]),
            ("width", input.width, padding.left, padding.right, self.kernel[1], self.stride[1]),
        ];
        let mut out = [0; 2];
        for (axis, (name, size, before, after, kernel, stride)) in axes.into_iter().enumerate() {
            if kernel == 0 || stride == 0 {
                return Err(format!("kernel and stride of at least 1 in {name}, found {kernel} and {stride}"));
            }
            if kernel > MAX_ACTIVATION || stride > MAX_ACTIVATION {
                return Err(format!("kernel and stride of at most {MAX_ACTIVATION} in {name}"));
            }
            if before.max(after) > MAX_ACTIVATION {
                return Err(format!("padding of at most {MAX_ACTIVATION} in {name}"));
            }
            let padded = size + before + after;
            if padded < kernel {
                return Err(format!("a padded {name} of at least {kernel}, found {padded}"));
            }
            out[axis] = (padded - kernel) / stride + 1;
        }
        Ok(out)
    }

    /// Checks that every window goes over some of the input.
    fn reaches_input(&self) -> Result<(), String> {
        let p = self.padding;
        let axes = [("height", p.top, p.bottom, self.kernel[0]), ("width", p.left, p.right, self.kernel[1])];
        match axes.into_iter().find(|&(_, before, after, kernel)| before.max(after) >= kernel) {
            None => Ok(()),
            Some((name, before, after, kernel)) => Err(format!(
                "padding smaller than the kernel in {name} ({kernel}), found {before} before and {after} after"
            )),
        }
    }
}

/// Two-dimensional convolution (cross-correlation, as in every framework) with bias.
///
/// Weights are OIHW: `out_channels × in_channels / groups × kernel[0] × kernel[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Filters.
    pub out_channels: usize,
    /// Kernel, stride and padding.
    #[serde(flatten)]
    pub window: Window,
    /// Input and output channels are split in this many groups that do not see each other.
    pub groups: usize,
    /// What follows, computed with the layer.
    #[serde(flatten, with = "crate::activation")]
    pub activation: Activation,
}

impl Conv {
    /// `out_channels` square filters of side `kernel`; stride 1, no padding, one group, no activation function.
    pub const fn new(out_channels: usize, kernel: usize) -> Self {
        Self { out_channels, window: Window::square(kernel, 1), groups: 1, activation: Activation::None }
    }

    /// The same with a stride.
    pub const fn stride(mut self, stride: usize) -> Self {
        self.window.stride = [stride, stride];
        self
    }

    /// The same with zeros around the input.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.window.padding = padding.into();
        self
    }

    /// The same in groups.
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The same followed by a ReLU.
    pub const fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// The same followed by an activation function.
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

/// Max pooling; padding never wins, however negative the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaxPool {
    /// Kernel, stride and padding.
    #[serde(flatten)]
    pub window: Window,
}

impl MaxPool {
    /// A square window of side `kernel` that moves by `stride`.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self { window: Window::square(kernel, stride) }
    }

    /// The same with padding.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.window.padding = padding.into();
        self
    }
}

/// What α of a [`LocalResponseNorm`] multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrnConvention {
    /// The mean of squares, α/n · Σx²: Caffe, ONNX, PyTorch.
    Mean,
    /// The sum of squares, α · Σx²: the paper (Krizhevsky et al. 2012, section 3.3).
    Sum,
}

/// Local response normalisation across channels: y = x / (k + a · Σ x²)^β, the sum over a window of
/// `size` channels centred on the one computed and clipped at the ends; a is α or α / `size`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalResponseNorm {
    /// Channels in the window, n.
    pub size: usize,
    /// α.
    pub alpha: f32,
    /// β.
    pub beta: f32,
    /// k.
    pub k: f32,
    /// What α multiplies.
    pub convention: LrnConvention,
}

impl LocalResponseNorm {
    /// n = 5, α = 1e-4, β = 0.75, k = 1, α over the mean: BVLC AlexNet's `norm1` and `norm2`.
    pub const CAFFE: Self = Self { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0, convention: LrnConvention::Mean };

    /// n = 5, α = 1e-4, β = 0.75, k = 2, α over the sum: Krizhevsky et al. 2012, section 3.3.
    pub const PAPER: Self = Self { size: 5, alpha: 1e-4, beta: 0.75, k: 2.0, convention: LrnConvention::Sum };

    /// The paper's constants, α over the mean: PyTorch's `LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)`.
    pub const TORCH_PAPER: Self = Self { convention: LrnConvention::Mean, ..Self::PAPER };

    /// What multiplies Σx²: α, or α over the window's size.
    pub fn factor(&self) -> f32 {
        match self.convention {
            LrnConvention::Mean => self.alpha / self.size as f32,
            LrnConvention::Sum => self.alpha,
        }
    }

    /// Channels before and after the one computed.
    pub const fn reach(&self) -> [usize; 2] {
        [(self.size - 1) / 2, self.size / 2]
    }
}

/// Average pooling to a fixed size: output row i is the mean of input rows ⌊i·H/h⌋ to ⌈(i+1)·H/h⌉ − 1,
/// columns alike (PyTorch's `AdaptiveAvgPool2d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdaptiveAvgPool {
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

/// Fully connected layer with bias on the input flattened in CHW order. Weights are
/// `out_features × in_features`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Outputs.
    pub out_features: usize,
    /// What follows, computed with the layer.
    #[serde(flatten, with = "crate::activation")]
    pub activation: Activation,
}

impl Linear {
    /// `out_features` outputs, no activation function.
    pub const fn new(out_features: usize) -> Self {
        Self { out_features, activation: Activation::None }
    }

    /// The same followed by a ReLU.
    pub const fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// The same followed by an activation function.
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

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
    /// Fully connected, bias and perhaps an activation function.
    Linear(Linear),
    /// Dropout: the identity at inference.
    Dropout,
    /// Softmax over a vector.
    Softmax,
}

impl Op {
    /// The shapes of this layer's weight and bias for an input of shape `input`; `None` where it has none.
    pub fn parameters(&self, input: Shape) -> Option<[Vec<usize>; 2]> {
        match self {
            Op::Conv(c) => Some([
                vec![c.out_channels, input.channels / c.groups, c.window.kernel[0], c.window.kernel[1]],
                vec![c.out_channels],
            ]),
            Op::Linear(l) => Some([vec![l.out_features, input.len()], vec![l.out_features]]),
            _ => None,
        }
    }

    /// How many numbers are read for a number of the output: those of the window that lie in the input.
    fn window(&self, input: Shape, output: Shape) -> u64 {
        let inside = |kernel: [usize; 2]| kernel[0].min(input.height) * kernel[1].min(input.width);
        let numbers = match self {
            Op::Conv(c) => input.channels / c.groups * c.window.kernel[0] * c.window.kernel[1],
            Op::MaxPool(p) => inside(p.window.kernel),
            Op::LocalResponseNorm(n) => n.size.min(input.channels),
            // A part of the input, and what it shares with the parts around it.
            Op::AdaptiveAvgPool(_) => inside([input.height / output.height + 2, input.width / output.width + 2]),
            Op::Linear(_) => input.len(),
            Op::Dropout | Op::Softmax => 1,
        };
        numbers as u64
    }

    /// The shape this layer makes of `input`, or what it expected and found.
    pub(crate) fn output(&self, input: Shape) -> Result<Shape, String> {
        if let Op::Conv(Conv { activation: Activation::LeakyRelu { slope }, .. })
        | Op::Linear(Linear { activation: Activation::LeakyRelu { slope }, .. }) = self
            && !slope.is_finite()
        {
            return Err(format!("a finite slope of a leaky ReLU, found {slope}"));
        }
        match self {
            Op::Conv(c) => {
                if c.groups == 0
                    || c.out_channels == 0
                    || !input.channels.is_multiple_of(c.groups)
                    || !c.out_channels.is_multiple_of(c.groups)
                {
                    return Err(format!(
                        "input and output channels that {} groups divide, found {} in and {} out",
                        c.groups, input.channels, c.out_channels
                    ));
                }
                let [height, width] = c.window.output(input)?;
                Ok(Shape::new(c.out_channels, height, width))
            }
            Op::MaxPool(p) => {
                let [height, width] = p.window.output(input)?;
                p.window.reaches_input()?;
                Ok(Shape::new(input.channels, height, width))
            }
            Op::LocalResponseNorm(n) => {
                if n.size == 0 || n.size > MAX_ACTIVATION {
                    return Err(format!("a window of 1 to {MAX_ACTIVATION} channels, found {}", n.size));
                }
                if !(n.k > 0.0 && n.alpha >= 0.0 && n.beta.is_finite() && n.k.is_finite() && n.alpha.is_finite()) {
                    return Err(format!(
                        "finite constants with k > 0 and alpha ≥ 0, found k = {}, alpha = {}, beta = {}",
                        n.k, n.alpha, n.beta
                    ));
                }
                Ok(input)
            }
            Op::AdaptiveAvgPool(p) => {
                let [height, width] = p.output;
                if height == 0 || width == 0 {
                    return Err(format!("an output of at least 1×1, found {height}×{width}"));
                }
                Ok(Shape::new(input.channels, height, width))
            }
            Op::Linear(l) => {
                if l.out_features == 0 {
                    return Err("at least one output, found 0".into());
                }
                Ok(Shape::vector(l.out_features))
            }
            Op::Dropout => Ok(input),
            Op::Softmax => {
                if input.height * input.width != 1 {
                    return Err(format!("a vector, found {input}"));
                }
                Ok(input)
            }
        }
    }
}

/// A layer: a name and what it computes. Shapes are those of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Unique in its network; tensors are called `name.weight` and `name.bias`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The shape of its input.
    pub input: Shape,
    /// The shape of its output.
    pub output: Shape,
    /// Whether the output is a vector rather than feature maps: true from the first fully connected layer on.
    pub flat: bool,
}

impl Layer {
    /// The dimensions of the output without the batch: `[C, H, W]`, or `[N]` from the first fully connected
    /// layer on.
    pub fn output_dims(&self) -> Vec<usize> {
        if self.flat {
            vec![self.output.len()]
        } else {
            vec![self.output.channels, self.output.height, self.output.width]
        }
    }

    /// Names and shapes of the tensors this layer learns: none, or weight and bias.
    pub fn parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let shapes = self.op.parameters(self.input);
        shapes.into_iter().flat_map(|[w, b]| [(format!("{}.weight", self.name), w), (format!("{}.bias", self.name), b)])
    }

    /// Multiply-adds for one picture (convolutions and fully connected layers; 0 for the others).
    pub fn multiply_adds(&self) -> u64 {
        let Some([weight, _]) = self.op.parameters(self.input) else { return 0 };
        let outputs = (self.output.height * self.output.width) as u64;
        outputs * weight.iter().map(|&d| d as u64).product::<u64>()
    }
}

/// A sequential network whose shapes fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NetworkData", into = "NetworkData")]
pub struct Network {
    name: String,
    input: Shape,
    layers: Vec<Layer>,
}

impl Network {
    /// A network from named operations.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] names the first layer that does not fit, what it expected and what it found.
    pub fn new(
        name: impl Into<String>,
        input: Shape,
        layers: impl IntoIterator<Item = (String, Op)>,
    ) -> Result<Self, NetworkError> {
        let layers: Vec<(String, Op)> = layers.into_iter().collect();
        if !input.is_sensible() {
            return Err(NetworkError::Input { input });
        }
        if layers.len() > MAX_LAYERS {
            return Err(NetworkError::TooManyLayers { found: layers.len() });
        }
        let mut shape = input;
        let mut flat = false;
        let mut steps = 0u64;
        let mut names = HashSet::new();
        let mut checked: Vec<Layer> = Vec::with_capacity(layers.len());
        for (layer, op) in layers {
            if layer.is_empty() || !names.insert(layer.clone()) {
                return Err(NetworkError::Name { layer });
            }
            let fail = |expected: String| NetworkError::Shape { layer: layer.clone(), expected, input: shape };
            let output = op.output(shape).map_err(fail)?;
            if !output.is_sensible() {
                return Err(NetworkError::TooLarge { layer, what: "output", limit: MAX_ACTIVATION });
            }
            if let Some([weight, _]) = op.parameters(shape) {
                let count = weight.iter().try_fold(1usize, |a, &d| a.checked_mul(d));
                if count.is_none_or(|n| n > MAX_WEIGHT) {
                    return Err(NetworkError::TooLarge { layer, what: "weight", limit: MAX_WEIGHT });
                }
            }
            // Neither factor is larger than 2³⁰.
            steps = steps.saturating_add(output.len() as u64 * op.window(shape, output));
            if steps > MAX_STEPS {
                return Err(NetworkError::TooSlow { layer });
            }
            flat |= matches!(op, Op::Linear(_));
            checked.push(Layer { name: layer, op, input: shape, output, flat });
            shape = output;
        }
        if checked.is_empty() {
            return Err(NetworkError::Empty);
        }
        Ok(Self { name: name.into(), input, layers: checked })
    }

    /// Starts a network layer by layer; shapes are checked by [`NetworkBuilder::build`].
    pub fn builder(name: impl Into<String>, input: Shape) -> NetworkBuilder {
        NetworkBuilder { name: name.into(), input, layers: Vec::new() }
    }

    /// What the network is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape of its input, CHW.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The shape of its last layer's output.
    pub fn output(&self) -> Shape {
        self.layers.last().map_or(self.input, |l| l.output)
    }

    /// Its layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer called `name`.
    ///
    /// # Errors
    ///
    /// [`NetworkError::UnknownLayer`] with the nearest name that exists.
    pub fn layer(&self, name: &str) -> Result<&Layer, NetworkError> {
        self.position(name).map(|index| &self.layers[index])
    }

    /// Which of the layers is called `name`.
    pub(crate) fn position(&self, name: &str) -> Result<usize, NetworkError> {
        self.layers.iter().position(|l| l.name == name).ok_or_else(|| NetworkError::UnknownLayer {
            found: name.into(),
            nearest: nearest(name, self.layers.iter().map(|l| l.name.as_str())).unwrap_or_default().into(),
        })
    }

    /// Names and shapes of all learnt tensors, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.layers.iter().flat_map(Layer::parameters)
    }

    /// How many numbers the network has learnt.
    pub fn parameter_count(&self) -> u64 {
        self.parameters().map(|(_, shape)| shape.iter().map(|&d| d as u64).product::<u64>()).sum()
    }

    /// Multiply-adds for one picture (convolutions and fully connected layers).
    pub fn multiply_adds(&self) -> u64 {
        self.layers.iter().map(Layer::multiply_adds).sum()
    }
}

/// The member of `names` closest to `name` in edits, for messages. Names come from files, and to compare two takes memory and
/// time in the product of their lengths: the first characters of the first few thousand must do.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let start = |name: &str| name.chars().take(64).collect::<String>().to_lowercase();
    let name = start(name);
    names.take(MAX_LAYERS).min_by_key(|other| strsim::damerau_levenshtein(&start(other), &name))
}

/// Adds layers one by one; see [`Network::builder`].
///
/// ```
/// use alexnet_wgpu::{Conv, Linear, MaxPool, Network, Shape};
///
/// let lenet = Network::builder("lenet", Shape::new(1, 28, 28))
///     .conv("conv1", Conv::new(6, 5).padding(2).relu())
///     .max_pool("pool1", MaxPool::new(2, 2))
///     .conv("conv2", Conv::new(16, 5).relu())
///     .max_pool("pool2", MaxPool::new(2, 2))
///     .linear("fc3", Linear::new(120).relu())
///     .linear("fc4", Linear::new(10))
///     .softmax("prob")
///     .build()?;
/// assert_eq!(lenet.layer("pool2")?.output, Shape::new(16, 5, 5));
/// # Ok::<(), alexnet_wgpu::NetworkError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NetworkBuilder {
    name: String,
    input: Shape,
    layers: Vec<(String, Op)>,
}

impl NetworkBuilder {
    /// Adds any layer.
    pub fn layer(mut self, name: impl Into<String>, op: Op) -> Self {
        self.layers.push((name.into(), op));
        self
    }

    /// Adds a convolution.
    pub fn conv(self, name: impl Into<String>, conv: Conv) -> Self {
        self.layer(name, Op::Conv(conv))
    }

    /// Adds a max pooling.
    pub fn max_pool(self, name: impl Into<String>, pool: MaxPool) -> Self {
        self.layer(name, Op::MaxPool(pool))
    }

    /// Adds a local response normalisation.
    pub fn local_response_norm(self, name: impl Into<String>, norm: LocalResponseNorm) -> Self {
        self.layer(name, Op::LocalResponseNorm(norm))
    }

    /// Adds an adaptive average pooling to `height × width`.
    pub fn adaptive_avg_pool(self, name: impl Into<String>, height: usize, width: usize) -> Self {
        self.layer(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [height, width] }))
    }

    /// Adds a fully connected layer.
    pub fn linear(self, name: impl Into<String>, linear: Linear) -> Self {
        self.layer(name, Op::Linear(linear))
    }

    /// Adds a dropout (the identity at inference).
    pub fn dropout(self, name: impl Into<String>) -> Self {
        self.layer(name, Op::Dropout)
    }

    /// Adds a softmax.
    pub fn softmax(self, name: impl Into<String>) -> Self {
        self.layer(name, Op::Softmax)
    }

    /// Infers every shape.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] names the first layer that does not fit, what it expected and what it found.
    pub fn build(self) -> Result<Network, NetworkError> {
        Network::new(self.name, self.input, self.layers)
    }
}

/// How a network is written down (in a weight file's metadata): without the inferred shapes.
#[derive(Serialize, Deserialize)]
struct NetworkData {
    name: String,
    input: Shape,
    layers: Vec<LayerData>,
}

#[derive(Serialize, Deserialize)]
struct LayerData {
    name: String,
    #[serde(flatten)]
    op: Op,
}

impl From<Network> for NetworkData {
    fn from(n: Network) -> Self {
        let layers = n.layers.into_iter().map(|l| LayerData { name: l.name, op: l.op }).collect();
        Self { name: n.name, input: n.input, layers }
    }
}

impl TryFrom<NetworkData> for Network {
    type Error = NetworkError;
    fn try_from(d: NetworkData) -> Result<Self, NetworkError> {
        Network::new(d.name, d.input, d.layers.into_iter().map(|l| (l.name, l.op)))
    }
}

/// A network that does not fit together, or a layer it does not have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The input is empty or too large.
    #[error(
        "expected an input of 1 to {MAX_ACTIVATION} numbers (channels count in fours), found {input}: give channels × height × \
         width of at least 1 each, and smaller ones where they are large"
    )]
    Input {
        /// The input's shape.
        input: Shape,
    },
    /// No layers.
    #[error("expected at least one layer, found none: add layers before building the network")]
    Empty,
    /// A layer without a name, or with the name of another.
    #[error("expected a name of its own for each layer, found `{layer}` empty or twice: rename one")]
    Name {
        /// The name.
        layer: String,
    },
    /// A layer does not fit its input.
    #[error("layer `{layer}` does not fit its input of {input}: expected {expected}")]
    Shape {
        /// The layer.
        layer: String,
        /// What it expected, and what it found.
        expected: String,
        /// The shape of its input.
        input: Shape,
    },
    /// A layer would need more memory than is sensible.
    #[error("layer `{layer}`: expected a {what} of at most {limit} numbers, found more: use smaller sizes")]
    TooLarge {
        /// The layer.
        layer: String,
        /// Output or weight.
        what: &'static str,
        /// The limit, in numbers.
        limit: usize,
    },
    /// More layers than is sensible.
    #[error(
        "expected a network of at most {MAX_LAYERS} layers, found {found}: this is no sequential network that people run"
    )]
    TooManyLayers {
        /// How many.
        found: usize,
    },
    /// The layers up to this one would take longer than is sensible.
    #[error(
        "layer `{layer}`: expected a network of at most {MAX_STEPS} multiply-adds and comparisons for a picture, found more: \
         use smaller sizes"
    )]
    TooSlow {
        /// The layer.
        layer: String,
    },
    /// There is no such layer.
    #[error("no layer is called `{found}`: did you mean `{nearest}`?")]
    UnknownLayer {
        /// The name asked for.
        found: String,
        /// The closest that exists.
        nearest: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_layer_and_both_shapes() {
        let err = Network::builder("n", Shape::new(3, 8, 8)).conv("big", Conv::new(4, 11)).build().unwrap_err();
        assert_eq!(
            err.to_string(),
            "layer `big` does not fit its input of 3×8×8: expected a padded height of at least 11, found 8"
        );
        let err = Network::builder("n", Shape::new(3, 8, 8)).conv("g", Conv::new(4, 3).groups(2)).build().unwrap_err();
        assert!(err.to_string().contains("2 groups divide, found 3 in and 4 out"), "{err}");
    }

    #[test]
    fn unknown_layers_get_a_suggestion() {
        let net = crate::AlexNet::CAFFE.network().unwrap();
        let err = net.layer("cnv3").unwrap_err();
        assert_eq!(err.to_string(), "no layer is called `cnv3`: did you mean `conv3`?");
    }

    #[test]
    fn hostile_sizes_are_errors() {
        for kernel in [usize::MAX, usize::MAX / 2, 0] {
            let conv = Conv::new(4, kernel).padding(kernel / 2);
            assert!(Network::builder("n", Shape::new(3, 8, 8)).conv("c", conv).build().is_err());
        }
        assert!(Network::builder("n", Shape::new(usize::MAX, 2, 2)).softmax("s").build().is_err());
        let wide = Network::builder("n", Shape::new(3, 8, 8)).linear("l", Linear::new(usize::MAX)).build();
        assert!(matches!(wide, Err(NetworkError::TooLarge { .. })));
    }

    #[test]
    fn what_takes_absurdly_long_or_much_is_an_error() {
        let error = |network: NetworkBuilder| network.build().unwrap_err().to_string();
        // Four channels for each, as they lie on the device.
        assert!(Network::builder("n", Shape::new(1, 2048, 2048)).dropout("d").build().is_ok());
        let flat = error(Network::builder("n", Shape::new(1, 2049, 2048)).dropout("d"));
        assert!(flat.contains("found 1×2049×2048"), "{flat}");
        // A pooling over everything, everywhere: 2⁴⁶ comparisons.
        let pool = MaxPool::new(2047, 1).padding(1023);
        let slow = error(Network::builder("n", Shape::new(4, 2048, 2048)).max_pool("p", pool));
        assert!(slow.starts_with("layer `p`: expected a network of at most 274877906944 "), "{slow}");
        // Layers that are quick each, and slow together.
        let mut deep = Network::builder("n", Shape::new(256, 256, 256));
        for i in 0..8 {
            deep = deep.conv(format!("c{i}"), Conv::new(256, 3).padding(1));
        }
        assert!(error(deep).starts_with("layer `c7`"));
        // The largest networks that people know, four times as many pixels as they have.
        let mut vgg = Network::builder("vgg", Shape::new(3, 448, 448));
        for (block, (channels, convs)) in [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)].into_iter().enumerate() {
            for i in 0..convs {
                vgg = vgg.conv(format!("conv{block}{i}"), Conv::new(channels, 3).padding(1).relu());
            }
            vgg = vgg.max_pool(format!("pool{block}"), MaxPool::new(2, 2));
        }
        vgg.adaptive_avg_pool("a", 7, 7).linear("fc", Linear::new(4096)).build().unwrap();
    }

    #[test]
    fn many_layers_take_no_time() {
        let layers = |n: usize| (0..n).map(|i| (format!("layer{i:06}"), Op::Dropout));
        assert!(Network::new("n", Shape::new(3, 8, 8), layers(MAX_LAYERS)).is_ok());
        let error = Network::new("n", Shape::new(3, 8, 8), layers(100_000)).unwrap_err();
        assert_eq!(error, NetworkError::TooManyLayers { found: 100_000 });
        let twice = layers(10).chain(layers(1));
        assert_eq!(
            Network::new("n", Shape::new(3, 8, 8), twice),
            Err(NetworkError::Name { layer: "layer000000".into() })
        );
    }

    /// To compare two names of 50,000 letters would take 20 GB.
    #[test]
    fn long_names_are_compared_by_their_beginnings() {
        let long = ["a", "b"].map(|letter| letter.repeat(50_000));
        assert_eq!(nearest(&format!("{}c", long[1]), long.iter().map(String::as_str)), Some(&*long[1]));
    }

    #[test]
    fn json_round_trip() {
        let net = crate::AlexNet::CAFFE.network().unwrap();
        let json = serde_json::to_string(&net).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), net);
    }
}
