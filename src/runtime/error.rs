//! Errors of pipelines and their runs.

use crate::{
    gpu::Shortfall, network::NetworkError, program::ProgramError, select::Blocklist, shape::Shape,
    weights::WeightsError,
};

/// A pipeline that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The weights do not belong to the network.
    #[error(transparent)]
    Tensors(#[from] WeightsError),
    /// The network cannot be lowered to dispatches, or its weights cannot be packed.
    #[error(transparent)]
    Program(ProgramError),
    /// The adapter cannot run the requested kernels.
    #[error("these kernels do not run on this adapter: {reason}; leave the choice to the library")]
    KernelConfig {
        /// The reason.
        reason: String,
    },
    /// No layer has the name given to [`PipelineBuilder::keep`](crate::PipelineBuilder::keep) or
    /// [`PipelineBuilder::algorithm`](crate::PipelineBuilder::algorithm).
    #[error(transparent)]
    Layer(#[from] NetworkError),
    /// The device was made without features or limits that the network needs.
    #[error(
        "{device} is too small for this network: expected {}; request it when creating the device \
         (`Pipeline::required_features`, `required_limits`), or use a smaller batch",
        features.iter_names().map(|(name, _)| format!("the feature {name}"))
            .chain(shortfalls.iter().map(ToString::to_string)).collect::<Vec<_>>().join("; ")
    )]
    Requirements {
        /// The name of the device's adapter.
        device: String,
        /// Every feature that the device lacks.
        features: wgpu::Features,
        /// Every limit of the device that is too low.
        shortfalls: Vec<Shortfall>,
    },
    /// Every kernel configuration that could run is blocked.
    #[error("every kernel configuration for this adapter is blocked ({blocklist}): block fewer variants")]
    Blocked {
        /// The blocklist.
        blocklist: Blocklist,
    },
    /// A shader does not compile on this adapter.
    #[error("kernel `{kernel}` does not compile on this adapter: {reason}; please report it with the adapter's name")]
    Shader {
        /// The kernel.
        kernel: String,
        /// The compiler's message.
        reason: String,
    },
    /// The device has too little memory.
    #[error("the device has too little memory for this network and batch: {0}; use a smaller batch")]
    OutOfMemory(String),
    /// The driver reported an error.
    #[error(
        "the device refused to build the network: {0}; if it is not lost, please report it with the adapter's name"
    )]
    Device(String),
}

impl From<ProgramError> for PipelineError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Weights(error) => Self::Tensors(error),
            other => Self::Program(other),
        }
    }
}

impl From<wgpu::Error> for PipelineError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(error.to_string()),
            other => Self::Device(other.to_string()),
        }
    }
}

/// A run that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input has the wrong length.
    #[error("expected an input of {expected} numbers (batch × channels × height × width), found {found}")]
    Input {
        /// Number of values in the batch.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// No layer has this name.
    #[error(transparent)]
    Layer(#[from] NetworkError),
    /// The network does not end in a vector, so there are no largest outputs.
    #[error("expected a network that ends in a vector, found an output of {output}: read its layers instead")]
    NotAVector {
        /// The output's shape.
        output: Shape,
    },
    /// The outputs are NaN.
    #[error("the network's output is not a number (NaN): check the input and the weights for very large values")]
    NotANumber,
    /// All tickets are open.
    #[error("all {tickets} tickets are open: take or drop an older one first, or build with more `tickets`")]
    Busy {
        /// The number of tickets.
        tickets: usize,
    },
    /// The command buffer that the ticket was recorded into was dropped.
    #[error("the run was recorded but never submitted: submit the encoder that `Pipeline::ticket` was given")]
    NotSubmitted,
    /// The device has too little memory for the run's buffers.
    #[error(
        "the device has too little memory for this run: {0}; read fewer layers at once, free other memory of the device, or \
         build with a smaller batch"
    )]
    OutOfMemory(String),
    /// The device was lost, or reported an error. On a new device, [`Pipeline::rebuild`](crate::Pipeline::rebuild) makes the
    /// same pipeline.
    #[error("the device did not finish: {0}; it may be lost: try again on a new one")]
    Device(String),
}

impl From<wgpu::Error> for RunError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(error.to_string()),
            other => Self::Device(other.to_string()),
        }
    }
}
