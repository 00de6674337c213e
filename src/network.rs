//! Networks as plain data: a list of named layers, with inferred shapes.
//!
//! This module is independent of GPUs and weight files. A [`Network`] can only be made through [`Network::new`] or a
//! [`NetworkBuilder`], which infer every shape, so every `Network` is consistent.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    kernels::{Algorithm, KernelConfig, RowsLayout},
    layers::{AdaptiveAvgPool, AvgPool, BatchNorm, Conv, Linear, LocalResponseNorm, MaxPool, Op},
    shape::{MAX_ACTIVATION, MAX_WEIGHT, Shape},
    text::nearest,
    version::Version,
};

/// The maximum number of layers of a network. (Sequential networks have tens.)
pub const MAX_LAYERS: usize = 4096;

/// The maximum number of steps of a network per image. A step is one value of a layer's window (its kernel over its
/// input's channels) for one value of its output. (VGG-16 takes 1.5e10. The limit, 2.7e11, is a minute on a processor;
/// without one, a file of a few bytes could ask for years.)
pub const MAX_STEPS: u64 = 1 << 38;

/// A layer: a name and an operation. Shapes are per image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Layer {
    /// The name, unique in its network. Its tensors are called `name.weight` and `name.bias`.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// The shape of its input.
    pub input: Shape,
    /// The shape of its output.
    pub output: Shape,
    /// Whether the output is a vector rather than feature maps. True from the first fully connected layer on.
    pub flat: bool,
}

impl Layer {
    /// Returns the dimensions of the output without the batch: `[C, H, W]`, or `[N]` from the first fully connected
    /// layer on.
    pub fn output_dims(&self) -> Vec<usize> {
        if self.flat {
            vec![self.output.len()]
        } else {
            vec![self.output.channels, self.output.height, self.output.width]
        }
    }

    /// Returns the names and shapes of the layer's tensors.
    pub fn parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.op.parameters(self.input).into_iter().map(|(name, shape)| (format!("{}.{name}", self.name), shape))
    }

    /// Returns the multiply-adds per image of a convolution or fully connected layer; 0 for other layers.
    pub fn multiply_adds(&self) -> u64 {
        self.op.operation().multiply_adds(self.input, self.output)
    }

    /// The best algorithm for the layer.
    pub(crate) fn algorithm(&self, config: KernelConfig, batch: usize) -> Algorithm {
        self.op.operation().algorithm(config, self.input, self.output, batch)
    }

    /// The algorithms that may suit the layer, for tuning; `layout` is its input's.
    pub(crate) fn algorithms(&self, config: KernelConfig, layout: Option<RowsLayout>) -> Vec<Algorithm> {
        self.op.operation().algorithms(config, self.input, self.output, layout)
    }

    /// The layout that the layer wants for a network's input, if not the usual one.
    pub(crate) fn input_layout(&self) -> Option<RowsLayout> {
        self.op.operation().input_layout(self.input, self.output)
    }
}

/// A sequential network whose shapes are consistent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NetworkData", into = "NetworkData")]
pub struct Network {
    name: String,
    input: Shape,
    layers: Vec<Layer>,
}

