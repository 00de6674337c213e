//! What is trained: a network, its first weights, and the features before it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use alexnet_wgpu::{
    AlexNet, Layer, Linear, Model, ModelOptions, Network, Op, Preprocessing, Resize, Shape, Tensor, Variant, Weights,
    WeightsError,
    train::{head, initial_weights},
};

use super::{Args, Plan, Recipe, data::Data};
use crate::{
    failure::{Failure, chain},
    network::{NetworkArg, NetworkArgs},
    options::ModelArgs,
};

/// The network that is trained, and what comes before it.
pub struct Task {
    /// The network that is trained.
    pub network: Network,
    /// Its first weights.
    pub weights: Weights,
    /// The features that it gets in place of pictures, and their network.
    pub trunk: Option<Model>,
    pub preprocessing: Preprocessing,
    /// The number of its first layers that keep their weights.
    frozen: usize,
}

impl Task {
    pub fn new(args: &Args, plan: &Plan, labels: &[String]) -> Result<Self, Failure> {
        let given = args.weights.as_ref().map(|weights| open(weights, args)).transpose()?;
        let mut task = match (args.recipe, given) {
            (Recipe::Finetune, given) => Self::head(args, plan, labels.len(), given)?,
            (_, Some(given)) => Self::whole(args, plan, labels, given)?,
            (_, None) => Self::random(args, plan, labels.len())?,
        };
        task.preprocess(args)?;
        task.frozen = task.up_to(args.freeze.as_deref())?;
        Ok(task)
    }

    /// Fully connected layers on the features of a model, or of ImageNet's.
    fn head(args: &Args, plan: &Plan, classes: usize, given: Option<Model>) -> Result<Self, Failure> {
        let trunk = match given {
            Some(model) => model.features().map_err(|error| Failure::usage(chain(&error)))?,
            None => imagenet(args)?,
        };
        let hidden: Vec<usize> = args.hidden.iter().copied().filter(|&outputs| outputs > 0).collect();
        let network = head(trunk.network.output(), &hidden, classes)?;
        let weights = initial_weights(&network, plan.init, args.seed);
        let preprocessing = trunk.preprocessing;
        Ok(Self { network, weights, trunk: Some(trunk), preprocessing, frozen: 0 })
    }

    /// All layers of a model, the last one anew if the classes are others.
    fn whole(args: &Args, plan: &Plan, labels: &[String], model: Model) -> Result<Self, Failure> {
        let network = with_classes(&model.network, labels.len())?;
        let mut weights = initial_weights(&network, plan.init, args.seed);
        let last = last_linear(&network).map(|layer| format!("{layer}.")).unwrap_or_default();
        let is_same = model.labels == labels;
        for (name, _) in network.parameters() {
            if is_same || !name.starts_with(&last) {
                let tensor = model.weights.tensor(&name)?.clone();
                weights.insert(name, tensor);
            }
        }
        Ok(Self { network, weights, trunk: None, preprocessing: model.preprocessing, frozen: 0 })
    }

    /// A network with random weights.
    fn random(args: &Args, plan: &Plan, classes: usize) -> Result<Self, Failure> {
        let (network, preprocessing) = match args.network.as_ref().unwrap_or(&NetworkArg::Named(Variant::Ungrouped)) {
            NetworkArg::Named(variant) => named(args, *variant, classes)?,
            file => {
                let network = with_classes(&file.network()?, classes)?;
                let network = match args.size {
                    Some(side) => sized(&network, side)?,
                    None => network,
                };
                let Shape { height, width, .. } = network.input();
                let preprocessing = Preprocessing::torchvision(224).resize(Resize::Warp([height, width]));
                (network, preprocessing.cropped(height, width))
            }
        };
        let channels = network.input().channels;
        if channels != preprocessing.channels.count() {
            return Err(Failure::usage(format!("expected a network for pictures of 3 channels, found {channels}")));
        }
        let mut weights = initial_weights(&network, plan.init, args.seed);
        if plan.ones != 0.0 {
            for layer in ["conv2", "conv4", "conv5", "fc6", "fc7"] {
                let name = format!("{layer}.bias");
                if let Some(bias) = weights.get(&name) {
                    let shape = bias.shape().to_vec();
                    let ones = vec![plan.ones; shape[0]];
                    weights.insert(name, Tensor::from_f32(shape, ones));
                }
            }
        }
        Ok(Self { network, weights, trunk: None, preprocessing, frozen: 0 })
    }

    /// Takes the preprocessing of the arguments, if there is one, in place of the network's own. Weights of a file have it already.
    fn preprocess(&mut self, args: &Args) -> Result<(), Failure> {
        let Some(given) = args.preprocessing.given()?.filter(|_| args.weights.is_none()) else { return Ok(()) };
        let (network, weights) = match &self.trunk {
            Some(trunk) => (trunk.network.clone(), trunk.weights.clone()),
            None => (self.network.clone(), self.weights.clone()),
        };
        let options = ModelOptions::default().network(network).preprocessing(given);
        let fail = |error: WeightsError| Failure::usage(chain(&error));
        self.preprocessing = Model::from_weights(weights, &options).map_err(fail)?.preprocessing;
        if let Some(trunk) = &mut self.trunk {
            trunk.preprocessing = self.preprocessing;
        }
        Ok(())
    }

