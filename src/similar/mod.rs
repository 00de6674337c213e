//! Look-alikes: a vector of features for each picture, and exact search among them.

mod extractor;
mod pooling;
mod search;

use serde::{Deserialize, Serialize};

pub use extractor::FeatureExtractor;
pub use pooling::Pooling;
pub use search::{Neighbour, nearest, similar_pairs};

use crate::{
    network::{Network, NetworkError},
    runtime::PipelineError,
    shape::Shape,
    weights::WeightsError,
};

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

/// The features that stand for a picture: for each channel of some layers, a number, or one for each band of rows.
///
/// A layer's numbers are scaled to length 1, the vectors of all layers are put one after the other, and the result is scaled
/// to length 1 again. The cosine of two pictures is then the mean of the layers' cosines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FeatureSpec {
    /// The layers, in the order of the vector.
    pub layers: Vec<PooledLayer>,
    /// The number of bands of rows that a map is cut into, from top to bottom, each of which becomes a number: 1 to
    /// [`FeatureSpec::MAX_BANDS`]. Bands over the whole width tell above from below, and are much the same for a mirrored
    /// picture.
    #[serde(default = "one")]
    pub bands: usize,
    /// Takes the square root of every number first, so that a few strong channels do not decide alone. Negative numbers
    /// count as 0.
    #[serde(default)]
    pub root: bool,
}

impl FeatureSpec {
    /// The most bands of a map.
    pub const MAX_BANDS: usize = 64;

    /// Makes a specification of these layers.
    pub fn new(layers: impl IntoIterator<Item = PooledLayer>) -> Self {
        Self { layers: layers.into_iter().collect(), bands: 1, root: false }
    }

    /// Sets the number of bands of a map.
    pub fn bands(mut self, bands: usize) -> Self {
        self.bands = bands;
        self
    }

    /// Sets whether the square root of every number is taken.
    pub fn root(mut self, root: bool) -> Self {
        self.root = root;
        self
    }

    /// The network for [`FeatureSpec::default`]: [`crate::Model::imagenet_trunk`] for pictures that are scaled as a whole to
    /// 224×224, without a crop, so that nothing at their edges is lost.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "imagenet")]
    pub fn imagenet_model() -> Result<crate::Model, FeatureError> {
        let mut model = crate::Model::imagenet_trunk()?;
        model.preprocessing = model.preprocessing.whole(model.network.input());
        Ok(model)
    }

    fn check(&self) -> Result<(), FeatureError> {
        if self.layers.is_empty() {
            return Err(FeatureError::Spec("at least one layer, found none".into()));
        }
        if !(1..=Self::MAX_BANDS).contains(&self.bands) {
            return Err(FeatureError::Spec(format!("1 to {} bands, found {}", Self::MAX_BANDS, self.bands)));
        }
        match self.layers.iter().find(|layer| !layer.pooling.is_valid()) {
            Some(PooledLayer { layer, pooling }) => {
                Err(FeatureError::Spec(format!("an exponent of at least 1 for {layer}, found a {pooling}")))
            }
            None => Ok(()),
        }
    }

    /// Returns the length of a picture's vector.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] for a layer that the network lacks.
    pub fn dims(&self, network: &Network) -> Result<usize, NetworkError> {
        self.layers.iter().try_fold(0, |dims, pooled| {
            Ok(dims + self.bands.min(Self::MAX_BANDS) * network.layer(&pooled.layer)?.output.channels)
        })
    }

    /// Appends the vector of a picture, from the activation of each layer: its shape and CHW.
    fn describe<'a>(&self, layers: impl Iterator<Item = (Shape, &'a [f32])>, vector: &mut Vec<f32>) {
        let before = vector.len();
        for (pooled, (Shape { height, width, .. }, activation)) in self.layers.iter().zip(layers) {
            let start = vector.len();
            for map in activation.chunks_exact(height * width) {
                for band in 0..self.bands {
                    // Adjacent bands share a row where the height is not a multiple.
                    let rows = band * height / self.bands..((band + 1) * height).div_ceil(self.bands);
                    let value = pooled.pooling.pool(&map[rows.start * width..rows.end * width]);
                    vector.push(if self.root { value.max(0.0).sqrt() } else { value });
                }
            }
            normalise(&mut vector[start..]);
        }
        normalise(&mut vector[before..]);
    }
}

/// The features that find copies of pictures best; `docs/experiments.md` has the figures.
impl Default for FeatureSpec {
    fn default() -> Self {
        Self::new([PooledLayer::new("pool5", Pooling::Mean)]).bands(3).root(true)
    }
}

/// The bands of a specification that does not say.
fn one() -> usize {
    1
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
