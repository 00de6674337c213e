//! Training: a network's backward pass, optimisers, and what they need.
//!
//! A [`Trainer`] holds a network's parameters on a device and takes steps ([`Trainer::step`]) without waiting for it: reports come
//! later. It trains every network of this library's layers that ends in a vector of classes; the parameters of batch
//! normalisations stay as they are. [`reference::gradients`](crate::reference::gradients) computes the same gradients in f64.

#[cfg(not(target_arch = "wasm32"))]
mod blocking;
#[cfg(not(target_arch = "wasm32"))]
mod dead;
mod error;
mod head;
mod optimizer;
mod program;
mod random;
mod report;
#[cfg(test)]
pub(crate) mod samples;
mod schedule;
#[cfg(test)]
mod tests;
mod trainer;

#[cfg(not(target_arch = "wasm32"))]
pub use dead::DeadChannels;
pub use error::TrainError;
pub use head::head;
pub use optimizer::{Optimizer, SgdForm};
pub(crate) use program::without_softmax;
#[cfg(test)]
pub(crate) use program::{Place, TrainingOptions, TrainingProgram};
pub use random::{Init, initial_weights};
pub use report::{ImageResult, PassTime, PendingReport, StepReport};
pub use schedule::{Schedule, shuffled};
pub use trainer::{Trainer, TrainerBuilder, TrainerState};