    /// The number of layers up to the one called `last`; 0 where it is one of the trunk.
    fn up_to(&self, last: Option<&str>) -> Result<usize, Failure> {
        let Some(last) = last else { return Ok(0) };
        if self.trunk.as_ref().is_some_and(|trunk| trunk.network.layer(last).is_ok()) {
            return Ok(0);
        }
        let network = self.network.up_to(last).map_err(|error| Failure::usage(format!("--freeze: {error}")))?;
        Ok(network.layers().len())
    }

    /// The layers that keep their weights.
    pub fn frozen(&self) -> &[Layer] {
        &self.network.layers()[..self.frozen]
    }

    /// The whole network with these weights of the trained one.
    pub fn model(&self, trained: &Weights, labels: &[String]) -> Result<Model, Failure> {
        let labels = labels.to_vec();
        Ok(match &self.trunk {
            Some(trunk) => trunk.with_head(&self.network, trained, labels)?,
            None => {
                let weights = trained.of_network(&self.network)?;
                Model::new(self.network.clone(), weights, self.preprocessing, labels)?
            }
        })
    }

    /// The number of parameters that are trained.
    pub fn parameters(&self) -> usize {
        let trained =
            self.network.layers()[self.frozen..].iter().filter(|layer| matches!(layer.op, Op::Conv(_) | Op::Linear(_)));
        trained.flat_map(Layer::parameters).map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    pub fn describe(&self, args: &Args, plan: &Plan, data: &Data) -> Result<ExitCode, Failure> {
        let parameters = self.parameters();
        let steps = data.training.len().div_ceil(plan.batch) as u64;
        let convolutions = self.network.layers().iter().filter(|layer| matches!(layer.op, Op::Conv(_))).count();
        let what = if convolutions == 0 { "layers on ImageNet's features" } else { "a whole network" };
        let told = format!(
            "{what}: {parameters} parameters; {} epochs of {steps} steps of {} pictures; the model would be in {}",
            plan.epochs,
            plan.batch,
            args.out().display()
        );
        writeln!(io::stdout(), "{told}").map_err(Failure::output)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The model of the file or the fetched weights that --weights names.
fn open(weights: &Path, args: &Args) -> Result<Model, Failure> {
    let network = NetworkArgs::of(args.network.clone());
    let model = ModelArgs::new(Some(weights.to_path_buf()), network, args.preprocessing.clone());
    let opened = model.open(None)?;
    model.warn(&opened, true);
    Ok(opened)
}

/// The built-in features, for pictures of the options' size.
fn imagenet(args: &Args) -> Result<Model, Failure> {
    let trunk = Model::imagenet_trunk()?;
    let Some(side) = args.size.filter(|&side| side != trunk.network.input().width) else { return Ok(trunk) };
    let network = sized(&trunk.network, side)?;
    let preprocessing = sized_preprocessing(trunk.preprocessing, trunk.network.input().width, side);
    Ok(Model::new(network, trunk.weights, preprocessing, vec![])?)
}

/// The name of the last fully connected layer, if nothing but a softmax or dropout follows it.
fn last_linear(network: &Network) -> Option<&str> {
    let mut layers = network.layers().iter().rev();
    let last = layers.find(|layer| !matches!(layer.op, Op::Softmax | Op::Dropout))?;
    matches!(last.op, Op::Linear(_)).then_some(&last.name)
}

/// The network with so many outputs of its last fully connected layer.
fn with_classes(network: &Network, classes: usize) -> Result<Network, Failure> {
    let Some(last) = last_linear(network) else {
        return Err(Failure::usage("expected a network that ends in a fully connected layer, found another one"));
    };
    let layers = network.layers().iter().map(|layer| match layer.op {
        Op::Linear(linear) if layer.name == last => {
            (layer.name.clone(), Op::Linear(Linear::new(classes).activation(linear.activation)))
        }
        op => (layer.name.clone(), op),
    });
    Ok(Network::new(network.name(), network.input(), layers)?)
}

/// The network for pictures of another size.
fn sized(network: &Network, side: usize) -> Result<Network, Failure> {
    let input = Shape::new(network.input().channels, side, side);
    network.with_input(input).map_err(|error| Failure::usage(format!("--size {side}: {error}")))
}

/// An AlexNet of the options' width and size, and the preprocessing for it.
fn named(args: &Args, variant: Variant, classes: usize) -> Result<(Network, Preprocessing), Failure> {
    let scaled = |n: usize| ((n as f64 * args.width).round() as usize).max(1);
    let alexnet = variant.standard().width(args.width).classes(classes);
    let alexnet = AlexNet { head: alexnet.head.map(scaled), ..alexnet };
    let (network, preprocessing) = (alexnet.network()?, variant.preprocessing());
    match args.size.filter(|side| *side != variant.input_size()) {
        None => Ok((network, preprocessing)),
        Some(side) => Ok((sized(&network, side)?, sized_preprocessing(preprocessing, variant.input_size(), side))),
    }
}

/// A preprocessing that shows as much of a picture at one size as at the published one.
fn sized_preprocessing(preprocessing: Preprocessing, published: usize, side: usize) -> Preprocessing {
    let shorter = (side * 256).div_ceil(published);
    preprocessing.resize(Resize::ShorterSide(shorter)).cropped(side, side)
}
