//! Kernel selection under a blocklist.

use std::iter;

use crate::{
    kernels::{Algorithm, KernelConfig},
    network::{Layer, Network},
    program::Algorithms,
    select::{Blocklist, kernel_config, kernel_configs},
};

/// The best kernel configuration for an adapter that is not blocked, if any.
pub(crate) fn allowed_config(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    blocklist: &Blocklist,
) -> Option<KernelConfig> {
    let best = kernel_config(info, features);
    let mut others = kernel_configs(info, features);
    // The family matters more than the storage.
    others.sort_by_key(|config| (config.family != best.family, config.storage != best.storage));
    iter::once(best).chain(others).find(|&config| !blocklist.blocks(config))
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
