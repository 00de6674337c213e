//! A picture in, labels out.

use crate::{
    gpu::Gpu,
    model::Model,
    picture::{Picture, Preprocessing, PreprocessingError},
    runtime::{Pipeline, PipelineError, RunError, TopEntry},
};

/// A class and how likely it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the class.
    pub index: usize,
    /// What the class is called.
    pub label: String,
    /// The network's output for it: a probability where the network ends in a softmax.
    pub probability: f32,
}

/// A model on a device that takes pictures.
#[derive(Debug)]
pub struct Classifier {
    pipeline: Pipeline,
    preprocessing: Preprocessing,
    labels: Vec<String>,
}

impl Classifier {
    /// Puts `model` on `gpu`; [`Classifier::classify`] will give the `top` most likely classes.
    ///
    /// # Errors
    ///
    /// As [`crate::PipelineBuilder::build`].
    pub fn new(gpu: &Gpu, model: &Model, top: usize) -> Result<Self, PipelineError> {
        let pipeline = Pipeline::builder(gpu, &model.network, &model.weights).top(top).build()?;
        Ok(Self::from_pipeline(pipeline, model.preprocessing, model.labels.clone()))
    }

    /// A classifier around a pipeline of any batch and kernel configuration. `labels` are in index order.
    pub fn from_pipeline(pipeline: Pipeline, preprocessing: Preprocessing, labels: Vec<String>) -> Self {
        Self { pipeline, preprocessing, labels }
    }

    /// The pipeline underneath.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The network's input for `picture`: CHW.
    ///
    /// # Errors
    ///
    /// As [`Preprocessing::apply`].
    pub fn preprocess(&self, picture: &Picture) -> Result<Vec<f32>, ClassifyError> {
        Ok(self.preprocessing.apply(picture)?)
    }

    /// The most likely classes of `picture`, most likely first.
    ///
    /// # Errors
    ///
    /// [`ClassifyError`] when the picture cannot be preprocessed or the device does not finish.
    pub async fn classify(&self, picture: &Picture) -> Result<Vec<Prediction>, ClassifyError> {
        let mut predictions = self.classify_input(&self.preprocess(picture)?).await?;
        Ok(predictions.pop().unwrap_or_default())
    }

    /// The most likely classes of each picture of a batch that is preprocessed already (N·CHW).
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    pub async fn classify_input(&self, input: &[f32]) -> Result<Vec<Vec<Prediction>>, ClassifyError> {
        Ok(self.predictions(self.pipeline.run_top(input).await?))
    }

    /// [`Classifier::classify`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Classifier::classify`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn classify_blocking(&self, picture: &Picture) -> Result<Vec<Prediction>, ClassifyError> {
        let mut predictions = self.classify_input_blocking(&self.preprocess(picture)?)?;
        Ok(predictions.pop().unwrap_or_default())
    }

    /// [`Classifier::classify_input`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn classify_input_blocking(&self, input: &[f32]) -> Result<Vec<Vec<Prediction>>, ClassifyError> {
        Ok(self.predictions(self.pipeline.run_top_blocking(input)?))
    }

    /// The entries of each picture with their labels.
    fn predictions(&self, top: Vec<Vec<TopEntry>>) -> Vec<Vec<Prediction>> {
        let prediction = |entry: &TopEntry| {
            let index = entry.index as usize;
            let label = self.labels.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
            Prediction { index, label, probability: entry.value }
        };
        top.iter().map(|entries| entries.iter().map(prediction).collect()).collect()
    }
}

/// A picture that was not classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The picture cannot be preprocessed.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The device did not finish.
    #[error(transparent)]
    Run(#[from] RunError),
}
