//! A network with its weights, preprocessing and labels: what a weight file comes to.

use std::collections::BTreeMap;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use crate::{
    alexnet::{Variant, imagenet_labels},
    network::{Network, Shape},
    preprocess::Preprocessing,
    recognise::{self, Recognised},
    weights::{File, Format, Graph, Weights, WeightsError},
};

/// A network, its weights under the network's own names, and how pictures and classes go with it.
#[derive(Clone, Debug)]
pub struct Model {
    /// The layers.
    pub network: Network,
    /// Exactly the tensors of `network`.
    pub weights: Weights,
    /// How a picture becomes its input.
    pub preprocessing: Preprocessing,
    /// One label a class, in index order.
    pub labels: Vec<String>,
    /// Where all this comes from.
    pub origin: Origin,
}

/// What decided on the parts of a [`Model`], in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file's format; none for weights that were made in memory.
    pub format: Option<Format>,
    /// Why it is this network.
    pub network: String,
    /// Why it is this preprocessing.
    pub preprocessing: String,
    /// Why they are these labels.
    pub labels: String,
}

/// What a file does not say, or says wrongly.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Take the weights for this AlexNet's.
    pub variant: Option<Variant>,
    /// Labels in index order.
    pub labels: Option<Vec<String>>,
}

/// What a file's metadata may say of its network, in this project's safetensors files.
mod key {
    /// An AlexNet's name, or the whole network as JSON.
    pub const NETWORK: &str = "network";
    /// [`crate::Preprocessing`] as JSON.
    pub const PREPROCESSING: &str = "preprocessing";
    /// A JSON list of strings.
    pub const LABELS: &str = "labels";
}

impl Model {
    /// The most classes that a network may have: a label is made for each. (ImageNet-21K has 21,841.)
    pub const MAX_CLASSES: usize = 1 << 20;

