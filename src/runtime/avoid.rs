//! Kernel selection under a blocklist.

use std::iter;

use super::PipelineError;
use crate::{
    gpu::Gpu,
    kernels::{Algorithm, Arithmetic, Family, KernelConfig},
    network::{Layer, Network},
    program::Algorithms,
    select::{Blocklist, kernel_config, kernel_configs},
};

/// The best kernel configuration for the adapter and `arithmetic` that is not blocked.
pub(crate) fn allowed_config(
    gpu: &Gpu,
    blocklist: &Blocklist,
    arithmetic: Arithmetic,
) -> Result<KernelConfig, PipelineError> {
    let (info, features) = (gpu.info(), gpu.device().features());
    let best = kernel_config(info, features);
    let mut others = kernel_configs(info, features);
    // The family matters more than the storage.
    others.sort_by_key(|config| (config.family != best.family, config.storage != best.storage));
    let fast = match arithmetic {
        Arithmetic::Exact => None,
        Arithmetic::Fast => gpu.matrix_config(),
    };
    let allowed = fast.into_iter().chain(iter::once(best)).chain(others).find(|&config| !blocklist.blocks(config));
    allowed.ok_or_else(|| PipelineError::Blocked { blocklist: blocklist.clone() })
}

/// `given`, or the best kernel configuration, for a program with a backward pass. Broadcast kernels of four lanes have none:
/// tiled ones stand in for them, and for cooperative matrices.
pub(crate) fn backward_config(gpu: &Gpu, given: Option<KernelConfig>) -> Result<KernelConfig, PipelineError> {
    let blocklist = gpu.blocklist();
    let given = given.map_or_else(|| allowed_config(gpu, blocklist, Arithmetic::Exact), Ok)?;
    if let Some(reason) = gpu.refusal(given) {
        return Err(PipelineError::KernelConfig { reason });
    }
    let mut config = given.exact();
    if config.family == (Family::SubgroupBroadcast { lanes: 4 }) {
        config.family = Family::WorkgroupTiled;
        if blocklist.blocks(config) {
            return Err(PipelineError::Blocked { blocklist: blocklist.clone() });
        }
    }
    Ok(config)
}

/// The best algorithm for `layer` in `config` that is not blocked.
pub(crate) fn allowed_algorithm(config: KernelConfig, layer: &Layer, batch: usize, blocklist: &Blocklist) -> Algorithm {
    match layer.algorithm(config, batch) {
        best if best != Algorithm::Direct && blocklist.blocks_algorithm(config, best) => Algorithm::Direct,
        best => best,
    }
}

/// Chooses the direct algorithm for layers that are not in `algorithms` and whose best algorithm is blocked in
/// `config`.
pub(crate) fn avoid_algorithms(
    network: &Network,
    config: KernelConfig,
    batch: usize,
    blocklist: &Blocklist,
    algorithms: &mut Algorithms,
) {
    for layer in network.layers() {
        let allowed = allowed_algorithm(config, layer, batch, blocklist);
        if allowed != layer.algorithm(config, batch) {
            algorithms.entry(layer.name.clone()).or_insert(allowed);
        }
    }
}
