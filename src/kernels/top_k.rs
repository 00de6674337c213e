//! The largest outputs: shaders/top_k.wgsl, one workgroup per image.

use super::{Kernel, KernelConfig, Work};

/// The `k` largest values in each of `batch` vectors of `classes` values, as pairs of index (u32) and value (f32) in a
/// storage buffer.
pub(crate) fn top_k(config: KernelConfig, k: usize, classes: usize, batch: usize) -> Work {
    let uniform = [classes.div_ceil(4) as u32, classes as u32, k as u32];
    let kernel = Kernel::new("top_k", [("WORKGROUP", config.reducing_threads())]);
    Work::new(kernel, bytemuck::cast_slice(&uniform), [batch as u32, 1, 1])
}
