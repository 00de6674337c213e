//! Features of pictures, computed on a device.

use super::{FeatureError, FeatureSpec};
use crate::{
    gpu::Gpu,
    model::Model,
    picture::{Picture, Preprocessing, PreprocessingError},
    runtime::{Pipeline, RunError},
    shape::Shape,
};

/// Computes a vector for each picture on a device: look-alikes have vectors with a large cosine.
///
/// ```
/// # #[cfg(feature = "imagenet")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use alexnet_wgpu::{FeatureExtractor, Gpu, GpuOptions, Picture, nearest};
///
/// let extractor = FeatureExtractor::imagenet(&Gpu::open_blocking(&GpuOptions::default())?, 2)?;
/// let stripes = |width: u32, shade: u8| {
///     let rgb = (0..3 * 64 * 64).map(|i| if i / 3 / width % 2 == 0 { shade } else { 0 }).collect();
///     Picture::from_rgb8(64, 64, rgb)
/// };
/// let inputs = [extractor.preprocess(&stripes(3, 200)?)?, extractor.preprocess(&stripes(20, 200)?)?].concat();
/// let vectors = extractor.extract_blocking(&inputs)?;
/// let query = extractor.extract_blocking(&extractor.preprocess(&stripes(20, 180)?)?)?;
/// assert_eq!(nearest(&query, &vectors, 1)[0].index, 1);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "imagenet"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct FeatureExtractor {
    pipeline: Pipeline,
    preprocessing: Preprocessing,
    spec: FeatureSpec,
    /// The shape of each layer of `spec`.
    shapes: Vec<Shape>,
}

impl FeatureExtractor {
    /// Loads the layers of `model` that `spec` needs onto `gpu`, for runs of up to `batch` pictures.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Spec`] for a specification without layers or with an invalid exponent, [`FeatureError::Network`] for a
    /// layer that the network lacks, and those of [`crate::PipelineBuilder::build`].
    pub fn new(gpu: &Gpu, model: &Model, spec: &FeatureSpec, batch: usize) -> Result<Self, FeatureError> {
        spec.check()?;
        let mut last = 0;
        let mut shapes = Vec::new();
        for pooled in &spec.layers {
            let place = model.network.position(&pooled.layer)?;
            last = last.max(place);
            shapes.push(model.network.layers()[place].output);
        }
        let network = model.network.up_to(&model.network.layers()[last].name)?;
        let weights = model.weights.of_network(&network)?;
        let pipeline = Pipeline::builder(gpu, &network, &weights).batch(batch).build()?;
        Ok(Self { pipeline, preprocessing: model.preprocessing, spec: spec.clone(), shapes })
    }

    /// Loads the features that were chosen for finding copies: [`FeatureSpec::default`] of [`FeatureSpec::imagenet_model`].
    ///
    /// # Errors
    ///
    /// As [`FeatureExtractor::new`].
    #[cfg(feature = "imagenet")]
    pub fn imagenet(gpu: &Gpu, batch: usize) -> Result<Self, FeatureError> {
        Self::new(gpu, &FeatureSpec::imagenet_model()?, &FeatureSpec::default(), batch)
    }

    /// Returns the length of a picture's vector.
    pub fn dims(&self) -> usize {
        self.shapes.iter().map(|shape| self.spec.bands * shape.channels).sum()
    }

    /// Returns the features that are computed.
    pub fn spec(&self) -> &FeatureSpec {
        &self.spec
    }

    /// Returns the underlying pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Converts `picture` to the network's input: CHW.
    ///
    /// # Errors
    ///
    /// As [`Preprocessing::apply`].
    pub fn preprocess(&self, picture: &Picture) -> Result<Vec<f32>, PreprocessingError> {
        self.preprocessing.apply(picture)
    }

    /// Computes the vectors of one or more preprocessed pictures (N·CHW), up to the batch: N vectors of
    /// [`FeatureExtractor::dims`] numbers, each of length 1.
    ///
    /// # Errors
    ///
    /// [`RunError::Input`] when `inputs` is not one to `batch` pictures, [`RunError::NotANumber`] when an activation is
    /// not finite, and otherwise as [`Pipeline::run_layers`].
    pub async fn extract(&self, inputs: &[f32]) -> Result<Vec<f32>, RunError> {
        let (count, padded) = self.padded(inputs)?;
        let layers = self.pipeline.run_layers(&padded, &self.names()).await?;
        self.vectors(count, &layers)
    }

    /// Blocking form of [`FeatureExtractor::extract`].
    ///
    /// # Errors
    ///
    /// As [`FeatureExtractor::extract`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn extract_blocking(&self, inputs: &[f32]) -> Result<Vec<f32>, RunError> {
        let (count, padded) = self.padded(inputs)?;
        let layers = self.pipeline.run_layers_blocking(&padded, &self.names())?;
        self.vectors(count, &layers)
    }

    fn names(&self) -> Vec<&str> {
        self.spec.layers.iter().map(|pooled| pooled.layer.as_str()).collect()
    }

    /// The number of pictures, and a whole batch of them.
    fn padded(&self, inputs: &[f32]) -> Result<(usize, Vec<f32>), RunError> {
        let (one, batch) = (self.pipeline.network().input().len(), self.pipeline.batch());
        let count = inputs.len() / one;
        if !inputs.len().is_multiple_of(one) || !(1..=batch).contains(&count) {
            return Err(RunError::Input { expected: one * batch, found: inputs.len() });
        }
        let mut padded = Vec::with_capacity(one * batch);
        padded.extend_from_slice(inputs);
        padded.resize(one * batch, 0.0);
        Ok((count, padded))
    }

    /// The vectors of the first `count` pictures.
    fn vectors(&self, count: usize, layers: &[Vec<f32>]) -> Result<Vec<f32>, RunError> {
        let mut vectors = Vec::with_capacity(count * self.dims());
        for index in 0..count {
            let of_picture = self.shapes.iter().zip(layers);
            let of_picture = of_picture.map(|(shape, values)| (*shape, &values[index * shape.len()..][..shape.len()]));
            let before = vectors.len();
            self.spec.describe(of_picture, &mut vectors);
            if vectors[before..].iter().any(|value| !value.is_finite()) {
                return Err(RunError::NotANumber);
            }
        }
        Ok(vectors)
    }
}
