//! Which kernels run on which adapter. One table, measured: PERFORMANCE.md has the figures.

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

/// Workgroups of 64 threads that a large GPU runs at once and then some; fewer leave parts of it idle.
const ENOUGH_WORKGROUPS: usize = 512;

/// How `layer` is computed best in `style`.
pub(super) fn algorithm(style: Style, layer: &Layer, batch: usize) -> Algorithm {
    let Op::Conv(conv) = layer.op else { return Algorithm::Direct };
    let Window { kernel, stride, .. } = conv.window;
    let strided = stride != [1, 1];
    match (style.family, kernel) {
        // A first layer's large kernel is a 3×3 of cells; any other strided convolution is computed directly.
        (Family::Broadcast { lanes }, _) if strided && (lanes == 4 || batch >= 4) => Algorithm::Winograd { tile: 4 },
        (Family::Broadcast { .. }, [5, 5]) => Algorithm::Winograd { tile: 4 },
        // SwiftShader, with four lanes and slow arithmetic: fewer multiplications pay for more passes and memory. On
        // lavapipe the passes over the activations cost what the products save.
        (Family::Broadcast { lanes: 4 }, [3, 3]) => Algorithm::Winograd { tile: 4 },
        // From a few pictures on the products are large enough to pay for the passes, and for 20 MB of larger weights.
        (Family::Broadcast { .. }, [3, 3]) if batch >= 4 => Algorithm::Winograd { tile: 3 },
        (Family::Broadcast { .. }, _) => Algorithm::Direct,
        (Family::Tiled, _) => {
            let workgroups = Gemm::conv(&conv, layer.input, layer.output, batch).workgroups(style);
            match ENOUGH_WORKGROUPS / workgroups.max(1) {
                0 | 1 => Algorithm::Direct,
                parts => Algorithm::SplitK { parts: parts.min(8) },
            }
        }
    }
}

/// Every algorithm that may suit `layer` in `style`, for measuring.
pub(super) fn algorithms(style: Style, layer: &Layer, rows_layout: Option<RowsLayout>) -> Vec<Algorithm> {
    let Op::Conv(conv) = layer.op else { return vec![Algorithm::Direct] };
    let winograd = [2, 3, 4]
        .into_iter()
        .filter(|&tile| Winograd::new(&conv, layer.input, layer.output, 1, tile, rows_layout).is_some())
        .map(|tile| Algorithm::Winograd { tile });
    let split =
        [2, 4, 8].map(|parts| Algorithm::SplitK { parts }).into_iter().filter(|_| style.family == Family::Tiled);
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
