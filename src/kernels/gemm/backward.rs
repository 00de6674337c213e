//! The backward pass of matrix products: shaders/weight_gradient_*.wgsl and shaders/input_gradient_*.wgsl.

use std::ops::Range;

use super::{BROADCAST_ROWS, Gemm};
use crate::{
    activation::Below,
    kernels::{
        Family, Kernel, KernelConfig, Work, dilated,
        gradients::{GradientUse, derivative},
    },
    shape::Shape,
    window::{Padding, Window},
};

/// k quads per subgroup: 32 vec4s of sums.
const BROADCAST_QUADS: u32 = 8;
/// Pixels that are multiplied at a time.
const BROADCAST_PIXELS: u32 = 4;
/// The number of rows of a part on a processor, at least: 256 KB of each operand, most of which consecutive workgroups share,
/// stay in its caches, and parts are few.
const BROADCAST_PART: usize = 2048;
/// k quads and column quads per workgroup.
const TILED_QUADS: u32 = 16;
/// The number of rows that are summed before their sum is added to those of others.
const SPAN: u32 = 128;
/// The number of workgroups of a tiled product that keeps a large GPU busy.
const ENOUGH_WORKGROUPS: usize = 512;
/// The maximum number of parts that the rows are split into.
const MOST_PARTS: usize = 16;
/// The maximum number of weights of all parts on a processor: 32 MB.
const MOST_PARTS_LEN: usize = 1 << 23;

impl Gemm {
    /// The same product with each vector that a fully connected layer reads as one pixel.
    fn flattened(&self) -> Self {
        if !self.is_fully_connected() {
            return self.clone();
        }
        let input = Shape::vector(self.input.height * self.input.width * self.input.channels.next_multiple_of(4));
        let mut flat = Self { input, ..self.clone() };
        flat.conv.window = Window::square(1, 1);
        flat
    }

    /// Whether the packed weights have places that no weight of the convolution belongs to, and whose gradient is not zero:
    /// merged groups have products of each other's channels, and an input in rows has pixels past a kernel row.
    pub fn has_gaps(&self) -> bool {
        self.groups != self.conv.groups || self.rows_layout.is_some()
    }

    /// The number of parts in which [`Gemm::weight_gradient`] sums the rows: so that a large GPU is busy, or that operands stay in
    /// a processor's caches.
    pub fn gradient_parts(&self, config: KernelConfig) -> usize {
        let packing = self.packing(config);
        if let Family::SubgroupBroadcast { .. } = config.family {
            let fit = MOST_PARTS_LEN / packing.packed_len().max(1);
            return 1 << (self.rows() / BROADCAST_PART).min(MOST_PARTS).min(fit).max(1).ilog2();
        }
        let tile = 4 * TILED_QUADS as usize;
        let tiles = packing.block_k.div_ceil(tile) * (packing.blocks * packing.columns).div_ceil(tile) * self.groups;
        let fill = ENOUGH_WORKGROUPS / tiles.max(1);
        1 << fill.min(MOST_PARTS).min(self.rows().div_ceil(SPAN as usize)).max(1).ilog2()
    }

