//! The two halves of fine-tuning: a model's features, and a model of features and a head that was trained on them.

use super::Model;
use crate::{
    layers::Op,
    network::Network,
    weights::{Weights, WeightsError},
};

impl Model {
    /// Makes the model that ends before the first fully connected layer. It has no labels: its output is what a head is trained on
    /// ([`train::head`](crate::train::head)), and [`Model::with_head`] puts both together.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NoFeatures`] where the network begins with a fully connected layer.
    pub fn features(&self) -> Result<Self, WeightsError> {
        let layers = self.network.layers();
        let first = layers.iter().position(|layer| matches!(layer.op, Op::Linear(_))).unwrap_or(layers.len());
        // What comes before may be dropout.
        let last = layers[..first].iter().rev().find(|layer| layer.op != Op::Dropout);
        let Some(last) = last else {
            return Err(WeightsError::NoFeatures { network: self.network.name().into() });
        };
        let network = self.network.up_to(&last.name)?;
        let weights = self.weights.of_network(&network)?;
        Self::new(network, weights, self.preprocessing, vec![])
    }

    /// Makes the model of this one's layers and those of `head`, which takes their output; `trained` has the head's parameters.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when the head does not take this model's output, a name stands for two layers, or `trained` lacks a
    /// parameter.
    pub fn with_head(&self, head: &Network, trained: &Weights, labels: Vec<String>) -> Result<Self, WeightsError> {
        let layers = self.network.layers().iter().chain(head.layers());
        let layers = layers.map(|layer| (layer.name.clone(), layer.op));
        let network = Network::new("finetuned", self.network.input(), layers)?;
        let mut weights = self.weights.clone();
        weights.extend(trained.of_network(head)?);
        Self::new(network, weights, self.preprocessing, labels)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::{
        layers::{Conv, Linear},
        picture::Preprocessing,
        shape::Shape,
        train::{Init, head, initial_weights},
    };

    fn model(network: Network) -> Model {
        let weights = initial_weights(&network, Init::Torch, 1);
        Model::new(network, weights, Preprocessing::torchvision(8), vec![]).unwrap()
    }

    #[test]
    fn a_head_takes_the_place_of_the_fully_connected_layers() {
        let network = Network::builder("small", Shape::new(3, 8, 8))
            .conv("conv1", Conv::new(4, 3).relu())
            .dropout("drop2")
            .linear("fc2", Linear::new(7))
            .build()
            .unwrap();
        let features = model(network).features().unwrap();
        assert_eq!(features.network.output(), Shape::new(4, 6, 6));
        assert_eq!(features.weights.iter().count(), 2);

        let head = head(features.network.output(), &[5], 2).unwrap();
        let trained = initial_weights(&head, Init::Torch, 2);
        let whole = features.with_head(&head, &trained, vec!["a".into(), "b".into()]).unwrap();
        assert_eq!(whole.network.output(), Shape::vector(2));
        assert!(whole.network.gives_probabilities());
        let values = |weights: &Weights| weights.tensor("fc6.weight").unwrap().to_f32().to_vec();
        assert_eq!(values(&whole.weights), values(&trained));
        // Its own features are those that it was made of.
        assert_eq!(whole.features().unwrap().network.layers(), features.network.layers());
        assert!(features.with_head(&head, &features.weights, vec![]).is_err());
        let labels = features.with_head(&head, &trained, vec!["a".into()]);
        assert!(matches!(labels, Err(WeightsError::Labels { expected: 2, found: 1 })));
    }

    #[test]
    fn a_network_without_features_is_an_error() {
        let network = Network::builder("dense", Shape::new(3, 8, 8)).linear("fc1", Linear::new(2)).build().unwrap();
        assert!(matches!(model(network).features(), Err(WeightsError::NoFeatures { .. })));
    }
}