    /// Reads a weight file of any [`Format`], recognises its network and checks every tensor's shape.
    ///
    /// The network, preprocessing and labels are those that the file speaks of: its metadata, or the graph of an
    /// ONNX or Caffe file. Where it is silent, an AlexNet is recognised from the shapes of its tensors, and gets the
    /// preprocessing that its published weights were trained with. A network of 1000 classes without labels gets
    /// ImageNet's; any other gets `class 0`, `class 1`, …. [`Model::origin`] says what was decided by what.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] says which tensor, node or note does not fit.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, WeightsError> {
        Self::from_file(File::open(path.as_ref())?, options)
    }

    /// The same for a file that lies in memory.
    ///
    /// # Errors
    ///
    /// As [`Model::open`]; an ONNX model with numbers in further files can only be opened by its path.
    pub fn from_bytes(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        options: &ModelOptions,
    ) -> Result<Self, WeightsError> {
        Self::from_file(File::read(bytes::Bytes::from_owner(bytes), None)?, options)
    }

    /// The same for tensors that are already read.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn from_weights(weights: Weights, options: &ModelOptions) -> Result<Self, WeightsError> {
        Self::from_tensors(None, weights, options)
    }

    fn from_file(file: File, options: &ModelOptions) -> Result<Self, WeightsError> {
        let format = file.format();
        let Some(graph) = file.graph() else {
            return Self::from_tensors(Some(format), file.into_weights()?, options);
        };
        let Graph { network, tensors, preprocessing } = graph?;
        let recognised = recognise::graph(&network, &tensors)
            .map_err(|e| WeightsError::Unrecognised(e.to_string()))?
            .unwrap_or_else(|| Recognised { network, tensors, why: "the file's layers; they are no AlexNet's".into() });
        let metadata = BTreeMap::new();
        let Recognised { network, tensors, why } = match options.variant {
            Some(_) => recognise::tensors(&Weights { tensors: recognised.tensors, metadata }, options.variant)?,
            None => recognised,
        };
        let input = network.input();
        let preprocessing = preprocessing
            .map(|p| (p.cropped(input.height, input.width), format!("{format}'s, with what the file says of it")));
        let weights = Weights { tensors, metadata: BTreeMap::new() };
        Self::assemble(Some(format), network, why, weights, preprocessing, options)
    }

    fn from_tensors(format: Option<Format>, weights: Weights, options: &ModelOptions) -> Result<Self, WeightsError> {
        let note = weights.metadata.get(key::NETWORK).map(String::as_str);
        let (network, weights, why) = match (note, options.variant) {
            (Some(json), None) if json.trim_start().starts_with('{') => {
                let network: Network = from_json(key::NETWORK, json, "a network as JSON")?;
                (network, weights, "the file's metadata".into())
            }
            (note, variant) => {
                let variant = match (note, variant) {
                    (Some(name), None) => Some(name.parse().map_err(|e| metadata(key::NETWORK, &e, name))?),
                    (_, variant) => variant,
                };
                let Recognised { network, tensors, why } = recognise::tensors(&weights, variant)?;
                (network, Weights { tensors, metadata: weights.metadata }, why)
            }
        };
        let preprocessing = match weights.metadata.get(key::PREPROCESSING) {
            Some(json) => {
                let p = from_json(key::PREPROCESSING, json, "this project's preprocessing as JSON")?;
                Some((p, "the file's metadata".to_string()))
            }
            None => None,
        };
        Self::assemble(format, network, why, weights, preprocessing, options)
    }

    fn assemble(
        format: Option<Format>,
        network: Network,
        why: String,
        weights: Weights,
        preprocessing: Option<(Preprocessing, String)>,
        options: &ModelOptions,
    ) -> Result<Self, WeightsError> {
        weights.check(&network)?;
        let (input, output) = (network.input(), network.output());
        let classes = output.len();
        if output != Shape::vector(classes) || classes > Self::MAX_CLASSES {
            return Err(WeightsError::Classes { output });
        }
        let (preprocessing, why_preprocessing) = preprocessing.unwrap_or_else(|| {
            let (p, why) = match network.name().parse::<Variant>() {
                Ok(variant) => (variant.preprocessing(), format!("that of {variant}'s published weights")),
                Err(_) => (Preprocessing::torchvision(input.height), "torchvision's, as the file is silent".into()),
            };
            (p.cropped(input.height, input.width), why)
        });
        preprocessing.check().map_err(|e| metadata(key::PREPROCESSING, &e, "what the file says"))?;
        if input.channels != 3 || preprocessing.crop != [input.height, input.width] {
            return Err(metadata(
                key::PREPROCESSING,
                &format!("a crop to the network's input of {input}"),
                &format!("3×{}×{}", preprocessing.crop[0], preprocessing.crop[1]),
            ));
        }

        let (labels, why_labels) = match (&options.labels, weights.metadata.get(key::LABELS)) {
            (Some(labels), _) => (labels.clone(), "given by the caller"),
            (None, Some(json)) => (from_json(key::LABELS, json, "a JSON list of strings")?, "the file's metadata"),
            (None, None) if classes == 1000 => (imagenet_labels(), "ImageNet's, as there are 1000 classes"),
            (None, None) => ((0..classes).map(|i| format!("class {i}")).collect(), "numbers, as the file is silent"),
        };
        if labels.len() != classes {
            return Err(WeightsError::Labels { expected: classes, found: labels.len() });
        }
        let origin = Origin { format, network: why, preprocessing: why_preprocessing, labels: why_labels.to_string() };
        Ok(Self { network, weights, preprocessing, labels, origin })
    }

    /// The small model in the library: half-width `ungrouped` AlexNet that knows Fashion-MNIST's ten kinds of
    /// garment and nothing else (`assets/MODEL.md` has its accuracy).
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self, WeightsError> {
        let bytes: &'static [u8] = include_bytes!("../assets/fashion-mnist.safetensors");
        Self::from_bytes(bytes, &ModelOptions::default())
    }

    /// The weights with notes of the network, preprocessing and labels: [`Weights::save`] then writes one
    /// file that [`Model::open`] understands without options.
    ///
    /// # Errors
    ///
    /// None for a network that exists.
    pub fn to_weights(&self) -> Result<Weights, serde_json::Error> {
        let mut weights = self.weights.clone();
        let mut note = |key: &str, value| weights.metadata.insert(key.into(), value);
        note(key::NETWORK, serde_json::to_string(&self.network)?);
        note(key::PREPROCESSING, serde_json::to_string(&self.preprocessing)?);
        note(key::LABELS, serde_json::to_string(&self.labels)?);
        Ok(weights)
    }
}

fn metadata(key: &str, expected: &dyn std::fmt::Display, found: &str) -> WeightsError {
    let found = found.chars().take(80).collect();
    WeightsError::Metadata { key: key.into(), expected: expected.to_string(), found }
}

fn from_json<T: serde::de::DeserializeOwned>(key: &str, json: &str, expected: &str) -> Result<T, WeightsError> {
    serde_json::from_str(json).map_err(|e| metadata(key, &format!("{expected} ({e})"), json))
}
