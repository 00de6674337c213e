//! Kernel selection by adapter: which kernels run, and which suit it best. Measurements: docs/experiments.md.

mod blocklist;

use wgpu::{AdapterInfo, CooperativeMatrixProperties, CooperativeScalarType, DeviceType, Features};

pub use blocklist::{BlockedVariant, Blocklist, UnknownVariant};

use crate::{
    kernels::{Algorithm, Family, Gemm, KernelConfig, Storage},
    window::Window,
};

/// The number of lanes per subgroup, where it is fixed and `features` include subgroups.
pub(crate) fn subgroup_lanes(info: &AdapterInfo, features: Features) -> Option<u32> {
    let fixed = info.subgroup_min_size == info.subgroup_max_size;
    (fixed && features.contains(Features::SUBGROUP)).then_some(info.subgroup_min_size)
}

/// The features of a device that computes with cooperative matrices.
pub(crate) const MATRIX_FEATURES: Features =
    Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SHADER_F16).union(Features::SUBGROUP);

/// The size of the cooperative matrices with f16 operands and f32 sums that suit this library's kernels best, of those
/// that an adapter offers.
fn matrix_size(offered: &[CooperativeMatrixProperties]) -> Option<u32> {
    let is_offered = |&size: &u32| {
        offered.iter().any(|shape| {
            [shape.m_size, shape.n_size, shape.k_size] == [size; 3]
                && (shape.ab_type, shape.cr_type) == (CooperativeScalarType::F16, CooperativeScalarType::F32)
        })
    };
    [16, 8].into_iter().find(is_offered)
}

/// The kernel configuration with the cooperative matrices of `adapter`, if it has any that this library uses.
pub(crate) fn matrix_config(adapter: &wgpu::Adapter) -> Option<KernelConfig> {
    if !adapter.features().contains(MATRIX_FEATURES) {
        return None;
    }
    let info = adapter.get_info();
    // AMD's drivers choose the larger of two sizes. Metal's subgroups have 32 lanes, whatever wgpu says of them.
    let lanes = if info.subgroup_min_size == 32 && info.subgroup_max_size == 64 { 64 } else { 32 };
    let size = matrix_size(&adapter.cooperative_matrix_properties())?;
    Some(KernelConfig { family: Family::CooperativeMatrix { size, lanes }, storage: Storage::StorageBuffer })
}

/// Every kernel configuration with cooperative matrices.
#[cfg(test)]
pub(crate) fn matrix_configs() -> impl Iterator<Item = KernelConfig> + Clone {
    let families = [(8, 32), (16, 32), (16, 64)].map(|(size, lanes)| Family::CooperativeMatrix { size, lanes });
    families.into_iter().map(|family| KernelConfig { family, storage: Storage::StorageBuffer })
}

/// Every kernel configuration that there is.
#[cfg(test)]
pub(crate) fn all_configs() -> impl Iterator<Item = KernelConfig> + Clone {
    let broadcast = [4, 8, 16].map(|lanes| Family::SubgroupBroadcast { lanes });
    let families = [Family::WorkgroupTiled].into_iter().chain(broadcast);
    families.flat_map(|family| Storage::ALL.map(|storage| KernelConfig { family, storage })).chain(matrix_configs())
}

/// Every kernel configuration that runs on a device with `features`, without cooperative matrices. Of the broadcast ones,
/// the one with the most lanes comes first.
pub(crate) fn kernel_configs(info: &AdapterInfo, features: Features) -> Vec<KernelConfig> {
    let subgroups = features.contains(Features::SUBGROUP);
    let lanes = [16, 8, 4].into_iter().filter(|&lanes| subgroups && lanes <= info.subgroup_min_size);
    let families = [Family::WorkgroupTiled].into_iter().chain(lanes.map(|lanes| Family::SubgroupBroadcast { lanes }));
    let all = |family| Storage::ALL.map(|storage| KernelConfig { family, storage });
    families.flat_map(all).collect()
}

/// The best kernel configuration for an adapter, on a device with `features`.
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

/// lavapipe loads from storage buffers lane by lane (before Mesa 23) or with a check per lane, and computes a mip level
/// per lane where a texture is sampled. SwiftShader loads lane by lane from both buffers and storage textures, and
/// whole texels from sampled textures.
fn cpu_storage(info: &AdapterInfo) -> Storage {
    if info.name.contains("SwiftShader") { Storage::SampledTexture } else { Storage::StorageTexture }
}

