//! Convolution and fully connected layers as matrix products: shaders/gemm_*.wgsl and shaders/matvec_*.wgsl.

mod backward;

use std::ops::Range;

use super::{
    Algorithm, Family, Kernel, KernelConfig, Packing, Precision, RowsLayout, WORKGROUP, Work, dilated,
    packing::{Inputs, Order},
    relu_flag,
};
use crate::{activation::Activation, shape::Shape, window::Window};

/// A convolution, with the data that kernels need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Convolution {
    pub out_channels: usize,
    pub window: Window,
    pub groups: usize,
    pub activation: Activation,
}

/// A convolution as a matrix product (implicit GEMM). Rows are output pixels of all images, columns are output
/// channels, and k runs over kernel rows, kernel columns and input channels.
#[derive(Clone, Debug)]
pub(crate) struct Gemm {
    conv: Convolution,
    input: Shape,
    output: Shape,
    batch: usize,
    /// Groups of the kernel: adjacent groups are merged until each has a multiple of four channels.
    groups: usize,
    /// Set where the input is the network's, laid out so that a kernel row is contiguous.
    rows_layout: Option<RowsLayout>,
    precision: Precision,
    /// The number of parts that k is split into.
    parts: usize,
    /// Rows of a workgroup tile, if not the usual number.
    tile_rows: Option<usize>,
    /// Whether input and output have a separate array per group, `[group][row][quad]`.
    apart: bool,
}

/// The `Gemm` struct of shaders/gemm.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    in_height: u32,
    in_width: u32,
    in_quads: u32,
    tap_quads: u32,
    out_height: u32,
    out_width: u32,
    out_quads: u32,
    group_out_quads: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_top: u32,
    pad_left: u32,
    rows: u32,
    relu: u32,
    blocks: u32,
    first_block: u32,
    bound_blocks: u32,
    block_k: u32,
    dilation_y: u32,
    dilation_x: u32,
    in_group: u32,
    out_group: u32,
    block_quads: u32,
}

/// The maximum number of rows for the kernels that read every weight once for a few rows. Beyond it, a tiled matrix
/// product is used.
const BROADCAST_MATVEC_ROWS: usize = 8;
const TILED_MATVEC_ROWS: usize = 16;
const COOPERATIVE_MATVEC_ROWS: usize = 4;

/// Rows per register tile of the broadcast kernel. Six tiles cover an image of 13×13, and two cover the 7×7 tiles of
/// conv2 by Winograd. With 32 rows, an eighth and a quarter of the work there was for rows that do not exist.
pub(super) const BROADCAST_ROWS: usize = 29;

/// Rows per workgroup tile of the tiled kernel.
pub(super) const TILED_ROWS: usize = 64;

/// The other numbers of rows that it may have.
const TILES_ROWS: [usize; 3] = [16, 32, 128];

/// The maximum number of vec4s of the sums of a product with k split: 16 MB.
const MAX_PARTS_QUADS: usize = 1 << 20;

/// A kernel that computes a product.
struct Tiling {
    kernel: Kernel,
    /// Columns per block.
    columns: usize,
    /// Rows per workgroup.
    rows: usize,
    /// The order of the weights.
    order: Order,
}

impl Gemm {
    /// A convolution of `batch` images.
    pub fn conv(conv: Convolution, input: Shape, output: Shape, batch: usize) -> Self {
        let (i, o, groups) = (input.channels / conv.groups, conv.out_channels / conv.groups, conv.groups);
        let aligned = |m: &usize| groups.is_multiple_of(*m) && (m * i).is_multiple_of(4) && (m * o).is_multiple_of(4);
        let merged = if groups == 1 { 1 } else { [1, 2, 4].into_iter().find(aligned).unwrap_or(groups) };
        Self {
            conv,
            input,
            output,
            batch,
            groups: groups / merged,
            rows_layout: None,
            precision: Precision::F32,
            parts: 1,
            tile_rows: None,
            apart: false,
        }
    }

    /// Lays out the groups apart from each other, each `[row][quad]`.
    pub fn with_groups_apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Sets the layout of an input in rows.
    pub fn with_rows_layout(mut self, layout: Option<RowsLayout>) -> Self {
        self.rows_layout = layout;
        self
    }

