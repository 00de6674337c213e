//! shaders/softmax.wgsl and shaders/top_k.wgsl: one workgroup a picture.

use super::{Dispatch, Kernel, Storage, pointwise};

/// Softmax over `batch` vectors of `classes` numbers.
pub(crate) fn softmax(classes: usize, batch: usize, storage: Storage) -> Dispatch {
    let uniform = [classes.div_ceil(4) as u32, classes as u32];
    Dispatch::pointwise(pointwise("softmax", storage), bytemuck::cast_slice(&uniform), [batch as u32, 1, 1])
}

/// The `k` largest of each of `batch` vectors of `classes` numbers, as pairs of index (u32) and value (f32).
pub(crate) fn top_k(k: usize, classes: usize, batch: usize, storage: Storage) -> Dispatch {
    let uniform = [classes.div_ceil(4) as u32, classes as u32, k as u32];
    Dispatch::pointwise(
        Kernel { writes: Storage::Buffer, ..pointwise("top_k", storage) },
        bytemuck::cast_slice(&uniform),
        [batch as u32, 1, 1],
    )
}