impl Network {
    /// Makes a network from named operations.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] names the first layer that does not fit, with the expected and the actual value.
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
            let operation = op.operation();
            let output = operation.output(shape).map_err(fail)?;
            if !output.is_sensible() {
                return Err(NetworkError::TooLarge { layer, what: "an output", limit: MAX_ACTIVATION });
            }
            for (_, parameter) in operation.parameters(shape) {
                let count = parameter.iter().try_fold(1usize, |a, &d| a.checked_mul(d));
                if count.is_none_or(|n| n > MAX_WEIGHT) {
                    return Err(NetworkError::TooLarge { layer, what: "a weight", limit: MAX_WEIGHT });
                }
            }
            steps = steps.saturating_add((output.len() as u64).saturating_mul(operation.reads(shape, output)));
            if steps > MAX_STEPS {
                return Err(NetworkError::TooSlow { layer });
            }
            flat |= operation.flattens();
            checked.push(Layer { name: layer, op, input: shape, output, flat });
            shape = output;
        }
        if checked.is_empty() {
            return Err(NetworkError::Empty);
        }
        Ok(Self { name: name.into(), input, layers: checked })
    }

    /// Whether the outputs are probabilities: those of a softmax, of sigmoids, or of two classes by a single sigmoid.
    pub fn gives_probabilities(&self) -> bool {
        let mut last = self.layers.iter().rev().filter(|layer| layer.op != Op::Dropout);
        let Some(layer) = last.next() else { return false };
        let two = matches!(layer.op, Op::Linear(linear) if linear == Linear::new(2)) && layer.input == Shape::vector(1);
        layer.op.gives_probabilities() || two && last.next().is_some_and(|before| before.op.gives_probabilities())
    }

    /// Starts a builder, to which layers are added one by one. [`NetworkBuilder::build`] checks the shapes.
    pub fn builder(name: impl Into<String>, input: Shape) -> NetworkBuilder {
        NetworkBuilder { name: name.into(), input, layers: Vec::new() }
    }

    /// Makes the network of the same layers for another input. Weights of convolutions serve both; those of a fully
    /// connected layer need an input of the same length.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] names the first layer that does not fit.
    pub fn with_input(&self, input: Shape) -> Result<Self, NetworkError> {
        Self::new(self.name.clone(), input, self.layers.iter().map(|layer| (layer.name.clone(), layer.op)))
    }

    /// Makes the network that ends in the layer called `name`.
    ///
    /// ```
    /// use alexnet_wgpu::{AlexNet, Shape};
    ///
    /// // AlexNet's features of pictures of any size.
    /// let trunk = AlexNet::TORCHVISION.network()?.up_to("conv5")?;
    /// let features = trunk.with_input(Shape::new(3, 480, 640))?.output();
    /// assert_eq!(features, Shape::new(256, 29, 39));
    /// # Ok::<(), alexnet_wgpu::NetworkError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NetworkError::UnknownLayer`] with the closest existing name.
    pub fn up_to(&self, name: &str) -> Result<Self, NetworkError> {
        let last = self.position(name)?;
        Ok(Self { layers: self.layers[..=last].to_vec(), ..self.clone() })
    }

    /// Returns the network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the shape of the input, CHW.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Returns the shape of the last layer's output.
    pub fn output(&self) -> Shape {
        self.layers.last().map_or(self.input, |l| l.output)
    }

    /// Returns the layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the layer called `name`.
    ///
    /// # Errors
    ///
    /// [`NetworkError::UnknownLayer`] with the closest existing name.
    pub fn layer(&self, name: &str) -> Result<&Layer, NetworkError> {
        self.position(name).map(|index| &self.layers[index])
    }

    /// The index of the layer called `name`.
    pub(crate) fn position(&self, name: &str) -> Result<usize, NetworkError> {
        self.layers.iter().position(|l| l.name == name).ok_or_else(|| NetworkError::UnknownLayer {
            found: name.into(),
            nearest: nearest(name, self.layers.iter().map(|l| l.name.as_str())).unwrap_or_default().into(),
        })
    }

    /// Returns the names and shapes of all parameter tensors, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.layers.iter().flat_map(Layer::parameters)
    }

    /// Returns the number of parameters.
    pub fn parameter_count(&self) -> u64 {
        self.parameters().map(|(_, shape)| shape.iter().map(|&d| d as u64).product::<u64>()).sum()
    }

    /// Returns the multiply-adds per image of the convolutions and fully connected layers.
    pub fn multiply_adds(&self) -> u64 {
        self.layers.iter().map(Layer::multiply_adds).sum()
    }
}

