//! Results of steps, which come later than the steps are taken.

use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::{RunError, Ticket};

/// The result of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageResult {
    /// The cross-entropy, −ln of the probability of the image's class.
    pub loss: f32,
    /// The most likely class.
    pub predicted: usize,
    /// The probability of the image's class.
    pub probability: f32,
    /// The image's class.
    pub class: usize,
}

/// The results of a step, or of an evaluation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The number of the step, from 1; 0 for an evaluation.
    pub step: u64,
    /// The learning rate.
    pub rate: f32,
    /// The mean cross-entropy.
    pub loss: f64,
    /// The number of images whose most likely class is theirs.
    pub correct: usize,
    /// Each image, in order.
    pub images: Vec<ImageResult>,
}

/// The time of a layer in a pass, on the device.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PassTime {
    /// `forward`, `loss`, `backward` or `update`.
    pub pass: &'static str,
    /// The layer's name.
    pub layer: String,
    /// A short description of its first kernel.
    pub kernel: String,
    /// Milliseconds, for the images that are computed at once.
    pub ms: f64,
}

/// The results of a step under way. They come as the device is polled or as further steps are submitted.
#[derive(Debug)]
#[must_use = "the report is thrown away with it"]
pub struct PendingReport {
    pub(super) step: u64,
    pub(super) rate: f32,
    pub(super) classes: Vec<usize>,
    pub(super) images: Vec<ImageResult>,
    /// Of each pass, in order.
    pub(super) passes: Vec<Pass>,
}

/// The results of a pass, once they are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass(Arc<Mutex<Option<Found>>>);

/// Of each image: loss, most likely class, probability of its class, weight.
type Found = Result<Vec<[f32; 4]>, RunError>;

impl Pass {
    /// Takes the results from `ticket` when they come, so that its buffer is free again.
    pub fn new(ticket: Ticket<Vec<[f32; 4]>>) -> Self {
        let this = Self::default();
        let Self(results) = this.clone();
        ticket.on_ready(move |found| *results.lock().unwrap_or_else(PoisonError::into_inner) = Some(found));
        this
    }

    fn take(&self) -> Option<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PendingReport {
    pub(super) fn new(step: u64, rate: f32, classes: &[usize]) -> Self {
        Self { step, rate, classes: classes.into(), images: vec![], passes: vec![] }
    }

    /// Returns the report if it has arrived, without waiting; `None` before it arrives and after it was taken.
    pub fn poll(&mut self) -> Option<Result<StepReport, RunError>> {
        while let Some(pass) = self.passes.first() {
            match pass.take()? {
                Ok(results) => self.add(results),
                Err(error) => {
                    self.passes.clear();
                    return Some(Err(error));
                }
            }
            self.passes.remove(0);
        }
        let images = std::mem::take(&mut self.images);
        if images.is_empty() {
            return None;
        }
        let loss = images.iter().map(|image| f64::from(image.loss)).sum::<f64>() / images.len() as f64;
        let correct = images.iter().filter(|image| image.predicted == image.class).count();
        Some(Ok(StepReport { step: self.step, rate: self.rate, loss, correct, images }))
    }

    fn add(&mut self, results: Vec<[f32; 4]>) {
        for [loss, predicted, probability, _] in results {
            // Results past the last image are of none.
            let Some(&class) = self.classes.get(self.images.len()) else { break };
            self.images.push(ImageResult { loss, predicted: predicted as usize, probability, class });
        }
    }
}
