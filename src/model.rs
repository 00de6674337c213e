//! A network with its weights, preprocessing and labels: what a weight file comes to.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::{collections::BTreeMap, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    alexnet::{Variant, imagenet_labels},
    network::{Network, Shape, nearest},
    preprocess::{Preprocessing, PreprocessingError},
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
    /// Which network it may be as well, where the file leaves that open: `caffe` and `caffenet` differ in no tensor's shape, and
    /// [`ModelOptions::variant`] decides.
    pub doubt: Option<String>,
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
    /// Make the network's input of pictures like this.
    pub preprocessing: Option<GivenPreprocessing>,
}

/// Preprocessing that a caller chooses, whatever a file says: one of the two that published weights were trained with, fitted
/// to the network's input, or another, number for number.
///
/// As text it is `torchvision`, `caffe`, or JSON as weight files have it in their metadata, and `alexnet info --json` prints it:
///
/// ```
/// use alexnet_wgpu::{ChannelOrder, GivenPreprocessing, Resize};
///
/// assert_eq!("caffe".parse(), Ok(GivenPreprocessing::Caffe));
/// let json = r#"{"resize": {"shorter-side": 256}, "crop": [224, 224], "channels": "bgr", "scale": 1, "mean": [104, 117, 123],
///                "std": [1, 1, 1]}"#;
/// let Ok(GivenPreprocessing::Own(own)) = json.parse() else { panic!("good JSON") };
/// assert_eq!((own.resize, own.channels), (Resize::ShorterSide(256), ChannelOrder::Bgr));
/// let error = "torchvison".parse::<GivenPreprocessing>().unwrap_err();
/// assert!(error.to_string().contains("did you mean `torchvision`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GivenPreprocessing {
    /// [`Preprocessing::torchvision`].
    Torchvision,
    /// [`Preprocessing::caffe`].
    Caffe,
    /// This one; its crop must be the network's input.
    Own(Preprocessing),
}

impl GivenPreprocessing {
    const NAMES: [&str; 2] = ["torchvision", "caffe"];

    /// For a network's input, with what decided on it.
    fn of(self, input: Shape) -> (Preprocessing, String) {
        let fitted = |p: Preprocessing, name| (p.cropped(input.height, input.width), format!("{name}'s, {CALLER}"));
        match self {
            Self::Torchvision => fitted(Preprocessing::torchvision(input.height), "torchvision"),
            Self::Caffe => fitted(Preprocessing::caffe(input.height), "Caffe"),
            Self::Own(p) => (p, CALLER.into()),
        }
    }
}

impl FromStr for GivenPreprocessing {
    type Err = UnknownPreprocessing;

    fn from_str(text: &str) -> Result<Self, UnknownPreprocessing> {
        let found = || text.chars().filter(|c| !c.is_control()).take(80).collect();
        match text.trim() {
            "torchvision" => Ok(Self::Torchvision),
            "caffe" => Ok(Self::Caffe),
            json if json.starts_with('{') => {
                let own: Preprocessing =
                    known(json).map_err(|reason| UnknownPreprocessing::Json { reason, found: found() })?;
                own.check().map_err(|e| UnknownPreprocessing::Numbers { reason: e.to_string() })?;
                Ok(Self::Own(own))
            }
            name => Err(UnknownPreprocessing::Name {
                nearest: nearest(name, Self::NAMES.into_iter()).unwrap_or_default().into(),
                found: found(),
            }),
        }
    }
}

/// There is no such preprocessing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownPreprocessing {
    /// Neither a name nor JSON.
    #[error(
        "no preprocessing is called `{found}`: did you mean `{nearest}`? There are torchvision, caffe, and any other as JSON"
    )]
    Name {
        /// The name asked for, or its beginning.
        found: String,
        /// The closest that exists.
        nearest: String,
    },
    /// JSON of something else.
    #[error(
        "expected preprocessing as JSON with resize, crop, channels, scale, mean and std, found `{found}` ({reason}): \
         `alexnet info --json` prints that of any weight file"
    )]
    Json {
        /// The text, or its beginning.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// JSON with sizes or numbers that no picture can be made to.
    #[error("the preprocessing cannot be applied: {reason}")]
    Numbers {
        /// Which.
        reason: String,
    },
}

