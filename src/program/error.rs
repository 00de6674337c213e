use super::MAX_BATCH;
use crate::{shape::MAX_WEIGHT, weights::WeightsError};

/// A network that cannot be lowered to dispatches, or weights that cannot be packed for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The batch is empty or too large.
    #[error("expected a batch of 1 to {MAX_BATCH} images, found {found}: split the images")]
    Batch {
        /// The batch asked for.
        found: usize,
    },
    /// A piece of weights that cannot be split further is larger than a binding.
    #[error(
        "layer `{layer}` needs {needed} bytes of weights at once, a binding has at most {limit}: use another adapter"
    )]
    WeightBlock {
        /// The layer.
        layer: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes that a binding may have.
        limit: u64,
    },
    /// A dispatch has more workgroups than a device can count.
    #[error("layer `{layer}` takes {found} workgroups, a dispatch has at most 4294836225: use a smaller batch")]
    Workgroups {
        /// The layer.
        layer: String,
        /// Workgroups of its dispatch.
        found: u128,
    },
    /// The weights of a layer, with the zeros that its kernel needs between them, are more than is sensible.
    #[error(
        "layer `{layer}` takes {found} numbers of packed weights, expected at most {MAX_WEIGHT}: use another kernel configuration or algorithm"
    )]
    PackedWeights {
        /// The layer.
        layer: String,
        /// Numbers of its packed weights.
        found: usize,
    },
    /// A weight is beyond the largest half.
    #[error("layer `{layer}` has a weight of {value}, f16 holds at most 65504: use f32 or int8")]
    Overflow {
        /// The layer.
        layer: String,
        /// The weight.
        value: f32,
    },
    /// The weights are not those of the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