    /// Sets the precision of the weights.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets the tile's rows, and splits k into parts, as `algorithm` says: if `config` supports it and the parts' sums stay
    /// small.
    pub fn by(mut self, algorithm: Algorithm, config: KernelConfig) -> Self {
        if config.family == Family::WorkgroupTiled {
            self.tile_rows = algorithm.tile_rows().filter(|rows| TILES_ROWS.contains(rows));
        }
        let parts = algorithm.parts();
        let splits = config.family.splits() && !self.is_matvec(config.family);
        if splits && parts.saturating_mul(self.output_quads()) <= MAX_PARTS_QUADS {
            self.parts = parts.max(1);
        }
        self
    }

    /// vec4s of the product, and of the sums of each part.
    pub fn output_quads(&self) -> usize {
        self.rows() * self.conv.out_channels.div_ceil(4)
    }

    /// The number of parts that k is split into. Their sums, each as long as the product, are added up by
    /// [`Gemm::sum`].
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The workgroup count of a dispatch for all column blocks.
    pub fn workgroups(&self, config: KernelConfig) -> usize {
        let Tiling { columns, rows, .. } = self.tiling(config);
        self.rows().div_ceil(rows) * self.group_out_channels().div_ceil(columns) * self.groups * self.parts
    }

    /// The kernel positions that the shader iterates over, and the quads that it reads at each.
    fn taps(&self) -> ([usize; 2], usize) {
        let [kh, kw] = self.conv.window.kernel;
        match self.rows_layout {
            Some(layout) => ([kh, 1], layout.kernel_quads),
            None => ([kh, kw], self.group_in_channels().div_ceil(4)),
        }
    }

    /// A fully connected layer for `batch` images: a convolution whose kernel is its whole input.
    pub fn linear(out_features: usize, activation: Activation, input: Shape, batch: usize) -> Self {
        let window = Window { kernel: [input.height, input.width], ..Window::square(1, 1) };
        let conv = Convolution { out_channels: out_features, window, groups: 1, activation };
        Self::conv(conv, input, Shape::vector(out_features), batch)
    }

    fn rows(&self) -> usize {
        self.batch * self.output.height * self.output.width
    }

    /// Rows per tile, with the fewest tiles of at most `most` rows, all of about the same size.
    fn equal_rows(&self, most: usize) -> usize {
        self.rows().div_ceil(self.rows().div_ceil(most))
    }

    /// Whether each output reads the whole input of its image, as one vector in the order of its weights. An input in
    /// rows has padding between the parts that kernel rows read.
    fn is_fully_connected(&self) -> bool {
        self.groups == 1
            && self.rows_layout.is_none()
            && self.conv.window.padding == Default::default()
            && self.conv.window.kernel == [self.input.height, self.input.width]
            && self.conv.window.dilation == [1, 1]
    }

    /// Whether it is a product with one vector, or with a few at once.
    pub fn is_matvec(&self, family: Family) -> bool {
        let most = match family {
            Family::SubgroupBroadcast { .. } => BROADCAST_MATVEC_ROWS,
            Family::WorkgroupTiled => TILED_MATVEC_ROWS,
            Family::CooperativeMatrix { .. } => COOPERATIVE_MATVEC_ROWS,
        };
        self.tile_rows.is_none() && self.is_fully_connected() && self.rows() <= most
    }

    fn group_in_channels(&self) -> usize {
        self.input.channels / self.groups
    }

    fn group_out_channels(&self) -> usize {
        self.conv.out_channels / self.groups
    }

