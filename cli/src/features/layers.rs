//! The layers that are asked for, and the network that ends in the last of them.

use std::fmt::{self, Display, Formatter};

use alexnet_wgpu::{Activation, BatchNorm, Layer, Model, Network, Op, Tensor, Weights};

use crate::failure::Failure;

/// What is added to a layer's name for its values before the activation function.
const BEFORE: &str = ":pre";

/// The layers to read, in the order in which they were named.
#[derive(Debug)]
pub struct Layers {
    /// The model's network up to the last layer to read. A layer that is read before its activation function is two of it.
    pub network: Network,
    /// What this network needs of the model's weights.
    pub weights: Weights,
    pub wanted: Vec<Wanted>,
}

/// A layer to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its name, with [`BEFORE`] where it is read before its activation function.
    pub name: String,
    /// Its dimensions for one picture.
    pub dims: Vec<usize>,
}

impl Wanted {
    /// The number of its values for one picture.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

/// The layers with their dimensions for one picture, as in "pool5 (256 × 6 × 6)".
impl Display for Layers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.wanted.iter().enumerate() {
            let dims: Vec<String> = layer.dims.iter().map(usize::to_string).collect();
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} ({})", layer.name, dims.join(" × "))?;
        }
        Ok(())
    }
}

impl Layers {
    /// The layers of these names.
    pub fn new(model: &Model, names: &[String]) -> Result<Self, Failure> {
        let mut places = Vec::new();
        for name in names {
            if names.iter().filter(|other| *other == name).count() > 1 {
                return Err(Failure::usage(format!("expected each layer once, found {name} twice")));
            }
            places.push(place(&model.network, name)?);
        }
        let last = places.iter().map(|&(place, _)| place).max().unwrap_or(0);
        let (mut layers, mut weights) = (Vec::new(), Weights::default());
        for (place, layer) in model.network.layers()[..=last].iter().enumerate() {
            let tensors = layer.parameters().map(|(name, _)| Ok((name.clone(), model.weights.tensor(&name)?.clone())));
            let tensors: Vec<(String, Tensor)> = tensors.collect::<Result<_, Failure>>()?;
            if !places.contains(&(place, true)) {
                layers.push((layer.name.clone(), layer.op));
                tensors.into_iter().for_each(|(name, tensor)| drop(weights.insert(name, tensor)));
                continue;
            }
            let before = format!("{}{BEFORE}", layer.name);
            for (name, tensor) in tensors {
                let parameter = name.strip_prefix(&layer.name).unwrap_or(&name);
                weights.insert(format!("{before}{parameter}"), tensor);
            }
            layers.push((before, with_activation(layer.op, Activation::None)));
            if place < last || places.contains(&(place, false)) {
                // Nothing but the activation function.
                layers.push((layer.name.clone(), Op::BatchNorm(BatchNorm::new(0.0).activation(layer.op.activation()))));
                let channels = layer.output.channels;
                for (parameter, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]
                {
                    let tensor = Tensor::from_f32([channels], vec![value; channels]);
                    weights.insert(format!("{}.{parameter}", layer.name), tensor);
                }
            }
        }
        let network = Network::new(model.network.name(), model.network.input(), layers)?;
        let wanted = |name: &String| Ok(Wanted { name: name.clone(), dims: network.layer(name)?.output_dims() });
        let wanted = names.iter().map(wanted).collect::<Result<_, Failure>>()?;
        Ok(Self { network, weights, wanted })
    }

    /// The names of the layers to read.
    pub fn names(&self) -> Vec<&str> {
        self.wanted.iter().map(|wanted| wanted.name.as_str()).collect()
    }

    /// The number of values for one picture, of all layers.
    pub fn width(&self) -> usize {
        self.wanted.iter().map(Wanted::len).sum()
    }
}

