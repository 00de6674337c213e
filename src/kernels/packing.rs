//! Packed weights for the matrix product kernels: consecutive blocks of output channels.

use std::ops::Range;

use super::{Convolution, Precision, RowsLayout};

/// The order of values in a block. SwiftShader's loads wait for memory, nearly one at a time. Each load should touch as
/// many cache lines as there are lanes, and consecutive ones for weights that are streamed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// `[k][columns]`.
    Rows,
    /// `[k / 16][k % 4][k / 4 % 4][columns]`, for four lanes that load four consecutive k each.
    TransposedRows,
    /// `[k / 4][lane][k % 4][quad of the lane]` for four lanes: quad `q` of the columns belongs to lane `q % 4`.
    Lanes,
}

/// The input channels that a block's k covers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inputs {
    /// A whole group of the kernel, with this many channels.
    Group(usize),
    /// Channels starting at the quad in which the block's first group begins.
    FromQuad,
    /// One input channel per column, its own.
    Own,
}

/// The packing of weights for a kernel: `[group][block]` of [`Order`].
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    pub(super) conv: Convolution,
    /// Input channels of the convolution, in all groups.
    pub(super) in_channels: usize,
    /// Groups of the kernel.
    pub(super) groups: usize,
    /// Columns (output channels) per block, a multiple of four.
    pub(super) columns: usize,
    pub(super) order: Order,
    pub(super) inputs: Inputs,
    /// Values of k per kernel position, or per kernel row where the input is in rows.
    pub(super) tap: usize,
    pub(super) rows_layout: Option<RowsLayout>,
    /// k per block, padded.
    pub(super) block_k: usize,
    /// Blocks per group.
    pub(super) blocks: usize,
    pub(super) precision: Precision,
}

impl Packing {
    /// Values per block.
    pub fn block_len(&self) -> usize {
        self.block_k * self.columns
    }

    /// Values in all blocks.
    pub fn packed_len(&self) -> usize {
        self.block_len() * self.blocks * self.groups
    }

    /// Bytes per block on the device.
    pub fn block_bytes(&self) -> u64 {
        self.block_len() as u64 / 4 * self.precision().quad_bytes()
    }

    /// Precision of the weights on the device.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The offset of k in a packed block from the start of its column.
    fn place_of_k(&self, k: usize) -> usize {
        match self.order {
            Order::Rows => k * self.columns,
            Order::TransposedRows => (k / 16 * 16 + k % 4 * 4 + k / 4 % 4) * self.columns,
            Order::Lanes => k / 4 * 4 * self.columns + k % 4 * (self.columns / 4),
        }
    }

    /// The offset of a column's first k in a packed block.
    fn place_of_column(&self, column: usize) -> usize {
        match self.order {
            Order::Rows | Order::TransposedRows => column,
            Order::Lanes => column / 4 % 4 * self.columns + column / 16 * 4 + column % 4,
        }
    }

    /// The columns of the values in a packed block, up to where they repeat.
    fn columns_of_numbers(&self) -> Vec<usize> {
        match self.order {
            Order::Rows | Order::TransposedRows => (0..self.columns).collect(),
            Order::Lanes => {
                let mut columns = vec![0; 4 * self.columns];
                for (k, column) in (0..4).flat_map(|k| (0..self.columns).map(move |column| (k, column))) {
                    columns[self.place_of_column(column) + self.place_of_k(k)] = column;
                }
                columns
            }
        }
    }

    /// For [`Precision::Int8`]: the largest magnitude in each column of a packed block, and the same for the column of
    /// each value, up to where the columns repeat.
    pub fn largest(&self, packed: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let columns = self.columns_of_numbers();
        let mut largest = vec![0.0f32; self.columns];
        for (v, &column) in packed.iter().zip(columns.iter().cycle()) {
            largest[column] = largest[column].max(v.abs());
        }
        let of_numbers = columns.into_iter().map(|column| largest[column]).collect();
        (largest, of_numbers)
    }

    /// Values in the packed bias: one per column of every block.
    pub fn bias_len(&self) -> usize {
        self.groups * self.blocks * self.columns
    }

    /// Column blocks of each group.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Groups of the kernel.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Splits the blocks of a group into ranges, so that a range of all groups together holds at most `limit` values.
    /// `None` where a single block exceeds that.
    pub fn chunks(&self, limit: usize) -> Option<Vec<Range<u32>>> {
        let blocks = limit / (self.block_len() * self.groups);
        if blocks == 0 {
            return None;
        }
        let starts = (0..self.blocks).step_by(blocks);
        Some(starts.map(|s| s as u32..(s + blocks).min(self.blocks) as u32).collect())
    }

    /// The range of the weights (OIHW) that a block is packed from.
    pub fn filters_of(&self, group: usize, block: usize) -> Range<usize> {
        let [kh, kw] = self.conv.window.kernel;
        let filter = self.in_channels / self.conv.groups * kh * kw;
        let first = self.columns_of(group, block).next().map_or(0, |(output, _)| output);
        first * filter..(first + self.columns_of(group, block).count()) * filter
    }

    /// The range of a block's columns in a vector of one value per column, as [`Packing::pack_columns`] makes it.
    pub fn columns_in(&self, group: usize, block: usize) -> Range<usize> {
        let first = (group * self.blocks + block) * self.columns;
        first..first + self.columns
    }

