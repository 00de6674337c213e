//! What goes wrong with pipelines and their runs.

use crate::{
    gpu::Shortfall, network::NetworkError, program::ProgramError, select::Blocklist, shape::Shape,
    weights::WeightsError,
};

/// A pipeline that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The weights are not those of the network.
    #[error(transparent)]
    Tensors(#[from] WeightsError),
    /// The network cannot be lowered to dispatches, or its weights not be packed.
    #[error(transparent)]
    Program(ProgramError),
    /// The adapter cannot run the kernels asked for.
    #[error("these kernels do not run on this adapter: {reason}; leave the choice to the library")]
    KernelConfig {
        /// Why.
        reason: String,
    },
    /// There is no such layer to keep, or to compute by an algorithm.
    #[error(transparent)]
    Layer(#[from] NetworkError),
    /// The device was made without what the network needs.
    #[error(
        "{device} is too small for this network: expected {}; ask for it when making the device \
         (`Pipeline::required_features`, `required_limits`), or use a smaller batch",
        features.iter_names().map(|(name, _)| format!("the feature {name}"))
            .chain(shortfalls.iter().map(ToString::to_string)).collect::<Vec<_>>().join("; ")
    )]
    Requirements {
        /// The device, by its adapter's name.
        device: String,
        /// Every feature that the device lacks.
        features: wgpu::Features,
        /// Every limit of the device that is too low.
        shortfalls: Vec<Shortfall>,
    },
    /// Nothing is left that is not blocked.
    #[error("every kernel configuration that runs on this adapter is blocked ({blocklist}): block fewer variants")]
    Blocked {
        /// What is blocked.
        blocklist: Blocklist,
    },
    /// A shader does not compile on this adapter.
    #[error("kernel `{kernel}` does not compile on this adapter: {reason}; please report it with the adapter's name")]
    Shader {
        /// The kernel.
        kernel: String,
        /// What the compiler said.
        reason: String,
    },
    /// The device has too little memory.
    #[error("the device has too little memory for this network and batch: {0}; use a smaller batch")]
    OutOfMemory(String),
    /// The driver refused something.
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

/// A run that gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input has the wrong length.
    #[error("expected an input of {expected} numbers (batch × channels × height × width), found {found}")]
    Input {
        /// Numbers that the batch takes.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// There is no such layer.
    #[error(transparent)]
    Layer(#[from] NetworkError),
    /// The network's output has no largest entries.
    #[error("expected a network that ends in a vector, found an output of {output}: read its layers instead")]
    NotAVector {
        /// The output's shape.
        output: Shape,
    },
    /// The outputs are NaN.
    #[error("the network's outputs are not numbers: check the input and the weights for very large values")]
    NotANumber,
    /// All tickets are open.
    #[error("all {tickets} tickets are open: take or drop an older one first, or build with more `tickets`")]
    Busy {
        /// How many there are.
        tickets: usize,
    },
    /// The command buffer that a ticket was recorded into was dropped.
    #[error("the run was recorded but never submitted: submit the encoder that `Pipeline::ticket` was given")]
    NotSubmitted,
    /// The device has too little memory for what the run reads and writes.
    #[error(
        "the device has too little memory for this run: {0}; read fewer layers at once, free other memory of the device, or \
         build with a smaller batch"
    )]
    OutOfMemory(String),
    /// The device was lost or refused.
    #[error("the device did not finish: {0}; it may be lost, make one again and `Pipeline::rebuild` on it")]
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
