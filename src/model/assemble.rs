//! A model of the parts of a file: its network, preprocessing and labels, each from the file, the caller or a guess.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Model, ModelOptions, Origin,
    alexnet::{Variant, imagenet_labels},
    fold::fold_batch_norms,
    formats::{File, Format, Graph, Notes},
    notes::{beginning, is_network, key, known, metadata},
    options::CALLER,
    recognise::{self, Recognised},
};
use crate::{
    activation::Activation,
    layers::{Linear, Op},
    network::Network,
    picture::{Preprocessing, PreprocessingError},
    shape::Shape,
    weights::{Tensor, Weights, WeightsError},
};

impl Model {
    pub(super) fn from_file(file: File, options: &ModelOptions) -> Result<Self, WeightsError> {
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

    pub(super) fn from_tensors(
        format: Option<Format>,
        weights: Weights,
        notes: Notes,
        options: &ModelOptions,
    ) -> Result<Self, WeightsError> {
        let Weights { mut tensors, mut metadata } = weights;
        tensors.retain(|name, _| !name.starts_with(Self::TRAINING));
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
                        "{what}; and the note `network` says `{name}`, which is neither an AlexNet's name nor a network \
                         as JSON"
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
                    let why = "the whole picture scaled to the input, with torchvision's mean and deviation, as the \
                               file is silent and the input's size is none of the AlexNets'";
                    (Preprocessing::torchvision(input.height).whole(input), why.into())
                }
                (_, 1) if usual => (Preprocessing::plain(input), "grey of 0…1, as the file is silent".into()),
                (_, 1) => {
                    let why = "the whole picture scaled to the input, grey of 0…1, as the file is silent and the \
                               input's size is none of the AlexNets'";
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
