//! Training: a network's backward pass, optimisers, and what they need.

mod error;
mod optimizer;
mod program;
mod random;
mod report;
#[cfg(test)]
mod tests;
mod trainer;

pub use error::TrainError;
pub use optimizer::{Optimizer, SgdForm};
pub(crate) use program::without_softmax;
pub use random::{Init, initial_weights};
pub use report::{ImageResult, PendingReport, StepReport};
pub use trainer::{Trainer, TrainerBuilder, TrainerState};
