//! shaders/max_pool.wgsl and shaders/adaptive_avg_pool.wgsl.

use super::{Dispatch, Storage, pointwise, pointwise_workgroups};
use crate::network::{MaxPool, Shape};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MaxPoolUniform {
    in_height: u32,
    in_width: u32,
    quads: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_top: u32,
    pad_left: u32,
}

/// Max pooling of `batch` activations of shape `input` to `output`.
pub(crate) fn max_pool(pool: &MaxPool, input: Shape, output: Shape, batch: usize, storage: Storage) -> Dispatch {
    let window = pool.window;
    let uniform = MaxPoolUniform {
        in_height: input.height as u32,
        in_width: input.width as u32,
        quads: input.channels.div_ceil(4) as u32,
        out_height: output.height as u32,
        out_width: output.width as u32,
        kernel_height: window.kernel[0] as u32,
        kernel_width: window.kernel[1] as u32,
        stride_y: window.stride[0] as u32,
        stride_x: window.stride[1] as u32,
        pad_top: window.padding.top as u32,
        pad_left: window.padding.left as u32,
    };
    Dispatch::pointwise(
        pointwise("max_pool", storage),
        bytemuck::bytes_of(&uniform),
        pointwise_workgroups(output, batch),
    )
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdaptiveAvgPoolUniform {
    in_height: u32,
    in_width: u32,
    quads: u32,
    out_height: u32,
    out_width: u32,
}

/// Adaptive average pooling of `batch` activations of shape `input` to `output`.
pub(crate) fn adaptive_avg_pool(input: Shape, output: Shape, batch: usize, storage: Storage) -> Dispatch {
    let uniform = AdaptiveAvgPoolUniform {
        in_height: input.height as u32,
        in_width: input.width as u32,
        quads: input.channels.div_ceil(4) as u32,
        out_height: output.height as u32,
        out_width: output.width as u32,
    };
    let mut kernel = pointwise("adaptive_avg_pool", storage);
    // What is divided by the output's size is a product of a number of the output and the input's size.
    let wide = [(input.height, output.height), (input.width, output.width)]
        .into_iter()
        .any(|(size, parts)| u32::try_from(size as u64 * parts as u64).is_err());
    if wide {
        kernel.settings.push(("WIDE", 1));
    }
    Dispatch::pointwise(kernel, bytemuck::bytes_of(&uniform), pointwise_workgroups(output, batch))
}