    fn tiling(&self, config: KernelConfig) -> Tiling {
        let matvec = self.is_matvec(config.family);
        // The parts are added up before the activation function.
        let activation = if self.parts > 1 { Activation::None } else { self.conv.activation };
        let kernel = |shader, mut settings: Vec<_>, constants| {
            settings.extend(dilated(self.conv.window));
            let kernel = Kernel { constants, ..Kernel::new(shader, settings) };
            kernel.with_activation(activation, self.conv.out_channels)
        };
        let order = Order::Rows;
        match config.family {
            Family::SubgroupBroadcast { lanes: 4 } if matvec => {
                let rows = self.rows().next_power_of_two();
                let kernel = kernel("matvec_quads", vec![("ROWS", rows as u32)], vec![]);
                Tiling { kernel, columns: 16, rows, order: Order::TransposedRows }
            }
            Family::SubgroupBroadcast { lanes: 4 } => {
                // Tiles of equal rows: with so few lanes, compilation is fast, and a 16-row layer is not padded to 32.
                let rows = self.equal_rows(32).next_multiple_of(4);
                let column_quads = 2;
                let settings = vec![("ROWS", rows as u32), ("COLUMN_QUADS", column_quads), ("UNROLL", 2)];
                let kernel = kernel("gemm_quads", settings, vec![]);
                Tiling { kernel, columns: 16 * column_quads as usize, rows, order: Order::Lanes }
            }
            Family::SubgroupBroadcast { lanes } => {
                let (shader, lanes, rows) = if matvec {
                    ("matvec_broadcast", config.streaming_lanes(lanes), self.rows().next_power_of_two())
                } else if self.is_fully_connected() {
                    // One row per image. Tiles of equal rows: with a larger tile, half of it would be idle at batch 16.
                    ("gemm_broadcast", lanes, self.equal_rows(BROADCAST_ROWS))
                } else {
                    // The same tile for all layers, so that they share one kernel: its compilation takes longer than
                    // many runs.
                    ("gemm_broadcast", lanes, BROADCAST_ROWS)
                };
                let settings = vec![("LANES", lanes), ("ROWS", rows as u32)];
                Tiling { kernel: kernel(shader, settings, vec![]), columns: lanes as usize * 4, rows, order }
            }
            Family::WorkgroupTiled | Family::CooperativeMatrix { .. } if matvec => {
                // More rows at once would leave too few workgroups to keep a large GPU's memory busy.
                let rows = self.rows().next_power_of_two().min(4);
                let constants = vec![("COLUMN_THREADS", 4), ("SLICES", 64)];
                let kernel = kernel("matvec_tiled", vec![("ROWS", rows as u32)], constants);
                Tiling { kernel, columns: 16, rows, order }
            }
            Family::WorkgroupTiled => {
                let rows = self.tile_rows.unwrap_or(TILED_ROWS);
                // 128 invocations and 64 columns.
                let (column_threads, row_threads) = if rows > TILED_ROWS { (8, 16) } else { (16, 8) };
                let settings = vec![
                    ("COLUMN_THREADS", column_threads),
                    ("ROW_THREADS", row_threads),
                    ("ROWS", rows as u32 / row_threads),
                    ("QUADS", 16 / column_threads),
                    // At least a quad of x for each invocation.
                    ("K_QUADS", if rows < 32 { 8 } else { 4 }),
                    ("SPLITS", self.parts as u32),
                ];
                let kernel = kernel("gemm_tiled", settings, vec![]);
                Tiling { kernel, columns: 64, rows, order }
            }
            Family::CooperativeMatrix { size, lanes } => {
                // Four subgroups share a tile of 64 columns, and of as many rows as there are.
                let rows = self.rows().next_power_of_two().clamp(16, TILED_ROWS) as u32;
                let subgroup_columns = if rows == 16 { 4 } else { 2 };
                let settings = vec![
                    ("SIZE", size),
                    ("ROWS", rows * subgroup_columns / (4 * size)),
                    ("COLUMNS", 64 / (subgroup_columns * size)),
                    ("SUBGROUP_COLUMNS", subgroup_columns),
                    ("THREADS", 4 * lanes),
                    // At least a quad for each thread.
                    ("K_QUADS", (4 * lanes / rows).max(8)),
                    ("SPLITS", self.parts as u32),
                ];
                let kernel = kernel("gemm_cooperative", settings, vec![]);
                Tiling { kernel, columns: 64, rows: rows as usize, order }
            }
        }
    }

