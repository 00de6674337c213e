//! Which kernels run on which adapter: what suits it best, and what its driver gets wrong. Measured: docs/experiments.md.

mod avoid;
mod blocklist;

use wgpu::{AdapterInfo, DeviceType, Features};

pub(crate) use avoid::{allowed_algorithm, allowed_config, avoid_algorithms};
pub use blocklist::{BlockedVariant, Blocklist, UnknownVariant};

use crate::{
    kernels::{Algorithm, Family, Gemm, KernelConfig, Storage},
    window::Window,
};

/// Lanes of a subgroup where their number is fixed and `features` have subgroups.
pub(crate) fn subgroup_lanes(info: &AdapterInfo, features: Features) -> Option<u32> {
    let fixed = info.subgroup_min_size == info.subgroup_max_size;
    (fixed && features.contains(Features::SUBGROUP)).then_some(info.subgroup_min_size)
}

/// Every kernel configuration that runs on a device with `features`; of those that broadcast, the one with the most lanes first.
pub(crate) fn kernel_configs(info: &AdapterInfo, features: Features) -> Vec<KernelConfig> {
    let subgroups = features.contains(Features::SUBGROUP);
    let lanes = [16, 8, 4].into_iter().filter(|&lanes| subgroups && lanes <= info.subgroup_min_size);
    let families = [Family::WorkgroupTiled].into_iter().chain(lanes.map(|lanes| Family::SubgroupBroadcast { lanes }));
    let all = |family| Storage::ALL.map(|storage| KernelConfig { family, storage });
    families.flat_map(all).collect()
}

/// The kernel configuration that suits an adapter best, on a device with `features`.
pub(crate) fn kernel_config(info: &AdapterInfo, features: Features) -> KernelConfig {
    let tiled = KernelConfig { family: Family::WorkgroupTiled, storage: Storage::StorageBuffer };
    if info.device_type != DeviceType::Cpu {
        return tiled;
    }
    match subgroup_lanes(info, features) {
        Some(lanes @ (4 | 8 | 16)) => {
            KernelConfig { family: Family::SubgroupBroadcast { lanes }, storage: cpu_storage(info) }
        }
        _ => tiled,
    }
}

/// lavapipe loads from storage buffers lane by lane (before Mesa 23) or with a check a lane, and works out a level for each
/// lane where a texture is sampled. SwiftShader loads lane by lane from both buffers and storage textures, and whole texels
/// from sampled ones.
fn cpu_storage(info: &AdapterInfo) -> Storage {
    if info.name.contains("SwiftShader") { Storage::SampledTexture } else { Storage::StorageTexture }
}

/// Workgroups of a tiled product that a large GPU runs at once and then some; fewer leave parts of it idle.
const ENOUGH_WORKGROUPS: usize = 512;
/// The most parts that k is split in: powers of two, so that few kernels do for all layers.
const MOST_PARTS: usize = 16;
/// The most vec4s that the parts' sums may take for each picture: 4 MB.
const MOST_PARTS_QUADS: usize = 1 << 18;

/// Into how many parts k of a product is split, where its tiles are too few to fill a GPU.
pub(crate) fn split(config: KernelConfig, gemm: &Gemm, batch: usize) -> Algorithm {
    if config.family != Family::WorkgroupTiled || gemm.is_matvec(config.family) {
        return Algorithm::Direct;
    }
    let fill = ENOUGH_WORKGROUPS / gemm.workgroups(config).max(1);
    let fit = MOST_PARTS_QUADS * batch / gemm.output_quads().max(1);
    match fill.min(fit).min(MOST_PARTS) {
        0 | 1 => Algorithm::Direct,
        parts => Algorithm::SplitK { parts: 1 << parts.ilog2() },
    }
}

/// Outputs along each side of a tile by which a convolution is quicker than directly.
pub(crate) fn winograd_tile(family: Family, window: Window, batch: usize) -> Option<usize> {
    // SwiftShader has four lanes and slow arithmetic, so that fewer multiplications pay for more passes and memory. Elsewhere
    // it takes a few pictures until the products are large enough to pay for the passes, and for larger weights.
    let pays = family == Family::SubgroupBroadcast { lanes: 4 } || batch >= 4;
    let quicker = match (window.stride, window.kernel) {
        _ if window.dilation != [1, 1] => false,
        ([1, 1], [5, 5]) => true,
        ([1, 1], [3, 3]) => pays,
        ([1, 1], _) => false,
        // A first layer's large kernel is a 3×3 of cells; any other strided convolution is computed directly.
        _ => pays,
    };
    quicker.then_some(4)
}

/// Why a device with `features` cannot run `config`, if so.
pub(crate) fn refusal(info: &AdapterInfo, features: Features, config: KernelConfig) -> Option<String> {
    let Family::SubgroupBroadcast { lanes } = config.family else { return None };
    if !features.contains(Features::SUBGROUP) {
        return Some("the device was made without the subgroup feature".into());
    }
    if !matches!(lanes, 4 | 8 | 16) {
        return Some(format!("expected 4, 8 or 16 lanes, found {lanes}"));
    }
    let least = info.subgroup_min_size;
    (least < lanes).then(|| format!("expected subgroups of at least {lanes} lanes, found {least}"))
}
