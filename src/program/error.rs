use super::MAX_BATCH;
use crate::{shape::MAX_WEIGHT, weights::WeightsError};

/// A network that cannot be lowered to dispatches, or weights that cannot be packed for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The batch is empty or too large.
    #[error("expected a batch of 1 to {MAX_BATCH} images, found {found}: split the images")]
    Batch {
        /// The requested batch size.
        found: usize,
    },
    /// The smallest piece into which weights can be split exceeds a binding.
    #[error(
        "layer `{layer}` needs {needed} bytes of weights at once, a binding has at most {limit}: use another adapter"
    )]
    WeightBlock {
        /// The layer.
        layer: String,
        /// Bytes needed.
        needed: u64,
        /// The maximum size of a binding, in bytes.
        limit: u64,
    },
    /// A dispatch exceeds the maximum number of workgroups.
    #[error("layer `{layer}` takes {found} workgroups, a dispatch has at most 4294836225: use a smaller batch")]
    Workgroups {
        /// The layer.
        layer: String,
        /// The workgroup count of its dispatch.
        found: u128,
    },
    /// The packed weights of a layer, with the zeros that pad them for its kernel, exceed the size limit.
    #[error(
        "layer `{layer}` takes {found} numbers of packed weights, expected at most {MAX_WEIGHT}: use another kernel configuration or algorithm"
    )]
    PackedWeights {
        /// The layer.
        layer: String,
        /// The number of values in its packed weights.
        found: usize,
    },
    /// A weight exceeds the range of f16.
    #[error("layer `{layer}` has a weight of {value}, f16 holds at most 65504: use f32 or int8")]
    Overflow {
        /// The layer.
        layer: String,
        /// The weight.
        value: f32,
    },
    /// A layer that cannot be trained.
    #[error("layer `{layer}` cannot be trained: {reason}")]
    Untrainable {
        /// The layer.
        layer: String,
        /// Why not.
        reason: String,
    },
    /// The weights do not belong to the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