    /// The packing of this layer's weights for the kernel of `config`.
    pub fn packing(&self, config: KernelConfig) -> Packing {
        let Tiling { columns, order, .. } = self.tiling(config);
        let ([kh, kw], tap_quads) = self.taps();
        let k = kh * kw * tap_quads * 4;
        Packing {
            conv: self.conv,
            in_channels: self.input.channels,
            groups: self.groups,
            columns,
            order,
            inputs: Inputs::Group(self.group_in_channels()),
            tap: tap_quads * 4,
            rows_layout: self.rows_layout,
            block_k: match config.family {
                // matvec_broadcast.wgsl reads as many k per turn as a block has columns.
                Family::SubgroupBroadcast { .. } => k.next_multiple_of(columns),
                Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => k,
            },
            blocks: self.group_out_channels().div_ceil(columns),
            precision: self.precision,
        }
    }

    /// The product with the weights of `chunk`, a range of column blocks. It binds x, y and the weights. Where k is not
    /// split, it binds a bias too, packed like the weights.
    pub fn product(&self, config: KernelConfig, chunk: &Range<u32>) -> Work {
        let Tiling { kernel, rows: tile_rows, .. } = self.tiling(config);
        let packing = self.packing(config);
        let uniform = self.uniform(&packing, chunk);
        let ([kernel_height, kernel_width], tap_quads) = self.taps();
        let workgroups =
            [self.rows().div_ceil(tile_rows) as u32, chunk.len() as u32, (self.groups * self.parts) as u32];
        let columns = (chunk.end as usize * packing.columns).min(self.group_out_channels())
            - chunk.start as usize * packing.columns;
        let k = kernel_height * kernel_width * tap_quads * 4;
        let multiply_adds = [self.rows(), k, columns, self.groups].map(|n| n as u64).iter().product();
        Work { multiply_adds, ..Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups) }
    }

    /// The uniform of a product with the weights of `chunk`, a range of the column blocks of `packing`.
    fn uniform(&self, packing: &Packing, chunk: &Range<u32>) -> Uniform {
        let window = self.conv.window;
        let quads = |channels: usize| channels.div_ceil(4) as u32;
        let ([kernel_height, kernel_width], tap_quads) = self.taps();
        let (in_width, in_quads, stride_x, pad_left) = match self.rows_layout {
            // A pixel is the step between two windows.
            Some(l) => (l.row_quads / l.step_quads, l.step_quads as u32, 1, 0),
            None => (self.input.width, quads(self.input.channels), window.stride[1], window.padding.left),
        };
        let (out_quads, group_out_quads) = (quads(self.conv.out_channels), quads(self.group_out_channels()));
        // Strides between rows and between groups, in quads.
        let [x, y] = match self.apart {
            true => [tap_quads as u32, group_out_quads].map(|group| [group, group * self.rows() as u32]),
            false => [[in_quads, tap_quads as u32], [out_quads, group_out_quads]],
        };
        Uniform {
            in_height: self.input.height as u32,
            in_width: in_width as u32,
            in_quads: x[0],
            tap_quads: tap_quads as u32,
            out_height: self.output.height as u32,
            out_width: self.output.width as u32,
            out_quads: y[0],
            group_out_quads,
            kernel_height: kernel_height as u32,
            kernel_width: kernel_width as u32,
            stride_y: window.stride[0] as u32,
            stride_x: stride_x as u32,
            pad_top: window.padding.top as u32,
            pad_left: pad_left as u32,
            rows: self.rows() as u32,
            relu: relu_flag(self.conv.activation),
            blocks: packing.blocks as u32,
            first_block: chunk.start,
            bound_blocks: chunk.len() as u32,
            block_k: packing.block_k as u32,
            dilation_y: window.dilation[0] as u32,
            dilation_x: window.dilation[1] as u32,
            in_group: x[1],
            out_group: y[1],
            block_quads: packing.columns as u32 / 4,
        }
    }

    /// Adds up the sums of the parts that k is split into, and a bias in channel quads.
    pub fn sum(&self) -> Work {
        let out_quads = self.conv.out_channels.div_ceil(4) as u32;
        let all = self.rows() as u32 * out_quads;
        let uniform = [self.parts as u32, all, out_quads, relu_flag(self.conv.activation)];
        let kernel = Kernel::pointwise("sum_parts").with_activation(self.conv.activation, self.conv.out_channels);
        Work::new(kernel, bytemuck::cast_slice(&uniform), [all.div_ceil(WORKGROUP), 1, 1])
    }
}
