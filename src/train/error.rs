use crate::{
    program::ProgramError,
    runtime::{PipelineError, RunError},
    weights::WeightsError,
};

/// A network that cannot be trained, or a step that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// An option is out of its range.
    #[error("expected {expected}")]
    Option {
        /// What was expected and found.
        expected: String,
    },
    /// Images and classes do not fit each other or the network.
    #[error("expected {expected}, found {found}")]
    Images {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A checkpoint is of another training.
    #[error("the checkpoint does not fit this training: expected {expected}, found {found}")]
    State {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The device cannot train the network.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The device did not finish.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The weights do not belong to the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl From<ProgramError> for TrainError {
    fn from(error: ProgramError) -> Self {
        Self::Pipeline(error.into())
    }
}
