//! Weights as the kernels that multiply want them: blocks of output channels, one after the other.

use std::ops::Range;

use super::{Convolution, Precision, RowsLayout};

/// The order of a block's numbers. SwiftShader's loads wait for memory, hardly one at a time: each should touch as many cache
/// lines as there are lanes, one after the other for weights that stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// `[k][columns]`.
    Rows,
    /// `[k / 16][k % 4][k / 4 % 4][columns]`, for four lanes that load four consecutive k each.
    TransposedRows,
    /// `[k / 4][lane][k % 4][quad of the lane]` for four lanes: quad `q` of the columns is lane `q % 4`'s.
    Lanes,
}

/// Which input channels k counts from in a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inputs {
    /// All of a group of the kernel, of so many channels.
    Group(usize),
    /// From the quad on in which the block's first group begins.
    FromQuad,
    /// Each column has one input channel, its own.
    Own,
}

/// How a kernel wants its weights: `[group][block]` of [`Order`].
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    pub(super) conv: Convolution,
    /// Input channels of the convolution, of all its groups.
    pub(super) in_channels: usize,
    /// Groups as the kernel sees them.
    pub(super) groups: usize,
    /// Columns (output channels) of a block, a multiple of four.
    pub(super) columns: usize,
    pub(super) order: Order,
    pub(super) inputs: Inputs,
    /// Numbers of k at one kernel position; at one kernel row where the input lies in rows.
    pub(super) tap: usize,
    pub(super) rows_layout: Option<RowsLayout>,
    /// k of a block, padded.
    pub(super) block_k: usize,
    /// Blocks of one group.
    pub(super) blocks: usize,
    pub(super) precision: Precision,
}

impl Packing {
    /// Numbers of one block.
    pub fn block_len(&self) -> usize {
        self.block_k * self.columns
    }

    /// Numbers of all blocks.
    pub fn packed_len(&self) -> usize {
        self.block_len() * self.blocks * self.groups
    }

    /// Bytes of a block on the device.
    pub fn block_bytes(&self) -> u64 {
        self.block_len() as u64 / 4 * self.precision().quad_bytes()
    }

    /// How the weights are held on the device.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where k lies in a packed block, after the first one of its column.
    fn place_of_k(&self, k: usize) -> usize {
        match self.order {
            Order::Rows => k * self.columns,
            Order::TransposedRows => (k / 16 * 16 + k % 4 * 4 + k / 4 % 4) * self.columns,
            Order::Lanes => k / 4 * 4 * self.columns + k % 4 * (self.columns / 4),
        }
    }

    /// Where a column's first k lies in a packed block.
    fn place_of_column(&self, column: usize) -> usize {
        match self.order {
            Order::Rows | Order::TransposedRows => column,
            Order::Lanes => column / 4 % 4 * self.columns + column / 16 * 4 + column % 4,
        }
    }

    /// The columns that the numbers of a packed block belong to, over and over.
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

    /// For [`Precision::Int8`]: the largest magnitude of each column of a packed block, and for each of its numbers that of
    /// its column, over and over.
    pub fn largest(&self, packed: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let columns = self.columns_of_numbers();
        let mut largest = vec![0.0f32; self.columns];
        for (v, &column) in packed.iter().zip(columns.iter().cycle()) {
            largest[column] = largest[column].max(v.abs());
        }
        let of_numbers = columns.into_iter().map(|column| largest[column]).collect();
        (largest, of_numbers)
    }

    /// Numbers of the packed bias: one a column of every block.
    pub fn bias_len(&self) -> usize {
        self.groups * self.blocks * self.columns
    }

    /// Groups as the kernel sees them.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The blocks of a group in ranges of which all groups together hold at most `limit` numbers; `None` where
    /// not even one block does.
    pub fn chunks(&self, limit: usize) -> Option<Vec<Range<u32>>> {
        let blocks = limit / (self.block_len() * self.groups);
        if blocks == 0 {
            return None;
        }
        let starts = (0..self.blocks).step_by(blocks);
        Some(starts.map(|s| s as u32..(s + blocks).min(self.blocks) as u32).collect())
    }

    /// Which numbers of the weights (OIHW) a block is packed from.
    pub fn filters_of(&self, group: usize, block: usize) -> Range<usize> {
        let [kh, kw] = self.conv.window.kernel;
        let filter = self.in_channels / self.conv.groups * kh * kw;
        let first = self.columns_of(group, block).next().map_or(0, |(output, _)| output);
        first * filter..(first + self.columns_of(group, block).count()) * filter
    }

    /// Where the columns of a block lie in a vector of one number a column, as [`Packing::pack_columns`] makes it.
    pub fn columns_in(&self, group: usize, block: usize) -> Range<usize> {
        let first = (group * self.blocks + block) * self.columns;
        first..first + self.columns
    }

    /// The output channels of a block, with their column in it.
    fn columns_of(&self, group: usize, block: usize) -> impl Iterator<Item = (usize, usize)> {
        let per_group = self.conv.out_channels / self.groups;
        let first = block * self.columns;
        let count = self.columns.min(per_group - first);
        (0..count).map(move |column| (group * per_group + first + column, column))
    }

    /// Packs one block into `out`; `filters` are those numbers of the weights (OIHW) that
    /// [`Packing::filters_of`] says.
    pub fn pack_block(&self, filters: &[f32], group: usize, block: usize, out: &mut [f32]) {
        let conv = &self.conv;
        let [kh, kw] = conv.window.kernel;
        let (in_group, out_group) = (self.in_channels / conv.groups, conv.out_channels / conv.groups);
        // Where channel i of tap (ky, kx) lies in k.
        let k = |ky: usize, kx: usize, i: usize| match self.rows_layout {
            Some(layout) => ky * self.tap + layout.in_row(kx, i),
            None => (ky * kw + kx) * self.tap + i,
        };
        // Input channels of a block, and the first of them for an output channel.
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
        // Where the numbers lie in a column, channel by channel: the same for each column.
        let places: Vec<usize> = (0..channels)
            .flat_map(|i| (0..kh * kw).map(move |tap| (i, tap)))
            .map(|(i, tap)| self.place_of_k(k(tap / kw, tap % kw, i)))
            .collect();
        out.fill(0.0);
        let filters = filters.chunks_exact(in_group * kh * kw);
        for ((o, column), filter) in self.columns_of(group, block).zip(filters) {
            // Where the filter's own group starts among the block's input channels.
            let offset = o / out_group * in_group - first(o);
            let column = self.place_of_column(column);
            for (&place, &value) in places[offset * kh * kw..].iter().zip(filter) {
                out[column + place] = value;
            }
        }
    }

    /// Packs one number an output channel as `[group][block][columns]`.
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
