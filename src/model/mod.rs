//! A network with its weights, preprocessing and labels, as loaded from a weight file.

mod alexnet;
mod fold;
pub(crate) mod formats;
mod notes;
mod recognise;
mod trained;

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::{collections::BTreeMap, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    alexnet::{AlexNet, UnknownNetwork, Variant, imagenet_labels},
    formats::Format,
    notes::UnknownNetworkJson,
};
use self::{
    fold::fold_batch_norms,
    formats::{File, Graph, Notes},
    notes::{beginning, is_network, key, known, metadata},
    recognise::Recognised,
};

use crate::{
    activation::Activation,
    layers::{Linear, Op},
    network::Network,
    picture::{Preprocessing, PreprocessingError},
    shape::Shape,
    text::nearest,
    weights::{Tensor, Weights, WeightsError},
};

/// A network with its weights under the network's own names, its preprocessing and its class labels.
#[derive(Clone, Debug)]
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

/// Settings for properties that a file omits or gets wrong.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// The AlexNet that the weights belong to.
    pub variant: Option<Variant>,
    /// The network that the weights belong to; takes precedence over [`ModelOptions::variant`]. Tensors are matched by the
    /// names of its layers, or by order. Batch normalisations in a state dict are folded into the layers before them.
    pub network: Option<Network>,
    /// The shape of the input, for a Caffe file that omits it.
    pub input: Option<Shape>,
    /// The text of the `.prototxt` that belongs to a Caffe file without its input's shape.
    pub prototxt: Option<String>,
    /// Labels in index order.
    pub labels: Option<Vec<String>>,
    /// The preprocessing that turns pictures into the network's input.
    pub preprocessing: Option<GivenPreprocessing>,
}

/// Preprocessing chosen by the caller, whatever a file says: that of one of the two sets of published weights, fitted to the
/// network's input, or custom values.
///
/// The text form is `torchvision`, `caffe`, or JSON as in the metadata of weight files and in the output of `alexnet info
/// --json`:
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
    /// The file's preprocessing, or [`Preprocessing::caffe`], with these means of samples of 0…255 in the order of the
    /// channels.
    CaffeMean([f32; 3]),
    /// Custom preprocessing; its crop must be the network's input.
    Own(Preprocessing),
}

impl GivenPreprocessing {
    const NAMES: [&str; 2] = ["torchvision", "caffe"];

    /// Caffe preprocessing with the mean pixel of a mean image (`.binaryproto`) written by Caffe's `compute_image_mean`.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Format`] where the bytes are not a mean image of one or three channels.
    #[cfg(feature = "caffe")]
    pub fn from_binaryproto(bytes: &[u8]) -> Result<Self, WeightsError> {
        crate::model::formats::mean_pixel(bytes).map(Self::CaffeMean)
    }

    /// The preprocessing for a network's input, and the reason for it; `own` is the file's preprocessing.
    fn of(self, input: Shape, own: Option<Preprocessing>) -> (Preprocessing, String) {
        let fitted = |p: Preprocessing, name| (p.cropped(input.height, input.width), format!("{name}'s, {CALLER}"));
        match self {
            Self::Torchvision => fitted(Preprocessing::torchvision(input.height), "torchvision"),
            Self::Caffe => fitted(Preprocessing::caffe(input.height), "Caffe"),
            Self::CaffeMean(mean) => {
                let caffe =
                    if input.channels == 3 { Preprocessing::caffe(input.height) } else { Preprocessing::plain(input) };
                let p = own.unwrap_or(Preprocessing { scale: 1.0, ..caffe });
                // // Means are of samples after the scale, and are subtracted from those.
                fitted(
                    Preprocessing { mean: mean.map(|mean| mean * p.scale), ..p },
                    "that of a picture of means, and Caffe",
                )
            }
            Self::Own(p) => (p, CALLER.into()),
        }
    }
}

impl FromStr for GivenPreprocessing {
    type Err = UnknownPreprocessing;

    fn from_str(text: &str) -> Result<Self, UnknownPreprocessing> {
        let found = || beginning(text);
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

/// An error in the text of a preprocessing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownPreprocessing {
    /// The text is neither a known name nor JSON.
    #[error(
        "no preprocessing is called `{found}`: did you mean `{nearest}`? There are torchvision, caffe, and any other as JSON"
    )]
    Name {
        /// The name asked for, or its beginning.
        found: String,
        /// The closest existing name.
        nearest: String,
    },
    /// The JSON is not a preprocessing.
    #[error(
        "expected preprocessing as JSON with resize, crop, channels, scale, mean and std, found `{found}` ({reason}): \
         `alexnet info --json` prints that of any weight file"
    )]
    Json {
        /// The text, or its beginning.
        found: String,
        /// The reason.
        reason: String,
    },
    /// The JSON has sizes or numbers that cannot be applied to a picture.
    #[error("the preprocessing cannot be applied: {reason}")]
    Numbers {
        /// The size or number.
        reason: String,
    },
}

