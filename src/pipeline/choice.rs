//! Which kernels run on which adapter. One table, measured: PERFORMANCE.md has the figures.

use wgpu::{AdapterInfo, DeviceType, Features};

use crate::{
    gpu::{Gpu, subgroup_lanes},
    kernels::{Algorithm, Family, Storage, Style},
    network::{Layer, Op},
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

/// lavapipe before Mesa 23 loads storage buffers lane by lane, but textures as vectors.
fn cpu_storage(info: &AdapterInfo) -> Storage {
    match mesa_version(&info.driver_info) {
        Some(version) if version < 23 => Storage::Texture,
        _ => Storage::Buffer,
    }
}

/// The major version in "Mesa 22.3.6 (LLVM 15.0.6)".
fn mesa_version(driver_info: &str) -> Option<u32> {
    driver_info.strip_prefix("Mesa ")?.split('.').next()?.parse().ok()
}

/// How `layer` is computed best in `style`.
pub(super) fn algorithm(style: Style, layer: &Layer) -> Algorithm {
    let Op::Conv(conv) = layer.op else { return Algorithm::Direct };
    match (style.family, conv.window.kernel) {
        (Family::Broadcast { .. }, [5, 5]) => Algorithm::Winograd { tile: 3 },
        // SwiftShader, with four lanes and slow arithmetic: fewer multiplications pay for more passes and memory. On
        // lavapipe the passes over the activations cost what the products save.
        (Family::Broadcast { lanes: 4 }, [3, 3]) => Algorithm::Winograd { tile: 4 },
        _ => Algorithm::Direct,
    }
}

/// Why `gpu` cannot run `style`, if so.
pub(super) fn refusal(gpu: &Gpu, style: Style) -> Option<String> {
    let Family::Broadcast { lanes } = style.family else { return None };
    if !matches!(lanes, 4 | 8 | 16) {
        return Some(format!("expected 4, 8 or 16 lanes, found {lanes}"));
    }
    let least = gpu.info().subgroup_min_size;
    (least < lanes).then(|| format!("expected subgroups of at least {lanes} lanes, found {least}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesa_versions_are_read() {
        assert_eq!(mesa_version("Mesa 22.3.6 (LLVM 15.0.6)"), Some(22));
        assert_eq!(mesa_version("Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)"), Some(25));
        assert_eq!(mesa_version("SwiftShader driver"), None);
    }
}