/// What decided, where the caller did.
const CALLER: &str = "given by the caller";

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
    /// preprocessing that its published weights were trained with; any other network gets torchvision's, one of a single
    /// channel grey of 0…1, and one of other channels none ([`crate::ChannelOrder::Other`]). A network of 1000 classes without labels gets
    /// ImageNet's; any other gets `class 0`, `class 1`, …. [`Model::origin`] says what was decided by what.
    ///
    /// A large file must stay as it is while the model is in use: see [`Weights::open`].
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
            .unwrap_or_else(|| {
                let why = "the file's layers; they are no AlexNet's".into();
                Recognised { network, tensors, why, doubt: None }
            });
        let metadata = BTreeMap::new();
        let Recognised { network, tensors, why, doubt } = match options.variant {
            Some(_) => recognise::tensors(&Weights { tensors: recognised.tensors, metadata }, options.variant)?,
            None => recognised,
        };
        let input = network.input();
        let preprocessing = preprocessing
            .map(|p| (p.cropped(input.height, input.width), format!("{format}'s, with what the file says of it")));
        let weights = Weights { tensors, metadata: BTreeMap::new() };
        Self::assemble(Some(format), network, (why, doubt), weights, preprocessing, options)
    }

    fn from_tensors(format: Option<Format>, weights: Weights, options: &ModelOptions) -> Result<Self, WeightsError> {
        let note = weights.metadata.get(key::NETWORK).map(String::as_str);
        let (network, weights, why, doubt) = match (note, options.variant) {
            (Some(json), None) if json.trim_start().starts_with('{') => {
                let network: Network = from_json(key::NETWORK, json, "a network as JSON")?;
                (network, weights, "the file's metadata".into(), None)
            }
            (note, variant) => {
                let named = |name: &str| {
                    let expected = "ungrouped, caffe, caffenet, torchvision or a network as JSON";
                    name.parse().map_err(|_| metadata(key::NETWORK, expected, name, None))
                };
                let variant = match (note, variant) {
                    (Some(name), None) => Some(named(name)?),
                    (_, variant) => variant,
                };
                let Recognised { network, tensors, why, doubt } = recognise::tensors(&weights, variant)?;
                (network, Weights { tensors, metadata: weights.metadata }, why, doubt)
            }
        };
        let preprocessing = match weights.metadata.get(key::PREPROCESSING) {
            Some(json) if options.preprocessing.is_none() => {
                let p = from_json(key::PREPROCESSING, json, "this project's preprocessing as JSON")?;
                Some((p, "the file's metadata".to_string()))
            }
            _ => None,
        };
        Self::assemble(format, network, (why, doubt), weights, preprocessing, options)
    }

    fn assemble(
        format: Option<Format>,
        network: Network,
        (why, doubt): (String, Option<String>),
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
        let given = options.preprocessing.map(|given| given.of(input));
        let (preprocessing, why_preprocessing) = given.or(preprocessing).unwrap_or_else(|| {
            let (p, why) = match (network.name().parse::<Variant>(), input.channels) {
                (Ok(variant), 3) => (variant.preprocessing(), format!("that of {variant}'s published weights")),
                (Err(_), 3) => {
                    (Preprocessing::torchvision(input.height), "torchvision's, as the file is silent".into())
                }
                (_, 1) => (Preprocessing::plain(input), "grey of 0…1, as the file is silent".into()),
                _ => (Preprocessing::plain(input), "no picture has the network's channels".into()),
            };
            (p.cropped(input.height, input.width), why)
        });
        let fail = |error| WeightsError::Preprocessing { origin: why_preprocessing.clone(), error };
        match preprocessing.check() {
            // A network without pictures is one all the same.
            Ok(()) | Err(PreprocessingError::Channels { .. }) => {}
            Err(error) => return Err(fail(error)),
        }
        let found = preprocessing.shape();
        if input != found {
            return Err(fail(PreprocessingError::Input { expected: input, found }));
        }

        let (labels, why_labels) = match (&options.labels, weights.metadata.get(key::LABELS)) {
            (Some(labels), _) => (labels.clone(), CALLER),
            (None, Some(json)) => (from_json(key::LABELS, json, "a JSON list of strings")?, "the file's metadata"),
            (None, None) if classes == 1000 => (imagenet_labels(), "ImageNet's, as there are 1000 classes"),
            (None, None) => ((0..classes).map(|i| format!("class {i}")).collect(), "numbers, as the file is silent"),
        };
        if labels.len() != classes {
            return Err(WeightsError::Labels { expected: classes, found: labels.len() });
        }
        let origin =
            Origin { format, network: why, doubt, preprocessing: why_preprocessing, labels: why_labels.to_string() };
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

fn metadata(key: &str, expected: &str, found: &str, reason: Option<String>) -> WeightsError {
    let found = found.chars().filter(|c| !c.is_control()).take(80).collect();
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    WeightsError::Metadata { key: key.into(), expected: expected.into(), found, reason }
}

fn from_json<T: Serialize + DeserializeOwned>(key: &str, json: &str, expected: &str) -> Result<T, WeightsError> {
    known(json).map_err(|reason| metadata(key, expected, json, Some(reason)))
}

/// What JSON says, where all of its keys mean something: a misspelt one would change the result in silence.
fn known<T: Serialize + DeserializeOwned>(json: &str) -> Result<T, String> {
    let given: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    // From the text, for the line and column in messages.
    let understood: T = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let again = serde_json::to_value(&understood).map_err(|e| e.to_string())?;
    unknown_key(&given, &again).map_or(Ok(understood), |key| Err(format!("`{key:.40}` means nothing here")))
}

/// A key in `given` that is not in `understood`.
fn unknown_key<'a>(given: &'a Value, understood: &Value) -> Option<&'a str> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(key, value)| {
            understood.get(key).map_or(Some(key.as_str()), |understood| unknown_key(value, understood))
        }),
        (Value::Array(given), Value::Array(understood)) => {
            given.iter().zip(understood).find_map(|(given, understood)| unknown_key(given, understood))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn keys_that_mean_nothing_are_refused() {
        let model = Model::embedded().unwrap();
        let network = serde_json::to_string(&model.network).unwrap();
        assert_eq!(known::<Network>(&network).unwrap(), model.network);
        let misspelt = network.replacen("\"padding\"", "\"pad\"", 1);
        assert_ne!(misspelt, network);
        let further = network.replacen("\"stride\"", "\"dilation\":[2,2],\"stride\"", 1);
        for (json, key) in [(misspelt, "pad"), (further, "dilation")] {
            let reason = known::<Network>(&json).unwrap_err();
            assert_eq!(reason, format!("`{key}` means nothing here"));
        }
        let own = serde_json::to_string(&model.preprocessing).unwrap();
        let own = own.replacen("\"mean\"", "\"means\":[0,0,0],\"mean\"", 1);
        assert!(own.parse::<GivenPreprocessing>().unwrap_err().to_string().contains("`means` means nothing here"));
    }
}
