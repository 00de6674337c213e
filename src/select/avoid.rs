//! Kernels chosen where some are blocked.

use std::iter;

use super::{Blocklist, kernel_config, kernel_configs};
use crate::{
    kernels::{Algorithm, KernelConfig},
    network::{Layer, Network},
    program::Algorithms,
};

/// The kernel configuration that suits an adapter best of those that are not blocked, if any.
pub(crate) fn allowed_config(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    blocklist: &Blocklist,
) -> Option<KernelConfig> {
    let best = kernel_config(info, features);
    let mut others = kernel_configs(info, features);
    // Where the choice is between a family and a storage, the family matters more.
    others.sort_by_key(|config| (config.family != best.family, config.storage != best.storage));
    iter::once(best).chain(others).find(|&config| !blocklist.blocks(config))
}

/// How `layer` is computed best in `config` of what is not blocked.
pub(crate) fn allowed_algorithm(config: KernelConfig, layer: &Layer, batch: usize, blocklist: &Blocklist) -> Algorithm {
    match layer.algorithm(config, batch) {
        best if best != Algorithm::Direct && blocklist.blocks_algorithm(config, best) => Algorithm::Direct,
        best => best,
    }
}

/// Has those layers computed directly that are not in `algorithms` and whose best algorithm is blocked in `config`.
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
