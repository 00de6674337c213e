//! A network with its weights, preprocessing and labels, as loaded from a weight file.

mod alexnet;
mod assemble;
mod finetune;
mod fold;
pub(crate) mod formats;
mod notes;
mod options;
mod recognise;
mod trained;

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

pub use self::{
    alexnet::{AlexNet, UnknownNetwork, Variant, imagenet_labels},
    formats::Format,
    notes::UnknownNetworkJson,
    options::{GivenPreprocessing, ModelOptions, UnknownPreprocessing},
};
use self::{
    formats::{File, Notes},
    notes::key,
};
use crate::{
    network::Network,
    picture::Preprocessing,
    weights::{Weights, WeightsError},
};

/// A network with its weights under the network's own names, its preprocessing and its class labels.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Model {
    /// The layers.
    pub network: Network,
    /// Exactly the tensors of `network`.
    pub weights: Weights,
    /// The conversion of a picture to the network's input.
    pub preprocessing: Preprocessing,
    /// One label per class, in index order; empty where the network ends in feature maps.
    pub labels: Vec<String>,
    /// The sources of the network, preprocessing and labels.
    pub origin: Origin,
}

/// The sources of the parts of a [`Model`], in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The file's format; `None` for weights made in memory.
    pub format: Option<Format>,
    /// The reason for choosing this network.
    pub network: String,
    /// Another network that fits as well, where the file leaves that open: `caffe` and `caffenet` have tensors of the same
    /// shapes, and [`ModelOptions::variant`] or [`ModelOptions::network`] decides.
    pub doubt: Option<String>,
    /// The part of the file that was used, where the file holds more: one of several dicts of tensors, say.
    pub contents: Option<String>,
    /// The reason for choosing this preprocessing.
    pub preprocessing: String,
    /// Whether the preprocessing was guessed from the input's shape alone. [`ModelOptions::preprocessing`] overrides it.
    pub preprocessing_guessed: bool,
    /// The reason for choosing these labels.
    pub labels: String,
}

impl Model {
    /// The largest number of classes of a network: each gets a label. (ImageNet-21K has 21,841.)
    pub const MAX_CLASSES: usize = 1 << 20;

    /// Reads a weight file of any [`Format`], recognises its network and checks every tensor's shape.
    ///
    /// The network, preprocessing and labels come from the file: from its metadata, or from the graph of an ONNX or Caffe
    /// file. Without them, an AlexNet is recognised by the shapes of its tensors and gets the preprocessing of its published
    /// weights. Any other network gets torchvision's preprocessing; with a single input channel, grey of 0…1; with other
    /// channels, none ([`crate::ChannelOrder::Other`]). A network of 1000 classes without labels gets ImageNet's; any other
    /// gets `class 0`, `class 1`, …. [`Model::origin`] gives the source of each part.
    ///
    /// A large file must stay as it is while the model is in use: see [`Weights::open`].
    ///
    /// # Errors
    ///
    /// [`WeightsError`] names the tensor, node or metadata entry that does not fit.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, WeightsError> {
        Self::from_file(File::open(path.as_ref())?, options)
    }

    /// Reads a weight file from memory, as [`Model::open`] does from a path.
    ///
    /// # Errors
    ///
    /// As [`Model::open`]; an ONNX model with external data can only be opened by its path.
    pub fn from_bytes(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        options: &ModelOptions,
    ) -> Result<Self, WeightsError> {
        Self::from_file(File::read(bytes::Bytes::from_owner(bytes), None)?, options)
    }

    /// Builds a model from tensors that are already read.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn from_weights(weights: Weights, options: &ModelOptions) -> Result<Self, WeightsError> {
        Self::from_tensors(None, weights, Notes::default(), options)
    }

    /// The model embedded in the library: [`Model::imagenet_trunk`] for pictures of 227×227, with three fully connected layers
    /// trained on Fashion-MNIST's ten kinds of garment (`assets/MODEL.md` has its accuracy).
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self, WeightsError> {
        let head = Weights::from_bytes(include_bytes!("../../assets/fashion-mnist-head.safetensors").as_slice())?;
        Self::with_trunk(head, &Weights::from_bytes(alexnet_weights::IMAGENET_TRUNK)?)
    }

    /// Makes a model of two files, as [`Model::embedded`] does of its own: a program may keep them apart and share the trunk with
    /// [`Lpips::from_weights`](crate::Lpips::from_weights).
    ///
    /// `head` has the layers after pool5, and the metadata of the whole model as [`Model::to_weights`] writes it. `trunk` has the
    /// convolutions under the names of the crate `alexnet-weights`; what else is in it is left out.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] names the tensor or metadata entry that is missing or does not fit.
    pub fn with_trunk(head: Weights, trunk: &Weights) -> Result<Self, WeightsError> {
        let mut weights = head;
        weights.extend(trunk.of_network(&trunk_network()?)?);
        Self::from_tensors(Some(Format::Safetensors), weights, Notes::default(), &ModelOptions::default())
    }

    /// AlexNet's features trained on ImageNet, from the crate `alexnet-weights`: torchvision's network up to pool5, for
    /// pictures of 224×224. [`Network::with_input`] makes the same layers for another size. There are no labels.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "imagenet")]
    pub fn imagenet_trunk() -> Result<Self, WeightsError> {
        let network = trunk_network()?;
        let weights = Weights::from_bytes(alexnet_weights::IMAGENET_TRUNK)?.of_network(&network)?;
        let origin = Origin {
            format: Some(Format::Safetensors),
            network: "the built-in features".into(),
            preprocessing: "torchvision's".into(),
            ..Origin::default()
        };
        Ok(Self { network, weights, preprocessing: Preprocessing::torchvision(224), labels: vec![], origin })
    }

    /// The prefix of the names of tensors that a training goes on from. They are left out where a file is read as a model.
    pub const TRAINING: &'static str = "training/";

    /// Makes a model of its parts. Without `labels`, its classes have none.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when `weights` are not exactly those of `network`, or there is another number of labels than classes.
    pub fn new(
        network: Network,
        weights: Weights,
        preprocessing: Preprocessing,
        labels: Vec<String>,
    ) -> Result<Self, WeightsError> {
        weights.check(&network)?;
        let classes = network.output().len();
        if !labels.is_empty() && labels.len() != classes {
            return Err(WeightsError::Labels { expected: classes, found: labels.len() });
        }
        Ok(Self { network, weights, preprocessing, labels, origin: Origin::default() })
    }

    /// The weights, with network, preprocessing and labels in the metadata. [`Weights::save`] then writes a single file that
    /// [`Model::open`] reads without options.
    ///
    /// # Errors
    ///
    /// None for a valid network.
    pub fn to_weights(&self) -> Result<Weights, serde_json::Error> {
        let mut weights = self.weights.clone();
        let mut note = |key: &str, value| weights.metadata.insert(key.into(), value);
        note(key::NETWORK, self.network.to_json()?);
        note(key::PREPROCESSING, serde_json::to_string(&self.preprocessing)?);
        note(key::LABELS, serde_json::to_string(&self.labels)?);
        Ok(weights)
    }
}

