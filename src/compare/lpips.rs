//! LPIPS's definition: the trunk of a network, the layers that are compared, and the weight of each channel.

use std::sync::Arc;

use super::CompareError;
use crate::{
    model::{AlexNet, Model},
    network::{Layer, Network},
    picture::Preprocessing,
    program::{ArrayId, Numbers, Program},
    weights::{Weights, WeightsError},
};

/// The learned perceptual metric LPIPS, version 0.1, with AlexNet's features: a trunk and the weight of each of its channels.
///
/// Zhang, Isola, Efros, Shechtman, Wang 2018, "The unreasonable effectiveness of deep features as a perceptual metric".
#[derive(Clone, Debug)]
pub struct Lpips {
    /// conv1 to conv5.
    pub(super) network: Network,
    pub(super) preprocessing: Preprocessing,
    /// The network's tensors and `lpips1.weight` to `lpips5.weight`.
    pub(super) weights: Weights,
    /// The layers whose outputs are compared, after their ReLU.
    pub(super) compared: [&'static str; 5],
}

impl Lpips {
    /// The layers whose outputs are compared.
    pub const LAYERS: [&'static str; 5] = ["conv1", "conv2", "conv3", "conv4", "conv5"];

    /// Reads the weights of the crate `alexnet-weights`.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "imagenet")]
    pub fn imagenet() -> Result<Self, CompareError> {
        Self::from_weights(&Weights::from_bytes(alexnet_weights::IMAGENET_TRUNK)?)
    }

    /// Makes the metric with weights that have both, under the names of the crate `alexnet-weights`: a program may keep its file
    /// apart and read it when it compares.
    ///
    /// # Errors
    ///
    /// [`CompareError::Weights`] when a tensor of the trunk is missing, [`CompareError::Channels`] when one of the channels is.
    pub fn from_weights(weights: &Weights) -> Result<Self, CompareError> {
        Self::from_tensors(weights, weights)
    }

    /// Makes the metric with a model's features and the weights of their channels.
    ///
    /// `trunk` is torchvision's AlexNet trained on ImageNet, whole or up to conv5. `channels` has the weights under the names
    /// of the PyTorch package `lpips` (`lin0.model.1.weight` to `lin4.model.1.weight`, its file `alex.pth`) or as
    /// `lpips1.weight` to `lpips5.weight`.
    ///
    /// # Errors
    ///
    /// [`CompareError::Trunk`] when the model is another network, [`CompareError::Channels`] when a tensor is missing or has
    /// another length, or a negative weight.
    pub fn new(trunk: &Model, channels: &Weights) -> Result<Self, CompareError> {
        let network = trunk_network()?;
        let layers = |network: &Network| -> Vec<Layer> {
            network.layers().iter().filter(|layer| !layer.op.operation().is_identity()).cloned().collect()
        };
        let (ours, theirs) = (layers(&network), layers(&trunk.network));
        let same = theirs.len() >= ours.len() && ours.iter().zip(&theirs).all(|(ours, theirs)| ours.op == theirs.op);
        if !same {
            return Err(CompareError::Trunk { found: trunk.network.name().into() });
        }
        // A file may call the layers otherwise.
        let mut weights = Weights::default();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for ((name, _), (source, _)) in ours.parameters().zip(theirs.parameters()) {
                weights.tensors.insert(name, trunk.weights.tensor(&source)?.clone());
            }
        }
        Self::from_tensors(&weights, channels)
    }

    /// The same metric with a model's features; see [`Lpips::new`].
    ///
    /// # Errors
    ///
    /// [`CompareError::Trunk`].
    pub fn with_trunk(&self, trunk: &Model) -> Result<Self, CompareError> {
        Self::new(trunk, &self.weights)
    }

    /// The same metric with other weights of the channels; see [`Lpips::new`].
    ///
    /// # Errors
    ///
    /// [`CompareError::Channels`].
    pub fn with_channels(&self, channels: &Weights) -> Result<Self, CompareError> {
        Self::from_tensors(&self.weights, channels)
    }

    /// Random weights.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    pub(crate) fn random(seed: u64) -> Self {
        use crate::weights::{Tensor, splitmix};
        let network = trunk_network().unwrap();
        let mut channels = Weights::default();
        for (index, layer) in (0..).zip(Self::LAYERS) {
            let count = network.layer(layer).unwrap().output.channels;
            let values = splitmix::uniform(seed + 100 + index, count, 0.1).iter().map(|v| v.abs()).collect();
            channels.tensors.insert(Self::tensor(index as usize), Tensor::from_f32([count], values));
        }
        Self::from_tensors(&Weights::random(&network, seed), &channels).unwrap()
    }

    /// The trunk's tensors, and the weights of the channels.
    #[cfg(test)]
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Returns whether these are weights of channels, for AlexNet or for another network.
    pub fn are_channel_weights(weights: &Weights) -> bool {
        Self::names(0).iter().any(|name| weights.tensors.contains_key(name))
    }

    /// The metric with the tensors of `trunk` that belong to the network, under its names.
    fn from_tensors(trunk: &Weights, channels: &Weights) -> Result<Self, CompareError> {
        let network = trunk_network()?;
        let mut weights = trunk.of_network(&network)?;
        for (index, layer) in Self::LAYERS.iter().enumerate() {
            let names = Self::names(index);
            let tensor = names.iter().find_map(|name| channels.tensors.get(name));
            let tensor = tensor.ok_or_else(|| CompareError::Channels {
                reason: format!("expected a tensor `{}` or `{}`, found neither", names[0], names[1]),
            })?;
            let (expected, found) = (network.layer(layer)?.output.channels, tensor.numbers().len());
            if expected != found {
                let reason = format!("expected {expected} weights of channels of {layer}, found {found}");
                return Err(CompareError::Channels { reason });
            }
            if let Some(value) = tensor.to_f32().iter().find(|value| !(0.0..f32::INFINITY).contains(*value)) {
                let reason = format!("expected weights of at least 0 for {layer}, found {value}");
                return Err(CompareError::Channels { reason });
            }
            weights.tensors.insert(Self::tensor(index), tensor.clone());
        }
        Ok(Self { preprocessing: Preprocessing::torchvision(224), network, weights, compared: Self::LAYERS })
    }

    /// The names that files have for the weights of a compared layer's channels.
    fn names(index: usize) -> [String; 2] {
        [format!("lin{index}.model.1.weight"), Self::tensor(index)]
    }

    /// The name of the weights of a compared layer's channels.
    fn tensor(index: usize) -> String {
        format!("lpips{}.weight", index + 1)
    }

    /// The weights of the channels of a compared layer.
    pub(super) fn channel_weights(weights: &Weights, index: usize) -> Result<Vec<f32>, WeightsError> {
        let name = Self::tensor(index);
        let tensor = weights.tensor(&name)?;
        Ok(tensor.finite(&name, tensor.numbers())?.to_vec())
    }

    /// Adds the array of these weights, padded with zeros to whole vec4s.
    pub(super) fn distance_weights(&self, program: &mut Program, index: usize, channels: usize) -> ArrayId {
        let quads = channels.div_ceil(4);
        let numbers: Numbers = Arc::new(move |weights| {
            let mut weights = Self::channel_weights(weights, index)?;
            weights.resize(4 * quads, 0.0);
            Ok(weights)
        });
        program.vector("channel weights", quads, numbers)
    }
}

/// torchvision's AlexNet up to conv5.
fn trunk_network() -> Result<Network, CompareError> {
    Ok(AlexNet::TORCHVISION.network()?.up_to("conv5")?)
}
