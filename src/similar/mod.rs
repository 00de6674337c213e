//! Look-alikes: a vector of features for each picture, and exact search among them.

mod extractor;
mod pooling;
mod search;

use serde::{Deserialize, Serialize};

pub use extractor::FeatureExtractor;
pub use pooling::Pooling;
pub use search::{Neighbour, nearest, similar_pairs};

use crate::{model::Model, network::NetworkError, runtime::PipelineError, weights::WeightsError};

/// A layer, and how each of its maps becomes a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PooledLayer {
    /// The layer's name.
    pub layer: String,
    /// The pooling of its maps.
    pub pooling: Pooling,
}

impl PooledLayer {
    /// Makes a pooled layer.
    pub fn new(layer: impl Into<String>, pooling: Pooling) -> Self {
        Self { layer: layer.into(), pooling }
    }
}

/// The features that stand for a picture: for each channel of some layers, a number.
///
/// A layer's numbers are scaled to length 1, the vectors of all layers are put one after the other, and the result is scaled
/// to length 1 again. The cosine of two pictures is then the mean of the layers' cosines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FeatureSpec {
    /// The layers, in the order of the vector.
    pub layers: Vec<PooledLayer>,
    /// Takes the square root of every number first, so that a few strong channels do not decide alone. Negative numbers
    /// count as 0.
    #[serde(default)]
    pub root: bool,
}

impl FeatureSpec {
    /// Makes a specification of these layers.
    pub fn new(layers: impl IntoIterator<Item = PooledLayer>) -> Self {
        Self { layers: layers.into_iter().collect(), root: false }
    }

    /// Sets whether the square root of every number is taken.
    pub fn root(mut self, root: bool) -> Self {
        self.root = root;
        self
    }

    /// The network for [`FeatureSpec::default`]: [`Model::imagenet_trunk`] for pictures that are scaled as a whole to 224×224,
    /// without a crop, so that nothing at their edges is lost.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "imagenet")]
    pub fn imagenet_model() -> Result<Model, FeatureError> {
        let mut model = Model::imagenet_trunk()?;
        model.preprocessing = model.preprocessing.whole(model.network.input());
        Ok(model)
    }

    fn check(&self) -> Result<(), FeatureError> {
        if self.layers.is_empty() {
            return Err(FeatureError::Spec("at least one layer, found none".into()));
        }
        match self.layers.iter().find(|layer| !layer.pooling.is_valid()) {
            Some(PooledLayer { layer, pooling }) => {
                Err(FeatureError::Spec(format!("an exponent of at least 1 for {layer}, found a {pooling}")))
            }
            None => Ok(()),
        }
    }

    /// Appends the vector of a picture, from the maps of each layer.
    fn describe<'a>(&self, layers: impl Iterator<Item = impl Iterator<Item = &'a [f32]>>, vector: &mut Vec<f32>) {
        let before = vector.len();
        for (pooled, maps) in self.layers.iter().zip(layers) {
            let start = vector.len();
            let number = |map| {
                let value = pooled.pooling.pool(map);
                if self.root { value.max(0.0).sqrt() } else { value }
            };
            vector.extend(maps.map(number));
            normalise(&mut vector[start..]);
        }
        normalise(&mut vector[before..]);
    }
}

/// The features that find copies of pictures best; `docs/experiments.md` has the figures.
impl Default for FeatureSpec {
    fn default() -> Self {
        Self::new([PooledLayer::new("conv5", Pooling::Mean)])
    }
}

/// Scales to length 1; zeros stay zeros.
fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

/// Features that cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The specification is invalid.
    #[error("the features: expected {0}")]
    Spec(String),
    /// The network lacks a layer.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The weights are missing or unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The device cannot run the network.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}
