//! The kernels of a variant.

use std::collections::BTreeSet;

use super::KernelVariant;
use crate::{
    kernels::Kernel,
    lower::Inference,
    network::Network,
    program::{Algorithms, Options, QUAD},
};

/// The kernels that compute `network` in `variant`; empty where it exceeds WebGPU's default limits.
pub(crate) fn kernels(network: &Network, variant: KernelVariant) -> BTreeSet<Kernel> {
    let KernelVariant { config, algorithm, precision, batch } = variant;
    let algorithms: Algorithms = network.layers().iter().map(|l| (l.name.clone(), algorithm)).collect();
    let limit = wgpu::Limits::default().max_storage_buffer_binding_size / QUAD;
    let options = Options { config, batch, precision, algorithms: &algorithms, limit, top: 0 };
    let dispatches = Inference::lower(network, options).map(|inference| inference.program.dispatches);
    dispatches.unwrap_or_default().into_iter().map(|dispatch| dispatch.kernel).collect()
}