/// The reason for a choice made by the caller.
const CALLER: &str = "given by the caller";

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

    fn from_file(file: File, options: &ModelOptions) -> Result<Self, WeightsError> {
        let format = file.format();
        let graph = match file.graph(options) {
            Some(graph) => graph?,
            None => {
                let (weights, notes) = file.into_tensors()?;
                return Self::from_tensors(Some(format), weights, notes, options);
            }
        };
        let Graph { network, tensors, preprocessing, open } = graph;
        let mut recognised = recognise::graph(&network, &tensors)
            .map_err(|e| WeightsError::Unrecognised(e.to_string()))?
            .unwrap_or_else(|| {
                let why = "the file's layers; they are no AlexNet's".into();
                Recognised { network, tensors, why, doubt: None }
            });
        if let Some(input) = open.input {
            recognised.why += &format!("; the input's size is {input}");
        }
        recognised.doubt = recognised.doubt.or(open.doubt);
        let recognised = match (&options.network, options.variant) {
            (None, None) => match recognised.network.layers().last() {
                // The file's own.
                Some(last) if last.op == Op::Softmax && last.input == Shape::vector(1) => {
                    let told = "the softmax of its one output is 1 for every picture".to_string();
                    Recognised { doubt: recognised.doubt.or(Some(told)), ..recognised }
                }
                _ => two_classes(recognised)?,
            },
            _ => {
                let weights = Weights { tensors: recognised.tensors, metadata: BTreeMap::new() };
                given_or_recognised(&weights, &[], options.variant, options)?
            }
        };
        let input = recognised.network.input();
        let mean = open.mean.map(|told| format!("; {told}")).unwrap_or_default();
        let told = format!("{format}'s, with what the file says of it{mean}");
        let preprocessing = preprocessing.map(|p| (p.cropped(input.height, input.width), told));
        let mut model = Self::assemble(Some(format), recognised, BTreeMap::new(), None, preprocessing, options)?;
        // The labels of the published networks are known.
        let known = model.network.name().parse::<Variant>().is_ok() && model.labels.len() == 1000;
        model.origin.preprocessing_guessed |= open.preprocessing && !known && options.preprocessing.is_none();
        Ok(model)
    }

    fn from_tensors(
        format: Option<Format>,
        weights: Weights,
        notes: Notes,
        options: &ModelOptions,
    ) -> Result<Self, WeightsError> {
        let Weights { tensors, mut metadata } = weights;
        let mut contents = notes.part;
        let note = metadata.get(key::NETWORK).map(String::as_str);
        let named: Option<Variant> = note.and_then(|note| note.parse().ok());
        let own = note.is_some_and(is_network);
        // Other programs use these metadata keys too. Where the network is this project's, so are the others.
        let foreign_name = note.filter(|_| named.is_none() && !own).map(beginning);
        if named.is_none() && !own {
            let foreign = passed_over(&mut metadata);
            if !foreign.is_empty() {
                let told = format!("not the notes {} of another program", foreign.join(", "));
                contents = Some(contents.map_or(told.clone(), |contents| format!("{contents}; {told}")));
            }
        }
        let given = options.network.is_some() || options.variant.is_some();
        let recognised = match metadata.get(key::NETWORK).filter(|_| own && !given) {
            Some(json) => {
                let network = Network::from_json(json).map_err(|e| {
                    crate::model::notes::metadata(key::NETWORK, "a network as JSON", json, Some(e.reason))
                })?;
                Recognised { network, tensors, why: "the file's metadata".into(), doubt: None }
            }
            None => {
                let weights = Weights { tensors, metadata: BTreeMap::new() };
                let recognised = given_or_recognised(&weights, &notes.order, options.variant.or(named), options);
                recognised.map_err(|error| match (error, foreign_name) {
                    (WeightsError::Unrecognised(what), Some(name)) => WeightsError::Unrecognised(format!(
                        "{what}; and the note `network` says `{name}`, which is neither an AlexNet's name nor a network as JSON"
                    )),
                    (error, _) => error,
                })?
            }
        };
        let preprocessing = match metadata.get(key::PREPROCESSING) {
            Some(json) if options.preprocessing.is_none() => {
                let p = from_json(key::PREPROCESSING, json, "this project's preprocessing as JSON")?;
                Some((p, "the file's metadata".to_string()))
            }
            _ => None,
        };
        Self::assemble(format, recognised, metadata, contents, preprocessing, options)
    }

    fn assemble(
        format: Option<Format>,
        recognised: Recognised,
        metadata: BTreeMap<String, String>,
        contents: Option<String>,
        preprocessing: Option<(Preprocessing, String)>,
        options: &ModelOptions,
    ) -> Result<Self, WeightsError> {
        let Recognised { network, tensors, why, doubt } = recognised;
        let weights = Weights { tensors, metadata };
        weights.check(&network)?;
        let (network, weights) = fold_batch_norms(network, weights)?;
        let (input, output) = (network.input(), network.output());
        // Feature maps are not classes.
        let classes = if output == Shape::vector(output.len()) { output.len() } else { 0 };
        if classes > Self::MAX_CLASSES {
            return Err(WeightsError::Classes { output });
        }
        let guessed = options.preprocessing.is_none()
            && preprocessing.is_none()
            && (doubt.is_some() || network.name().parse::<Variant>().is_err());
        let given = options.preprocessing.map(|given| given.of(input, preprocessing.as_ref().map(|(p, _)| *p)));
        // A crop of 32 of 256 pixels would show next to nothing of a picture.
        let usual = input.height == input.width && Variant::ALL.iter().any(|v| v.input_size() == input.height);
        let (preprocessing, why_preprocessing) = given.or(preprocessing).unwrap_or_else(|| {
            let (p, why) = match (network.name().parse::<Variant>(), input.channels) {
                (Ok(variant), 3) => (variant.preprocessing(), format!("that of {variant}'s published weights")),
                (Err(_), 3) if usual => {
                    (Preprocessing::torchvision(input.height), "torchvision's, as the file is silent".into())
                }
                (Err(_), 3) => {
                    let why = "the whole picture scaled to the input, with torchvision's mean and deviation, as the file is silent and \
                               the input's size is none of the AlexNets'";
                    (Preprocessing::torchvision(input.height).whole(input), why.into())
                }
                (_, 1) if usual => (Preprocessing::plain(input), "grey of 0…1, as the file is silent".into()),
                (_, 1) => {
                    let why = "the whole picture scaled to the input, grey of 0…1, as the file is silent and the input's size is \
                               none of the AlexNets'";
                    (Preprocessing::plain(input).whole(input), why.into())
                }
                _ => (Preprocessing::plain(input), "no picture has the network's channels".into()),
            };
            (p.cropped(input.height, input.width), why)
        });
        let fail = |error| WeightsError::Preprocessing { origin: why_preprocessing.clone(), error };
        match preprocessing.check() {
            // A network whose input is not a picture is valid too.
            Ok(()) | Err(PreprocessingError::Channels { .. }) => {}
            Err(error) => return Err(fail(error)),
        }
        let found = preprocessing.shape();
        if input != found {
            return Err(fail(PreprocessingError::Input { expected: input, found }));
        }

        let noted = match weights.metadata.get(key::LABELS).filter(|_| options.labels.is_none()) {
            Some(json) => Some(from_json::<Vec<String>>(key::LABELS, json, "a JSON list of strings")?),
            None => None,
        };
        // Labels written by another program may belong to something else.
        let noted = noted.filter(|noted| noted.len() == classes || weights.metadata.contains_key(key::NETWORK));
        let (labels, why_labels) = match (&options.labels, noted) {
            (Some(labels), _) => (labels.clone(), CALLER),
            (None, Some(labels)) => (labels, "the file's metadata"),
            (None, None) if classes == 0 => (Vec::new(), "none, as the network ends in maps"),
            (None, None) if classes == 1000 => (imagenet_labels(), "ImageNet's, as there are 1000 classes"),
            (None, None) => ((0..classes).map(|i| format!("class {i}")).collect(), "numbers, as the file is silent"),
        };
        if labels.len() != classes {
            return Err(WeightsError::Labels { expected: classes, found: labels.len() });
        }
        let origin = Origin {
            format,
            network: why,
            doubt,
            contents,
            preprocessing: why_preprocessing,
            preprocessing_guessed: guessed,
            labels: why_labels.to_string(),
        };
        Ok(Self { network, weights, preprocessing, labels, origin })
    }

    /// The small model embedded in the library: a half-width `ungrouped` AlexNet trained on Fashion-MNIST's ten kinds of
    /// garment (`assets/MODEL.md` has its accuracy).
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self, WeightsError> {
        let bytes: &'static [u8] = include_bytes!("../../assets/fashion-mnist.safetensors");
        Self::from_bytes(bytes, &ModelOptions::default())
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

/// The network given by the caller, or else the AlexNet recognised from the tensors.
fn given_or_recognised(
    weights: &Weights,
    order: &[String],
    variant: Option<Variant>,
    options: &ModelOptions,
) -> Result<Recognised, WeightsError> {
    let recognised = match &options.network {
        Some(network) => {
            let (tensors, how) = recognise::assign(network, weights, order)?;
            Recognised { network: network.clone(), tensors, why: format!("{CALLER}; {how}"), doubt: None }
        }
        None => recognise::tensors(weights, order, variant)?,
    };
    two_classes(recognised)
}

/// Turns a network of one output into one of two classes. A softmax of one output is 1 for every picture; the intended result
/// is the sigmoid of the output, the probability p of the second class. What is added computes p, then 1 − p and p.
fn two_classes(recognised: Recognised) -> Result<Recognised, WeightsError> {
    let Recognised { network, mut tensors, mut why, doubt } = recognised;
    if network.output() != Shape::vector(1) {
        return Ok(Recognised { network, tensors, why, doubt });
    }
    let mut layers: Vec<(String, Op)> = network.layers().iter().map(|layer| (layer.name.clone(), layer.op)).collect();
    if matches!(layers.last(), Some((_, Op::Softmax))) {
        layers.pop();
    }
    let mut append = |name: &str, linear: Linear, [weight, bias]: [Vec<f32>; 2]| {
        let names = (1..).map(|i| if i == 1 { name.to_string() } else { format!("{name}_{i}") });
        let name = names.into_iter().find(|name| layers.iter().all(|(other, _)| other != name)).unwrap_or_default();
        tensors.insert(format!("{name}.weight"), Tensor::from_f32([linear.out_features, 1], weight));
        tensors.insert(format!("{name}.bias"), Tensor::from_f32([linear.out_features], bias));
        layers.push((name, Op::Linear(linear)));
    };
    let last = network.layers().iter().rev().find(|layer| !matches!(layer.op, Op::Dropout | Op::Softmax));
    if !last.is_some_and(|layer| layer.op.gives_probabilities()) {
        append("sigmoid", Linear::new(1).activation(Activation::Sigmoid), [vec![1.0], vec![0.0]]);
    }
    append("prob", Linear::new(2), [vec![-1.0, 1.0], vec![1.0, 0.0]]);
    let network =
        Network::new(network.name(), network.input(), layers).map_err(|e| WeightsError::Unrecognised(e.to_string()))?;
    why += "; its one output is taken for two classes, its sigmoid being the second's probability";
    Ok(Recognised { network, tensors, why, doubt })
}

/// Removes metadata under this project's keys that another program wrote, and returns their names.
fn passed_over(metadata: &mut BTreeMap<String, String>) -> Vec<String> {
    let foreign = |key: &str, note: &str| match key {
        key::NETWORK => true,
        key::PREPROCESSING => known::<Preprocessing>(note).is_err(),
        key::LABELS => known::<Vec<String>>(note).is_err(),
        _ => false,
    };
    let keys = [key::NETWORK, key::PREPROCESSING, key::LABELS];
    let found = keys.into_iter().filter(|key| metadata.get(*key).is_some_and(|note| foreign(key, note)));
    let found: Vec<&str> = found.collect();
    found.iter().for_each(|key| drop(metadata.remove(*key)));
    found.into_iter().map(|key| format!("`{key}`")).collect()
}

fn from_json<T: Serialize + DeserializeOwned>(key: &str, json: &str, expected: &str) -> Result<T, WeightsError> {
    known(json).map_err(|reason| metadata(key, expected, json, Some(reason)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::Resize;

    #[test]
    fn keys_that_mean_nothing_are_refused() {
        let model = Model::embedded().unwrap();
        let own = serde_json::to_string(&model.preprocessing).unwrap();
        let own = own.replacen("\"mean\"", "\"means\":[0,0,0],\"mean\"", 1);
        assert!(own.parse::<GivenPreprocessing>().unwrap_err().to_string().contains("`means` means nothing here"));
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
                let given =
                    ModelOptions { preprocessing: Some(GivenPreprocessing::Torchvision), ..ModelOptions::default() };
                assert_eq!(open(&given).preprocessing.resize, Resize::ShorterSide(256));
            }
        }
    }
}