/// The number of workgroups of a tiled product that keeps a large GPU busy; with fewer, parts of it are idle.
const ENOUGH_WORKGROUPS: usize = 512;
/// The maximum number of parts that k is split into. Parts are powers of two, so that all layers share few kernels.
const MOST_PARTS: usize = 16;
/// The maximum number of vec4s of the parts' sums per image: 4 MB.
const MOST_PARTS_QUADS: usize = 1 << 18;

/// The number of parts that k of a product is split into, where its tiles are too few to fill a GPU.
pub(crate) fn split(config: KernelConfig, gemm: &Gemm, batch: usize) -> Algorithm {
    if !config.family.splits() || gemm.is_matvec(config.family) {
        return Algorithm::Direct;
    }
    let fill = ENOUGH_WORKGROUPS / gemm.workgroups(config).max(1);
    let fit = MOST_PARTS_QUADS * batch / gemm.output_quads().max(1);
    match fill.min(fit).min(MOST_PARTS) {
        0 | 1 => Algorithm::Direct,
        parts => Algorithm::SplitK { parts: 1 << parts.ilog2() },
    }
}

/// Positions of the output from which Winograd pays for a 3×3 kernel: four images of AlexNet's conv3 to conv5.
const WINOGRAD_POSITIONS: usize = 4 * 13 * 13;
/// The same for a first layer's large kernel: four images of AlexNet's conv1.
const WINOGRAD_CELLS: usize = 4 * 55 * 55;

/// The tile size (outputs along each side) with which Winograd is faster than the direct convolution, if any, for an
/// output of `positions` in all images.
pub(crate) fn winograd_tile(family: Family, window: Window, positions: usize) -> Option<usize> {
    // SwiftShader has four lanes and slow arithmetic, so that fewer multiplications pay for more passes and memory.
    // Elsewhere only large products pay for the passes, and for larger weights.
    let pays = |least| family == Family::SubgroupBroadcast { lanes: 4 } || positions >= least;
    let quicker = match (window.stride, window.kernel) {
        // Its transforms would cost more than cooperative matrices do.
        _ if matches!(family, Family::CooperativeMatrix { .. }) => false,
        _ if window.dilation != [1, 1] => false,
        ([1, 1], [5, 5]) => true,
        ([1, 1], [3, 3]) => pays(WINOGRAD_POSITIONS),
        ([1, 1], _) => false,
        // A first layer's large kernel becomes a 3×3 kernel of cells; any other strided convolution is computed
        // directly.
        _ => pays(WINOGRAD_CELLS),
    };
    quicker.then_some(4)
}

/// The reason why there are no kernels of `config` on any device, if there are none.
pub(crate) fn malformed(config: KernelConfig) -> Option<String> {
    match config.family {
        Family::WorkgroupTiled => None,
        Family::SubgroupBroadcast { lanes } => {
            (!matches!(lanes, 4 | 8 | 16)).then(|| format!("expected 4, 8 or 16 lanes, found {lanes}"))
        }
        Family::CooperativeMatrix { size, lanes } => (!matches!((size, lanes), (8 | 16, 32 | 64))).then(|| {
            format!(
                "expected cooperative matrices of size 8 or 16 and 32 or 64 lanes, found size {size} and {lanes} lanes"
            )
        }),
    }
}

/// The reason why a device with `features`, and `matrix` as its configuration with cooperative matrices, cannot run
/// `config`, if it cannot.
pub(crate) fn refusal(
    info: &AdapterInfo,
    features: Features,
    matrix: Option<KernelConfig>,
    config: KernelConfig,
) -> Option<String> {
    if let Some(reason) = malformed(config) {
        return Some(reason);
    }
    let lanes = match config.family {
        Family::WorkgroupTiled => return None,
        Family::SubgroupBroadcast { lanes } => lanes,
        Family::CooperativeMatrix { .. } => {
            return match matrix {
                None => Some("the device was made without cooperative matrices".into()),
                Some(found) => (found != config).then(|| format!("expected {found:?}, found {config:?}")),
            };
        }
    };
    if !features.contains(Features::SUBGROUP) {
        return Some("the device was made without the subgroup feature".into());
    }
    let least = info.subgroup_min_size;
    (least < lanes).then(|| format!("expected subgroups of at least {lanes} lanes, found {least}"))
}
