//! Which kernels run on which adapter. One table, measured: docs/experiments.md has the figures.

use wgpu::{AdapterInfo, DeviceType, Features};

use crate::{
    gpu::{Gpu, subgroup_lanes},
    kernels::{Algorithm, Family, Gemm, RowsLayout, Storage, Style, Winograd},
    network::{Layer, Op, Window},
};

/// The style that suits an adapter best, on a device with `features`.
pub(super) fn style(info: &AdapterInfo, features: Features) -> Style {
    let tiled = Style { family: Family::Tiled, storage: Storage::Buffer };
    if info.device_type != DeviceType::Cpu {
        return tiled;
    }
    match subgroup_lanes(info, features) {
        Some(lanes @ (4 | 8 | 16)) => Style { family: Family::Broadcast { lanes }, storage: cpu_storage(info) },
        _ => tiled,
    }
}

/// lavapipe loads from storage buffers lane by lane (before Mesa 23) or with a check a lane, and works out a level for each
/// lane where a texture is sampled. SwiftShader loads lane by lane from both buffers and storage textures, and whole texels
/// from sampled ones.
fn cpu_storage(info: &AdapterInfo) -> Storage {
    if info.name.contains("SwiftShader") { Storage::Sampled } else { Storage::Texture }
}

/// Workgroups of a tiled product that a large GPU runs at once and then some; fewer leave parts of it idle.
const ENOUGH_WORKGROUPS: usize = 512;
/// The most parts that k is split in: powers of two, so that few kernels do for all layers.
const MOST_PARTS: usize = 16;
/// The most vec4s that the parts' sums may take for each picture: 4 MB.
const MOST_PARTS_QUADS: usize = 1 << 18;

/// How `layer` is computed best in `style`.
pub(super) fn algorithm(style: Style, layer: &Layer, batch: usize) -> Algorithm {
    let gemm = match layer.op {
        Op::Conv(conv) => match winograd_tile(style.family, conv.window, batch) {
            Some(tile) => return Algorithm::Winograd { tile },
            None => Gemm::conv(&conv, layer.input, layer.output, batch),
        },
        Op::Linear(linear) => Gemm::linear(&linear, layer.input, batch),
        _ => return Algorithm::Direct,
    };
    if style.family != Family::Tiled || gemm.is_matvec(style.family) {
        return Algorithm::Direct;
    }
    let fill = ENOUGH_WORKGROUPS / gemm.workgroups(style).max(1);
    let fit = MOST_PARTS_QUADS * batch / gemm.output_quads().max(1);
    match fill.min(fit).min(MOST_PARTS) {
        0 | 1 => Algorithm::Direct,
        parts => Algorithm::SplitK { parts: 1 << parts.ilog2() },
    }
}

/// Outputs along each side of a tile by which a convolution is quicker than directly.
fn winograd_tile(family: Family, window: Window, batch: usize) -> Option<usize> {
    // SwiftShader has four lanes and slow arithmetic, so that fewer multiplications pay for more passes and memory. Elsewhere
    // it takes a few pictures until the products are large enough to pay for the passes, and for larger weights.
    let pays = family == Family::Broadcast { lanes: 4 } || batch >= 4;
    let quicker = match (window.stride, window.kernel) {
        ([1, 1], [5, 5]) => true,
        ([1, 1], [3, 3]) => pays,
        ([1, 1], _) => false,
        // A first layer's large kernel is a 3×3 of cells; any other strided convolution is computed directly.
        _ => pays,
    };
    quicker.then_some(4)
}

/// Every algorithm that may suit `layer` in `style`, for measuring.
pub(super) fn algorithms(style: Style, layer: &Layer, rows_layout: Option<RowsLayout>) -> Vec<Algorithm> {
    let Op::Conv(conv) = layer.op else { return vec![Algorithm::Direct] };
    let winograd = [2, 3, 4]
        .into_iter()
        .filter(|&tile| Winograd::new(&conv, layer.input, layer.output, 1, tile, rows_layout).is_some())
        .map(|tile| Algorithm::Winograd { tile });
    let split =
        [2, 4, 8, 16].map(|parts| Algorithm::SplitK { parts }).into_iter().filter(|_| style.family == Family::Tiled);
    [Algorithm::Direct].into_iter().chain(winograd).chain(split).collect()
}

/// Why `gpu` cannot run `style`, if so.
pub(super) fn refusal(gpu: &Gpu, style: Style) -> Option<String> {
    let Family::Broadcast { lanes } = style.family else { return None };
    if !gpu.device().features().contains(Features::SUBGROUP) {
        return Some("the device was made without the subgroup feature".into());
    }
    if !matches!(lanes, 4 | 8 | 16) {
        return Some(format!("expected 4, 8 or 16 lanes, found {lanes}"));
    }
    let least = gpu.info().subgroup_min_size;
    (least < lanes).then(|| format!("expected subgroups of at least {lanes} lanes, found {least}"))
}