    /// The output channels of a block, each with its column in the block.
    fn columns_of(&self, group: usize, block: usize) -> impl Iterator<Item = (usize, usize)> {
        let per_group = self.conv.out_channels / self.groups;
        let first = block * self.columns;
        let count = self.columns.min(per_group - first);
        (0..count).map(move |column| (group * per_group + first + column, column))
    }

    /// Packs one block into `out`; `filters` is the range [`Packing::filters_of`] of the weights (OIHW).
    pub fn pack_block(&self, filters: &[f32], group: usize, block: usize, out: &mut [f32]) {
        let conv = &self.conv;
        let [kh, kw] = conv.window.kernel;
        let (in_group, out_group) = (self.in_channels / conv.groups, conv.out_channels / conv.groups);
        // The position in k of channel i of tap (ky, kx).
        let k = |ky: usize, kx: usize, i: usize| match self.rows_layout {
            Some(layout) => ky * self.tap + layout.in_row(kx, i),
            None => (ky * kw + kx) * self.tap + i,
        };
        // The number of input channels of a block, and the first of them for an output channel.
        let channels = match self.inputs {
            Inputs::Group(channels) => channels,
            Inputs::FromQuad => self.tap,
            Inputs::Own => 1,
        };
        let first = |o: usize| match self.inputs {
            Inputs::Group(channels) => group * channels,
            Inputs::FromQuad => block * self.columns / out_group * in_group / 4 * 4,
            Inputs::Own => o,
        };
        // The offsets of values in a column, channel by channel, which are the same for each column.
        let places: Vec<usize> = (0..channels)
            .flat_map(|i| (0..kh * kw).map(move |tap| (i, tap)))
            .map(|(i, tap)| self.place_of_k(k(tap / kw, tap % kw, i)))
            .collect();
        out.fill(0.0);
        let filters = filters.chunks_exact(in_group * kh * kw);
        for ((o, column), filter) in self.columns_of(group, block).zip(filters) {
            // The start of the filter's own group among the block's input channels.
            let offset = o / out_group * in_group - first(o);
            let column = self.place_of_column(column);
            for (&place, &value) in places[offset * kh * kw..].iter().zip(filter) {
                out[column + place] = value;
            }
        }
    }

    /// 1 for each place in `blocks` of every group that a weight belongs to, and 0 for the others.
    pub fn mask(&self, blocks: Range<u32>) -> Vec<f32> {
        self.pack_with(blocks, |weights| vec![1.0; weights.len()])
    }

    /// Packs `blocks` of every group of the convolution's `weights` (OIHW).
    pub fn pack(&self, blocks: Range<u32>, weights: &[f32]) -> Vec<f32> {
        self.pack_with(blocks, |range| weights[range].to_vec())
    }

    fn pack_with(&self, blocks: Range<u32>, weights: impl Fn(Range<usize>) -> Vec<f32>) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.groups * blocks.len() * self.block_len());
        let mut packed = vec![0.0; self.block_len()];
        for group in 0..self.groups {
            for block in blocks.clone().map(|block| block as usize) {
                self.pack_block(&weights(self.filters_of(group, block)), group, block, &mut packed);
                all.extend_from_slice(&packed);
            }
        }
        all
    }

    /// The inverse of [`Packing::pack_block`] for each of `blocks` in every group: writes their weights to `weights`, those
    /// of the whole convolution (OIHW).
    pub fn unpack(&self, blocks: Range<u32>, packed: &[f32], weights: &mut [f32]) {
        // Where each weight of a block went: its number, from 1.
        let mut places = vec![0.0; self.block_len()];
        let blocks = (0..self.groups).flat_map(|group| blocks.clone().map(move |block| (group, block as usize)));
        for ((group, block), packed) in blocks.zip(packed.chunks_exact(self.block_len())) {
            let filters = self.filters_of(group, block);
            // f32 counts to 2²⁴ exactly: whole filters at once, as many as that permits.
            for (first, count) in pieces(filters.len(), 1 << 24) {
                let mut numbers = vec![0.0; filters.len()];
                numbers[first..first + count].iter_mut().zip(1..).for_each(|(number, i)| *number = i as f32);
                self.pack_block(&numbers, group, block, &mut places);
                for (&place, &value) in places.iter().zip(packed).filter(|(place, _)| **place > 0.0) {
                    weights[filters.start + first + place as usize - 1] = value;
                }
            }
        }
    }

    /// The inverse of [`Packing::pack_columns`].
    pub fn unpack_columns(&self, packed: &[f32]) -> Vec<f32> {
        let mut channels = vec![0.0; self.conv.out_channels];
        for group in 0..self.groups {
            for block in 0..self.blocks {
                for (o, column) in self.columns_of(group, block) {
                    channels[o] = packed[(group * self.blocks + block) * self.columns + column];
                }
            }
        }
        channels
    }

    /// Packs one value per output channel as `[group][block][columns]`.
    pub fn pack_columns(&self, channels: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.bias_len()];
        for group in 0..self.groups {
            for block in 0..self.blocks {
                for (o, column) in self.columns_of(group, block) {
                    out[(group * self.blocks + block) * self.columns + column] = channels[o];
                }
            }
        }
        out
    }
}

/// Ranges of at most `most` from 0 to `len`: their starts and lengths.
fn pieces(len: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(most).map(move |first| (first, most.min(len - first)))
}
