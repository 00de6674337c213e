//! Convolutions with few channels per group, including depthwise ones: shaders/grouped_conv.wgsl.

use std::ops::Range;

use super::{
    Convolution, Gemm, Kernel, KernelConfig, Packing, Precision, WORKGROUP, WindowUniform, Work, dilated,
    packing::{Inputs, Order},
    relu_flag,
};
use crate::shape::Shape;

/// The factor by which a matrix product may exceed the multiply-adds of this kernel, padding of groups and blocks
/// included. A matrix product reads each value once for many outputs, so it is faster up to this factor (measurements:
/// docs/experiments.md).
const PRODUCT_ADVANTAGE: usize = 12;

/// A convolution in which each output channel reads the input channels of its own group, and of other groups only the
/// channels in the same quads.
#[derive(Clone, Debug)]
pub(crate) struct GroupedConv {
    conv: Convolution,
    input: Shape,
    output: Shape,
    batch: usize,
}

/// The `GroupedConv` struct of the shader.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    window: WindowUniform,
    group_in: u32,
    out_quads: u32,
    group_out: u32,
    span: u32,
    first_quad: u32,
    bound_quads: u32,
    relu: u32,
}

impl GroupedConv {
    /// The convolution of `batch` images, where this is faster than a matrix product in `config`.
    pub fn where_it_pays(
        conv: Convolution,
        input: Shape,
        output: Shape,
        batch: usize,
        config: KernelConfig,
    ) -> Option<Self> {
        if conv.groups == 1 {
            return None;
        }
        let grouped = Self { conv, input, output, batch };
        let product = Gemm::conv(conv, input, output, batch).packing(config).packed_len();
        (product > PRODUCT_ADVANTAGE * grouped.packing().packed_len()).then_some(grouped)
    }

    fn group_in(&self) -> usize {
        self.input.channels / self.conv.groups
    }

    fn group_out(&self) -> usize {
        self.conv.out_channels / self.conv.groups
    }

    fn is_depthwise(&self) -> bool {
        self.group_in() == 1 && self.group_out() == 1
    }

    fn out_quads(&self) -> usize {
        self.conv.out_channels.div_ceil(4)
    }

    /// The maximum number of input quads that four output channels read.
    fn span(&self) -> usize {
        let (group_in, group_out) = (self.group_in(), self.group_out());
        let span = |quad: usize| {
            let last = (4 * quad + 3).min(self.conv.out_channels - 1);
            let first = 4 * quad / group_out * group_in / 4;
            (last / group_out + 1) * group_in - 4 * first
        };
        (0..self.out_quads()).map(|quad| span(quad).div_ceil(4)).max().unwrap_or(1)
    }

    /// Values of k per kernel position.
    fn tap(&self) -> usize {
        if self.is_depthwise() { 1 } else { 4 * self.span() }
    }

    /// The packing of the weights: a block per output quad.
    pub fn packing(&self) -> Packing {
        let [kh, kw] = self.conv.window.kernel;
        let tap = self.tap();
        let inputs = if self.is_depthwise() { Inputs::Own } else { Inputs::FromQuad };
        Packing {
            conv: self.conv,
            in_channels: self.input.channels,
            groups: 1,
            columns: 4,
            order: Order::Rows,
            inputs,
            tap,
            rows_layout: None,
            block_k: kh * kw * tap,
            blocks: self.out_quads(),
            precision: Precision::F32,
        }
    }

    /// The output quads of `chunk`. It binds x, y, the weights, and a bias in channel quads.
    pub fn work(&self, chunk: &Range<u32>) -> Work {
        let window = self.conv.window;
        let tap = self.tap();
        let [group_in, group_out, span] = [self.group_in(), self.group_out(), self.span()].map(|n| n as u32);
        let uniform = Uniform {
            window: WindowUniform::new(window, self.input, self.output),
            group_in,
            out_quads: self.out_quads() as u32,
            group_out,
            span,
            first_quad: chunk.start,
            bound_quads: chunk.len() as u32,
            relu: relu_flag(self.conv.activation),
        };
        let mut settings = vec![("WORKGROUP", WORKGROUP), ("DEPTHWISE", self.is_depthwise().into())];
        settings.extend(dilated(window));
        let kernel =
            Kernel::new("grouped_conv", settings).with_activation(self.conv.activation, self.conv.out_channels);
        let across = (self.output.width * chunk.len()) as u32;
        let workgroups = [across.div_ceil(WORKGROUP), self.output.height as u32, self.batch as u32];
        let pixels = self.batch * self.output.height * self.output.width;
        let multiply_adds =
            [pixels, 4 * chunk.len(), window.kernel[0], window.kernel[1], tap].map(|n| n as u64).iter().product();
        Work { multiply_adds, ..Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups) }
    }
}
