//! shaders/local_response_norm.wgsl.

use super::{Dispatch, Storage, pointwise, pointwise_workgroups};
use crate::network::{LocalResponseNorm, Shape};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    height: u32,
    width: u32,
    quads: u32,
    before: u32,
    after: u32,
    factor: f32,
    beta: f32,
    k: f32,
}

/// Local response normalisation of `batch` activations of `shape`.
pub(crate) fn local_response_norm(norm: &LocalResponseNorm, shape: Shape, batch: usize, storage: Storage) -> Dispatch {
    let [before, after] = norm.reach();
    let uniform = Uniform {
        height: shape.height as u32,
        width: shape.width as u32,
        quads: shape.channels.div_ceil(4) as u32,
        before: before as u32,
        after: after as u32,
        factor: norm.factor(),
        beta: norm.beta,
        k: norm.k,
    };
    Dispatch::pointwise(
        pointwise("local_response_norm", storage),
        bytemuck::bytes_of(&uniform),
        pointwise_workgroups(shape, batch),
    )
}
