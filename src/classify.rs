//! Classification of images: an image in, labels out.

use crate::{
    gpu::Gpu,
    model::Model,
    picture::{Picture, Preprocessing, PreprocessingError},
    runtime::{Pipeline, PipelineError, RunError, TopEntry},
};

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the class.
    pub index: usize,
    /// The label of the class.
    pub label: String,
    /// The network's output for the class: a probability where the network ends in a softmax.
    pub probability: f32,
}

/// A model on a device that classifies images.
#[derive(Debug)]
pub struct Classifier {
    pipeline: Pipeline,
    preprocessing: Preprocessing,
    labels: Vec<String>,
}

impl Classifier {
    /// Loads `model` onto `gpu`. [`Classifier::classify`] will return the `top` most likely classes.
    ///
    /// # Errors
    ///
    /// As [`crate::PipelineBuilder::build`].
    pub fn new(gpu: &Gpu, model: &Model, top: usize) -> Result<Self, PipelineError> {
        let pipeline = Pipeline::builder(gpu, &model.network, &model.weights).top(top).build()?;
        Ok(Self::from_pipeline(pipeline, model.preprocessing, model.labels.clone()))
    }

    /// Makes a classifier from a pipeline of any batch size and kernel configuration. `labels` are in index order.
    pub fn from_pipeline(pipeline: Pipeline, preprocessing: Preprocessing, labels: Vec<String>) -> Self {
        Self { pipeline, preprocessing, labels }
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
    pub fn preprocess(&self, picture: &Picture) -> Result<Vec<f32>, ClassifyError> {
        Ok(self.preprocessing.apply(picture)?)
    }

    /// Returns the most likely classes of `picture`, most likely first.
    ///
    /// # Errors
    ///
    /// [`ClassifyError`] when the picture cannot be preprocessed or the device does not finish.
    pub async fn classify(&self, picture: &Picture) -> Result<Vec<Prediction>, ClassifyError> {
        let mut predictions = self.classify_input(&self.preprocess(picture)?).await?;
        Ok(predictions.pop().unwrap_or_default())
    }

    /// Returns the most likely classes of each image of a preprocessed batch (N·CHW).
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    pub async fn classify_input(&self, input: &[f32]) -> Result<Vec<Vec<Prediction>>, ClassifyError> {
        Ok(self.predictions(self.pipeline.run_top(input).await?))
    }

    /// Blocking form of [`Classifier::classify`].
    ///
    /// # Errors
    ///
    /// As [`Classifier::classify`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn classify_blocking(&self, picture: &Picture) -> Result<Vec<Prediction>, ClassifyError> {
        let mut predictions = self.classify_input_blocking(&self.preprocess(picture)?)?;
        Ok(predictions.pop().unwrap_or_default())
    }

    /// Blocking form of [`Classifier::classify_input`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn classify_input_blocking(&self, input: &[f32]) -> Result<Vec<Vec<Prediction>>, ClassifyError> {
        Ok(self.predictions(self.pipeline.run_top_blocking(input)?))
    }

    /// The entries of each image, with their labels.
    fn predictions(&self, top: Vec<Vec<TopEntry>>) -> Vec<Vec<Prediction>> {
        let prediction = |entry: &TopEntry| {
            let index = entry.index as usize;
            let label = self.labels.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
            Prediction { index, label, probability: entry.value }
        };
        top.iter().map(|entries| entries.iter().map(prediction).collect()).collect()
    }
}

/// An image that could not be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The picture cannot be preprocessed.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
