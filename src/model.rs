//! A network with its weights, preprocessing and labels: what a weight file comes to.

use std::path::Path;

use crate::{
    alexnet::{AlexNet, Variant, imagenet_labels},
    network::Network,
    preprocess::Preprocessing,
    weights::{Weights, WeightsError},
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
    /// Reads a weight file, recognises its network and checks every tensor's shape.
    ///
    /// The file's metadata says which network, preprocessing and labels go with it; where it does not, an
    /// AlexNet is recognised from the shapes of conv1 … fc8. A network of 1000 classes without labels gets
    /// ImageNet's; any other gets `class 0`, `class 1`, ….
    ///
    /// # Errors
    ///
    /// [`WeightsError`] says which tensor or note does not fit.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, WeightsError> {
        Self::from_weights(Weights::open(path)?, options)
    }

    /// The same for weights that are already read.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn from_weights(weights: Weights, options: &ModelOptions) -> Result<Self, WeightsError> {
        let note = weights.metadata.get(key::NETWORK).map(String::as_str);
        let (network, variant) = match (note, options.variant) {
            (Some(json), None) if json.trim_start().starts_with('{') => {
                let network: Network = from_json(key::NETWORK, json, "a network as JSON")?;
                let variant = network.name().parse().ok();
                (network, variant)
            }
            (Some(name), None) => {
                let variant: Variant = name.parse().map_err(|e| metadata(key::NETWORK, &e, name))?;
                (recognise(&weights, Some(variant))?, Some(variant))
            }
            (_, variant) => {
                let network = recognise(&weights, variant)?;
                let variant = network.name().parse().ok();
                (network, variant)
            }
        };
        weights.check(&network)?;

        let preprocessing: Preprocessing = match (weights.metadata.get(key::PREPROCESSING), variant) {
            (Some(json), _) => from_json(key::PREPROCESSING, json, "this project's preprocessing as JSON")?,
            (None, Some(variant)) => variant.preprocessing(),
            (None, None) => Preprocessing::torchvision(network.input().height),
        };
        preprocessing.check().map_err(|e| metadata(key::PREPROCESSING, &e, "what the file says"))?;
        let input = network.input();
        if input.channels != 3 || preprocessing.crop != [input.height, input.width] {
            return Err(metadata(
                key::PREPROCESSING,
                &format!("a crop to the network's input of {input}"),
                &format!("3×{}×{}", preprocessing.crop[0], preprocessing.crop[1]),
            ));
        }

        let classes = network.output().len();
        let labels = match (&options.labels, weights.metadata.get(key::LABELS)) {
            (Some(labels), _) => labels.clone(),
            (None, Some(json)) => from_json(key::LABELS, json, "a JSON list of strings")?,
            (None, None) if classes == 1000 => imagenet_labels(),
            (None, None) => (0..classes).map(|i| format!("class {i}")).collect(),
        };
        if labels.len() != classes {
            return Err(WeightsError::Labels { expected: classes, found: labels.len() });
        }
        Ok(Self { network, weights, preprocessing, labels })
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
        Self::from_weights(Weights::from_bytes(bytes)?, &ModelOptions::default())
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

/// The AlexNet whose tensors these are, from their shapes; `variant` decides where they leave it open.
fn recognise(weights: &Weights, variant: Option<Variant>) -> Result<Network, WeightsError> {
    let shape = |name: &str| weights.tensor(name).map(|t| t.shape().to_vec());
    let unrecognised = |what: String| WeightsError::Unrecognised(what);

    let mut channels = [0; 5];
    let mut grouped = false;
    for (i, out) in channels.iter_mut().enumerate() {
        let name = format!("conv{}.weight", i + 1);
        match *shape(&name)? {
            [o, inputs, _, _] => {
                *out = o;
                if i == 1 {
                    grouped = Some(inputs) != weights.tensor("conv1.weight")?.shape().first().copied();
                }
            }
            ref other => return Err(unrecognised(format!("`{name}` is {other:?}, not OIHW"))),
        }
    }
    let rows = |name: &str| -> Result<usize, WeightsError> {
        match *shape(name)? {
            [out, _] => Ok(out),
            ref other => Err(unrecognised(format!("`{name}` is {other:?}, not (out, in)"))),
        }
    };
    let head = [rows("fc6.weight")?, rows("fc7.weight")?];
    let classes = rows("fc8.weight")?;
    // torchvision's conv3 has six times the filters of its conv1, the others' four times; at small widths that
    // ratio survives rounding well enough to tell 4 from 6.
    let variant = variant.unwrap_or(if grouped {
        Variant::Caffe
    } else if channels[2] > channels[0].saturating_mul(5) {
        Variant::Torchvision
    } else {
        Variant::Ungrouped
    });
    AlexNet { variant, channels, head, classes }.network().map_err(|e| unrecognised(e.to_string()))
}

fn metadata(key: &str, expected: &dyn std::fmt::Display, found: &str) -> WeightsError {
    let found = found.chars().take(80).collect();
    WeightsError::Metadata { key: key.into(), expected: expected.to_string(), found }
}

fn from_json<T: serde::de::DeserializeOwned>(key: &str, json: &str, expected: &str) -> Result<T, WeightsError> {
    serde_json::from_str(json).map_err(|e| metadata(key, &format!("{expected} ({e})"), json))
}
