//! Kernels chosen where some are denied.

use std::iter;

use super::{Denials, style, styles};
use crate::{
    kernels::{Algorithm, Style},
    network::{Layer, Network},
    program::Algorithms,
};

/// The style that suits an adapter best of those that are not denied, if any.
pub(crate) fn allowed_style(info: &wgpu::AdapterInfo, features: wgpu::Features, denials: &Denials) -> Option<Style> {
    let best = style(info, features);
    let mut others = styles(info, features);
    // Where the choice is between a family and a storage, the family matters more.
    others.sort_by_key(|style| (style.family != best.family, style.storage != best.storage));
    iter::once(best).chain(others).find(|&style| !denials.style(style))
}

/// How `layer` is computed best in `style` of what is not denied.
pub(crate) fn allowed_algorithm(style: Style, layer: &Layer, batch: usize, denials: &Denials) -> Algorithm {
    match layer.algorithm(style, batch) {
        best if best != Algorithm::Direct && denials.algorithm(style, best) => Algorithm::Direct,
        best => best,
    }
}

/// Has those layers computed directly that are not in `algorithms` and whose best algorithm is denied in `style`.
pub(crate) fn avoid_algorithms(
    network: &Network,
    style: Style,
    batch: usize,
    denials: &Denials,
    algorithms: &mut Algorithms,
) {
    for layer in network.layers() {
        let allowed = allowed_algorithm(style, layer, batch, denials);
        if allowed != layer.algorithm(style, batch) {
            algorithms.entry(layer.name.clone()).or_insert(allowed);
        }
    }
}