/// Which layer a name means, and whether it means its values before the activation function.
fn place(network: &Network, name: &str) -> Result<(usize, bool), Failure> {
    let position = |layer: &Layer| network.layers().iter().position(|other| other.name == layer.name).unwrap_or(0);
    if let Ok(layer) = network.layer(name) {
        return Ok((position(layer), false));
    }
    let Some(plain) = name.strip_suffix(BEFORE) else {
        return Err(network.layer(name).map_or_else(Failure::usage, |_| Failure::usage(name)));
    };
    let layer = network.layer(plain).map_err(Failure::usage)?;
    if layer.op.activation() == Activation::None {
        return Err(Failure::usage(format!("layer {plain} has no activation function: leave out {BEFORE}")));
    }
    Ok((position(layer), true))
}

/// The operation with another activation function, where it can have one.
fn with_activation(op: Op, activation: Activation) -> Op {
    match op {
        Op::Conv(conv) => Op::Conv(conv.activation(activation)),
        Op::Linear(linear) => Op::Linear(linear.activation(activation)),
        Op::BatchNorm(norm) => Op::BatchNorm(norm.activation(activation)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use alexnet_wgpu::{AlexNet, ModelOptions, reference, splitmix};

    use super::*;

    #[test]
    fn layers_before_their_activation_lead_to_the_same_as_ever() {
        let network = AlexNet::CAFFE.width(0.05).head(6, 5).classes(4).network().unwrap();
        let weights = Weights::random(&network, 3);
        let model = Model::from_weights(weights, &ModelOptions::default().network(network)).unwrap();
        let names = ["fc7", "conv2:pre", "fc6:pre", "conv2", "fc8", "pool5"].map(String::from);
        let layers = Layers::new(&model, &names).unwrap();
        assert_eq!(layers.names(), names.each_ref().map(String::as_str));
        assert!(layers.network.layer("fc6").is_ok() && layers.network.layer("prob").is_err());
        let dims: Vec<&[usize]> = layers.wanted.iter().map(|wanted| &wanted.dims[..]).collect();
        assert_eq!((dims[0], dims[2], dims[1]), (&[5][..], &[6][..], &layers.wanted[3].dims[..]));

        let input: Vec<f64> =
            splitmix::uniform(5, model.network.input().len(), 2.0).into_iter().map(f64::from).collect();
        let run = |network: &Network, weights: &Weights| reference::run(network, weights, &input).unwrap();
        let (all, parts) = (run(&model.network, &model.weights), run(&layers.network, &layers.weights));
        let of = |network: &Network, values: &[Vec<f64>], name: &str| {
            values[network.layers().iter().position(|layer| layer.name == name).unwrap()].clone()
        };
        let whole = |name: &str| of(&model.network, &all, name);
        let part = |name: &str| of(&layers.network, &parts, name);
        for name in ["conv1", "conv2", "pool5", "fc6", "fc7", "fc8"] {
            assert_eq!(whole(name), part(name), "{name}");
        }
        for name in ["conv2", "fc6"] {
            let before = part(&format!("{name}:pre"));
            assert!(before.iter().any(|&value| value < 0.0));
            assert_eq!(before.iter().map(|value| value.max(0.0)).collect::<Vec<_>>(), whole(name));
        }
        // The last layer is computed without its activation function where nothing needs that.
        let layers = Layers::new(&model, &["fc6:pre".into()]).unwrap();
        assert_eq!(layers.network.layers().last().unwrap().name, "fc6:pre");

        for (names, message) in [
            (vec!["fc8:pre"], "layer fc8 has no activation function"),
            (vec!["pool5:pre"], "layer pool5 has no activation function"),
            (vec!["fc9"], "unknown layer `fc9`"),
            (vec!["fc9:pre"], "unknown layer `fc9`"),
            (vec!["fc7", "fc6", "fc7"], "found fc7 twice"),
        ] {
            let names: Vec<String> = names.into_iter().map(String::from).collect();
            let Err(Failure::Usage(error)) = Layers::new(&model, &names) else { panic!("{names:?}") };
            assert!(error.contains(message), "{error}");
        }
    }
}