    /// The gradients of the weights of `chunk`, a range of column blocks, and of the bias. It binds x, the gradient of the
    /// output, y and the gradient of the bias; with several parts, [`sum`](crate::kernels::gradients::sum) adds theirs up.
    /// An update of the weights takes the place of y.
    pub fn weight_gradient(
        &self,
        config: KernelConfig,
        chunk: &Range<u32>,
        parts: usize,
        gradient_use: GradientUse,
    ) -> Work {
        let packing = self.packing(config);
        let flat = self.flattened();
        let mut uniform = bytemuck::bytes_of(&flat.uniform(&packing, chunk)).to_vec();
        let (k_quads, quads) = (packing.block_k as u32 / 4, chunk.len() as u32 * packing.columns as u32 / 4);
        let (groups, parts) = (self.groups as u32, parts as u32);
        let adds = matches!(gradient_use, GradientUse::Add);
        let mut settings = vec![("ADD", adds.into()), ("SPAN", SPAN), ("PARTS", parts), ("GROUPS", groups)];
        settings.extend(dilated(flat.conv.window));
        if let GradientUse::Update(step) = gradient_use {
            settings.extend(step.settings);
            uniform.extend_from_slice(bytemuck::bytes_of(&step.uniform));
        }
        let (shader, workgroups) = match config.family {
            Family::SubgroupBroadcast { lanes } => {
                settings.extend([("LANES", lanes), ("QUADS", BROADCAST_QUADS.min(lanes)), ("ROWS", BROADCAST_PIXELS)]);
                let tile = BROADCAST_QUADS.min(lanes);
                ("weight_gradient_broadcast", [k_quads.div_ceil(tile), quads.div_ceil(lanes), groups * parts])
            }
            Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => {
                let tile = [k_quads, quads].map(|quads| quads.div_ceil(TILED_QUADS));
                ("weight_gradient_tiled", [tile[0], tile[1], groups * parts])
            }
        };
        let multiply_adds = self.backward_multiply_adds(chunk.len() as u64 * packing.columns as u64);
        Work { multiply_adds, ..Work::new(Kernel::new(shader, settings), &uniform, workgroups) }
    }

    /// The gradient of the input from the output channels of `chunk`, a range of column blocks, passed through
    /// `below`, the activation function of the layer before. It binds x, y, the weights, the gradient of the output, and the
    /// gradients from other chunks if there are some.
    pub fn input_gradient(&self, config: KernelConfig, chunk: &Range<u32>, below: Below) -> Work {
        let packing = self.packing(config);
        let flat = self.flattened();
        let uniform = flat.uniform(&packing, chunk);
        let mut settings = derivative(below);
        settings.extend(dilated(flat.conv.window));
        let stride = flat.conv.window.stride;
        settings.extend((stride != [1, 1]).then_some(("STRIDED", 1)));
        let (height, width) = (flat.input.height, flat.input.width);
        let (rows, offsets) = match stride {
            [1, 1] => (height * width, 1),
            // The cells of an image, and the pixels in one (shaders/strided.wgsl).
            [down, right] => {
                let Padding { top, left, .. } = flat.conv.window.padding;
                ((height + top).div_ceil(down) * (width + left).div_ceil(right), (down * right) as u32)
            }
        };
        let rows = (self.batch * rows) as u32;
        let quads = flat.group_in_channels().div_ceil(4) as u32;
        let groups = self.groups as u32;
        let (shader, workgroups) = match config.family {
            Family::SubgroupBroadcast { lanes } => {
                // Tiles of equal rows where there are few.
                let tile = if self.is_fully_connected() {
                    rows.div_ceil(rows.div_ceil(BROADCAST_ROWS as u32))
                } else {
                    BROADCAST_ROWS as u32
                };
                settings.extend([("LANES", lanes), ("ROWS", tile)]);
                ("input_gradient_broadcast", [offsets * rows.div_ceil(tile), quads.div_ceil(lanes), groups])
            }
            Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => {
                ("input_gradient_tiled", [offsets * rows.div_ceil(64), quads.div_ceil(16), groups])
            }
        };
        let multiply_adds = self.backward_multiply_adds(chunk.len() as u64 * packing.columns as u64);
        Work { multiply_adds, ..Work::new(Kernel::new(shader, settings), bytemuck::bytes_of(&uniform), workgroups) }
    }

    /// Multiply-adds with `columns` columns of each group.
    fn backward_multiply_adds(&self, columns: u64) -> u64 {
        let ([height, width], tap_quads) = self.taps();
        let columns = columns.min(self.group_out_channels() as u64);
        [self.rows(), height, width, 4 * tap_quads, self.groups].map(|n| n as u64).iter().product::<u64>() * columns
    }
}
