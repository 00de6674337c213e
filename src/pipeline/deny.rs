//! Kernels chosen where some are denied.

use std::iter;

use super::{Algorithms, PipelineError, choice};
use crate::{
    deny::Denials,
    gpu::Gpu,
    kernels::{Algorithm, Style},
    network::{Layer, Network},
};

/// The style that suits `gpu` best of those that are not denied.
pub(super) fn style(gpu: &Gpu, denials: &Denials) -> Result<Style, PipelineError> {
    let best = choice::style(gpu.info(), gpu.device().features());
    let mut others = gpu.styles();
    // Where the choice is between a family and a storage, the family matters more.
    others.sort_by_key(|style| (style.family != best.family, style.storage != best.storage));
    iter::once(best)
        .chain(others)
        .find(|&style| !denials.style(style))
        .ok_or_else(|| PipelineError::Denied { denials: denials.clone() })
}

/// How `layer` is computed best in `style` of what is not denied.
pub(super) fn algorithm(style: Style, layer: &Layer, batch: usize, denials: &Denials) -> Algorithm {
    match choice::algorithm(style, layer, batch) {
        best if best != Algorithm::Direct && denials.algorithm(style, best) => Algorithm::Direct,
        best => best,
    }
}

/// Has those layers computed directly that are not in `algorithms` and whose best algorithm is denied in `style`.
pub(super) fn algorithms(
    network: &Network,
    style: Style,
    batch: usize,
    denials: &Denials,
    algorithms: &mut Algorithms,
) {
    for layer in network.layers() {
        let allowed = algorithm(style, layer, batch, denials);
        if allowed != choice::algorithm(style, layer, batch) {
            algorithms.entry(layer.name.clone()).or_insert(allowed);
        }
    }
}