/// torchvision's network up to pool5.
fn trunk_network() -> Result<Network, WeightsError> {
    let network = AlexNet::TORCHVISION.network().and_then(|network| network.up_to("pool5"));
    network.map_err(|error| WeightsError::Unrecognised(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::Resize;

    /// A head and a trunk make the model that both were taken from, and a part of a trunk makes none.
    #[cfg(feature = "embedded")]
    #[test]
    fn a_head_and_a_trunk_make_a_model() {
        let whole = Model::embedded().unwrap();
        let (mut head, mut trunk) = (whole.to_weights().unwrap(), Weights::default());
        for layer in 1..=5 {
            for name in [format!("conv{layer}.weight"), format!("conv{layer}.bias")] {
                trunk.insert(name.clone(), head.remove(&name).unwrap());
            }
        }
        trunk.insert("lpips1.weight", whole.weights.tensor("fc8.bias").unwrap().clone());
        let made = Model::with_trunk(head.clone(), &trunk).unwrap();
        assert_eq!((made.network, made.labels), (whole.network, whole.labels));
        assert!(made.weights.names().eq(whole.weights.names()), "{:?}", made.weights);
        trunk.remove("conv5.bias");
        let error = Model::with_trunk(head, &trunk).unwrap_err().to_string();
        assert!(error.contains("conv5.bias"), "{error}");
    }

    /// A network with a small input sees the whole picture by default.
    #[test]
    fn networks_of_other_sizes_see_the_whole_picture() {
        for (channels, height, width, whole) in
            [(3, 32, 32, true), (1, 28, 28, true), (3, 224, 224, false), (1, 227, 227, false), (3, 224, 227, true)]
        {
            let network = serde_json::json!({
                "name": "small",
                "input": {"channels": channels, "height": height, "width": width},
                "layers": [
                    {"name": "c", "op": "conv", "out_channels": 2, "kernel": [1, 1], "stride": [1, 1], "groups": 1, "relu": false},
                    {"name": "p", "op": "adaptive-avg-pool", "output": [1, 1]},
                ],
            });
            let metadata = [("network".to_string(), network.to_string())].into();
            let data = vec![0_u8; 4 * 2 * (channels + 1)];
            let view =
                |shape, data| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data).unwrap();
            let weight = view(vec![2, channels, 1, 1], &data[..8 * channels]);
            let bias = view(vec![2], &data[8 * channels..]);
            let file = safetensors::serialize([("c.weight", weight), ("c.bias", bias)], Some(metadata)).unwrap();
            let open = |options: &ModelOptions| Model::from_bytes(file.clone(), options).unwrap();
            let model = open(&ModelOptions::default());
            let expected = Resize::Warp([height, width]);
            assert_eq!(model.preprocessing.resize == expected, whole, "{height}×{width}: {:?}", model.preprocessing);
            assert_eq!(model.origin.preprocessing.contains("whole picture"), whole, "{}", model.origin.preprocessing);
            assert_eq!(model.preprocessing.crop, [height, width]);
            if channels == 3 {
                let given = ModelOptions::default().preprocessing(GivenPreprocessing::Torchvision);
                assert_eq!(open(&given).preprocessing.resize, Resize::ShorterSide(256));
            }
        }
    }
}