/// Builds a network layer by layer; see [`Network::builder`].
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

    /// Adds a max pooling layer.
    pub fn max_pool(self, name: impl Into<String>, pool: MaxPool) -> Self {
        self.layer(name, Op::MaxPool(pool))
    }

    /// Adds a local response normalisation layer.
    pub fn local_response_norm(self, name: impl Into<String>, norm: LocalResponseNorm) -> Self {
        self.layer(name, Op::LocalResponseNorm(norm))
    }

    /// Adds an adaptive average pooling layer with an output of `height × width`.
    pub fn adaptive_avg_pool(self, name: impl Into<String>, height: usize, width: usize) -> Self {
        self.layer(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [height, width] }))
    }

    /// Adds an average pooling layer.
    pub fn avg_pool(self, name: impl Into<String>, pool: AvgPool) -> Self {
        self.layer(name, Op::AvgPool(pool))
    }

    /// Adds a batch normalisation layer.
    pub fn batch_norm(self, name: impl Into<String>, norm: BatchNorm) -> Self {
        self.layer(name, Op::BatchNorm(norm))
    }

    /// Adds a fully connected layer.
    pub fn linear(self, name: impl Into<String>, linear: Linear) -> Self {
        self.layer(name, Op::Linear(linear))
    }

    /// Adds a dropout layer (the identity at inference).
    pub fn dropout(self, name: impl Into<String>) -> Self {
        self.layer(name, Op::Dropout)
    }

    /// Adds a softmax layer.
    pub fn softmax(self, name: impl Into<String>) -> Self {
        self.layer(name, Op::Softmax)
    }

    /// Infers every shape, and makes the network.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] names the first layer that does not fit, with the expected and the actual value.
    pub fn build(self) -> Result<Network, NetworkError> {
        Network::new(self.name, self.input, self.layers)
    }
}

/// The serialised form of a network, in a weight file's metadata: without the inferred shapes.
#[derive(Serialize, Deserialize)]
struct NetworkData {
    #[serde(default)]
    version: Version,
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
        Self { version: Version, name: n.name, input: n.input, layers }
    }
}

impl TryFrom<NetworkData> for Network {
    type Error = NetworkError;
    fn try_from(d: NetworkData) -> Result<Self, NetworkError> {
        Network::new(d.name, d.input, d.layers.into_iter().map(|l| (l.name, l.op)))
    }
}

/// An inconsistent network, or a layer name that it does not have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The input is empty or too large.
    #[error(
        "expected an input of 1 to {MAX_ACTIVATION} numbers (channels count in fours), found {input}: give channels × \
         height × \
         width of at least 1 each, and smaller ones where they are large"
    )]
    Input {
        /// The input's shape.
        input: Shape,
    },
    /// The network has no layers.
    #[error("expected at least one layer, found none: add layers before building the network")]
    Empty,
    /// A layer's name is empty or taken.
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
        /// What was expected, and what was found.
        expected: String,
        /// The shape of its input.
        input: Shape,
    },
    /// A layer's output or weight exceeds the size limit.
    #[error("layer `{layer}`: expected {what} of at most {limit} numbers, found more: use smaller sizes")]
    TooLarge {
        /// The layer.
        layer: String,
        /// The tensor, with its article.
        what: &'static str,
        /// The limit, in values.
        limit: usize,
    },
    /// The network has more layers than the limit.
    #[error("expected a network of at most {MAX_LAYERS} layers, found {found}")]
    TooManyLayers {
        /// The number of layers.
        found: usize,
    },
    /// The layers up to this one exceed the limit on steps per image.
    #[error(
        "layer `{layer}`: expected a network of at most {MAX_STEPS} multiply-adds and comparisons per image, found more: \
         use smaller sizes"
    )]
    TooSlow {
        /// The layer.
        layer: String,
    },
    /// No layer has this name.
    #[error("unknown layer `{found}`: did you mean `{nearest}`?")]
    UnknownLayer {
        /// The requested name.
        found: String,
        /// The closest existing name.
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
        assert_eq!(err.to_string(), "unknown layer `cnv3`: did you mean `conv3`?");
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
        // Each image has four channels on the device.
        assert!(Network::builder("n", Shape::new(1, 2048, 2048)).dropout("d").build().is_ok());
        let flat = error(Network::builder("n", Shape::new(1, 2049, 2048)).dropout("d"));
        assert!(flat.contains("found 1×2049×2048"), "{flat}");
        // A pooling window as large as the input, at every position: 2⁴⁶ comparisons.
        let pool = MaxPool::new(2047, 1).padding(1023);
        let slow = error(Network::builder("n", Shape::new(4, 2048, 2048)).max_pool("p", pool));
        assert!(slow.starts_with("layer `p`: expected a network of at most 274877906944 "), "{slow}");
        // Layers that are fast one by one, and slow together.
        let mut deep = Network::builder("n", Shape::new(256, 256, 256));
        for i in 0..8 {
            deep = deep.conv(format!("c{i}"), Conv::new(256, 3).padding(1));
        }
        assert!(error(deep).starts_with("layer `c7`"));
        // The largest well-known networks, with four times their number of pixels.
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

    /// Comparing two names of 50,000 letters would take 20 GB.
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
