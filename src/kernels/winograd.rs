//! Winograd convolution: shaders/winograd_input_*.wgsl, a matrix product, shaders/winograd_output_*.wgsl; in training,
//! shaders/winograd_weights.wgsl before them.
//!
//! F(m×m, r×r) computes m×m outputs of an r×r kernel from n×n inputs, n = m + r − 1, with n² multiplications instead of
//! m²·r² (Lavin, Gray 2015). The cost is larger weights (n² values for r²), two or four more passes over the
//! activations and a little accuracy.
//!
//! A strided convolution of an input in rows is a convolution of cells without stride (see [`RowsLayout`]): 11×11 with
//! stride 4 on three channels becomes 3×3 on 48.

use std::ops::Range;

use super::{
    BROADCAST_ROWS, Convolution, Family, Gemm, Kernel, KernelConfig, Packing, RowsLayout, TILED_ROWS, WORKGROUP, Work,
    gradients::derivative, packing::Order, relu_flag,
};
use crate::{
    activation::{Activation, Below},
    shape::Shape,
    window::{Padding, Window},
};

/// Interpolation points in order of use, chosen for the smallest errors (Barabasz and others 2018, "Error analysis and
/// improving the accuracy of Winograd convolution for deep neural networks"). Infinity is always the last point and not
/// listed.
const POINTS: [f64; 7] = [0.0, 1.0, -1.0, 0.5, -2.0, -0.5, 2.0];

/// The maximum number of vec4s in a step's output, which limits the tiles computed at once. Data between the steps then
/// stays in a processor's caches, while a GPU has enough to do.
fn quads_at_once(family: Family) -> usize {
    match family {
        Family::SubgroupBroadcast { .. } => 1 << 18,
        Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => 1 << 21,
    }
}

/// The largest n for which an invocation on a processor transforms a whole n×n tile. 8×8 tiles are no faster that way,
/// and take Mesa 25 six seconds more to compile.
const WHOLE_REACH: usize = 6;

/// Channel quads that a workgroup transforms: 16 tiles of 8×8 use all the workgroup memory that WebGPU guarantees.
const WORKGROUP_QUADS: u32 = 16;

/// How the transforms of tiles are divided among invocations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// One line per invocation, in two dispatches per transform.
    Lines,
    /// One tile per invocation, in registers; on a processor these are in memory anyway.
    Tiles,
    /// One line per invocation, exchanged in workgroup memory: for GPUs.
    Workgroup,
}

/// The transforms of F(m, r) in one dimension: y = Aᵀ ((G g) ⊙ (Bᵀ d)).
pub(crate) struct Transforms {
    /// m × n.
    pub at: Vec<Vec<f64>>,
    /// n × r.
    pub g: Vec<Vec<f64>>,
    /// n × n.
    pub bt: Vec<Vec<f64>>,
}

impl Transforms {
    /// Toom-Cook with [`POINTS`] and infinity (Blahut 2010, "Fast algorithms for signal processing", chapter 5).
    pub fn new(m: usize, r: usize) -> Self {
        let n = m + r - 1;
        let points = &POINTS[..n - 1];
        // Coefficients of Π (x − p) over `points`, lowest first.
        let product = |points: &mut dyn Iterator<Item = f64>| {
            points.fold(vec![1.0], |polynomial: Vec<f64>, p| {
                let mut next = vec![0.0; polynomial.len() + 1];
                for (i, c) in polynomial.iter().enumerate() {
                    next[i + 1] += c;
                    next[i] -= p * c;
                }
                next
            })
        };
        let others = |j: usize| points.iter().copied().enumerate().filter(move |&(l, _)| l != j).map(|(_, p)| p);
        let power = |p: f64, i: usize| p.powi(i as i32);

        let at = (0..m)
            .map(|i| {
                let last = f64::from(u8::from(i == m - 1));
                points.iter().map(|&p| power(p, i)).chain([last]).collect()
            })
            .collect();
        let mut g: Vec<Vec<f64>> = (0..n - 1)
            .map(|j| {
                let norm: f64 = others(j).map(|p| points[j] - p).product();
                (0..r).map(|k| power(points[j], k) / norm).collect()
            })
            .collect();
        g.push((0..r).map(|k| f64::from(u8::from(k == r - 1))).collect());
        let mut bt: Vec<Vec<f64>> = (0..n - 1).map(|j| product(&mut others(j))).collect();
        for row in &mut bt {
            row.resize(n, 0.0);
        }
        bt.push(product(&mut points.iter().copied()));
        Self { at, g, bt }
    }
}

/// A convolution with Winograd's algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    conv: Convolution,
    input: Shape,
    output: Shape,
    batch: usize,
    /// Outputs per tile along each axis, m.
    tile: usize,
    /// Set where the input is in rows; `conv` and `input` are then those of its cells.
    rows_layout: Option<RowsLayout>,
}

/// The pixels of an activation, as a step reads or writes them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Pixels {
    /// Rows of the activation, and pixels in each.
    height: u32,
    width: u32,
    /// Rows and quads of one pixel.
    rows: u32,
    quads: u32,
    pad_top: u32,
    pad_left: u32,
}

impl Pixels {
    /// The pixels of an activation in the usual layout.
    fn of(Shape { channels, height, width }: Shape) -> Self {
        let [height, width, quads] = [height, width, channels.div_ceil(4)].map(|n| n as u32);
        Self { height, width, rows: 1, quads, pad_top: 0, pad_left: 0 }
    }
}

/// The `Tiles` struct of shaders/winograd.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Uniform {
    pixels: Pixels,
    quads: u32,
    group_quads: u32,
    tiles_y: u32,
    tiles_x: u32,
    first_tile: u32,
    tiles: u32,
    relu: u32,
}

/// The `Weights` struct of shaders/winograd_weights.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct WeightsUniform {
    quads: u32,
    column_quads: u32,
    k: u32,
    blocks: u32,
    x_columns: u32,
    x_block_k: u32,
    x_blocks: u32,
    x_channels: u32,
}

/// The convolution that weights are transformed for on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filters {
    /// The convolution that has these weights.
    Same,
    /// The convolution that computes the gradient of that one's input.
    Turned,
}

impl Winograd {
    /// The convolution with tiles of `tile` × `tile` outputs. `None` where the algorithm does not apply: it needs a
    /// square kernel of at least 2, stride 1 (any stride where the input is in rows), groups of whole quads, and a tile
    /// for which [`POINTS`] suffice.
    pub fn new(
        conv: Convolution,
        input: Shape,
        output: Shape,
        batch: usize,
        tile: usize,
        rows_layout: Option<RowsLayout>,
    ) -> Option<Self> {
        let (conv, input) = rows_layout.map_or((conv, input), |layout| layout.convolution_of_cells(conv, output));
        let Window { kernel: [kh, kw], stride, dilation, .. } = conv.window;
        let whole = |channels: usize| conv.groups == 1 || (channels / conv.groups).is_multiple_of(4);
        let applies = kh == kw
            && kh >= 2
            && (2..=POINTS.len()).contains(&tile)
            && tile + kh <= POINTS.len() + 2
            && stride == [1, 1]
            && dilation == [1, 1]
            && whole(input.channels)
            && whole(output.channels);
        applies.then_some(Self { conv, input, output, batch, tile, rows_layout })
    }

    /// The gradient of the convolution's input as a convolution of the output's gradient: with the filters turned by half a
    /// circle, and inputs and outputs exchanged. `None` where the algorithm does not apply.
    pub fn input_gradient(conv: Convolution, input: Shape, output: Shape, batch: usize, tile: usize) -> Option<Self> {
        let Window { kernel: [kh, kw], stride, padding: Padding { top, left, bottom, right }, .. } = conv.window;
        if stride != [1, 1] {
            return None;
        }
        let rest = |kernel: usize, padding: usize| (kernel - 1).checked_sub(padding);
        let padding =
            Padding { top: rest(kh, top)?, left: rest(kw, left)?, bottom: rest(kh, bottom)?, right: rest(kw, right)? };
        let window = Window { padding, ..conv.window };
        let turned = Convolution { out_channels: input.channels, window, activation: Activation::None, ..conv };
        Self::new(turned, output, input, batch, tile, None)
    }

    fn kernel(&self) -> usize {
        self.conv.window.kernel[0]
    }

    /// Inputs per tile along each axis, n.
    fn reach(&self) -> usize {
        self.tile + self.kernel() - 1
    }

    fn tiles_y(&self) -> usize {
        self.output.height.div_ceil(self.tile)
    }

    fn tiles_x(&self) -> usize {
        self.output.width.div_ceil(self.tile)
    }

    /// Ranges of the tiles of all images, each computed at once.
    pub fn parts(&self, family: Family) -> Vec<Range<usize>> {
        let tiles = self.batch * self.tiles_y() * self.tiles_x();
        let [first, second] = self.scratch_of(1, family);
        // Parts of about the same size, with whole tiles of the matrix product.
        let rows = if family == Family::WorkgroupTiled { TILED_ROWS } else { BROADCAST_ROWS };
        let most = (quads_at_once(family) / first.max(second) / rows * rows).max(rows);
        let at_once = tiles.div_ceil(tiles.div_ceil(most)).next_multiple_of(rows);
        (0..tiles).step_by(at_once).map(|first| first..tiles.min(first + at_once)).collect()
    }

    /// The products of `tiles` tiles: a 1×1 convolution with a group per position of a tile. Groups are laid out apart.
    /// Otherwise the distance between tiles would be a power of two of bytes in many layers, and caches hold few lines
    /// at such distances.
    pub fn products(&self, tiles: usize) -> Gemm {
        let positions = self.reach() * self.reach();
        let padded = |channels: usize| positions * channels.next_multiple_of(4);
        let (i, o) = (padded(self.input.channels), padded(self.output.channels));
        let conv = Convolution {
            out_channels: o,
            window: Window::square(1, 1),
            groups: positions * self.conv.groups,
            activation: Activation::None,
        };
        Gemm::conv(conv, Shape::new(i, 1, tiles), Shape::new(o, 1, tiles), 1).with_groups_apart()
    }

    /// The packing of the transformed weights for the matrix product of `config`.
    pub fn packing(&self, config: KernelConfig) -> Packing {
        // All parts use one kernel, so one packing serves them.
        self.products(1).packing(config)
    }

    fn sharing(&self, family: Family) -> Sharing {
        match family {
            Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => Sharing::Workgroup,
            Family::SubgroupBroadcast { .. } if self.reach() <= WHOLE_REACH => Sharing::Tiles,
            Family::SubgroupBroadcast { .. } => Sharing::Lines,
        }
    }

    /// vec4s of the two arrays between the steps, which alternate: the transformed input, and the products. With
    /// `Sharing::Lines`: transformed rows (the second array), the transformed input, products, columns transformed
    /// back.
    pub fn scratch(&self, family: Family) -> [usize; 2] {
        self.scratch_of(self.parts(family).iter().map(Range::len).max().unwrap_or(0), family)
    }

    fn scratch_of(&self, tiles: usize, family: Family) -> [usize; 2] {
        let (n, m) = (self.reach(), self.tile);
        let [inputs, outputs] = [self.input.channels, self.output.channels].map(|c: usize| tiles * c.div_ceil(4));
        match self.sharing(family) {
            Sharing::Lines => [n * (n * inputs).max(m * outputs), n * n * inputs.max(outputs)],
            Sharing::Tiles | Sharing::Workgroup => [n * n * inputs, n * n * outputs],
        }
    }

    /// Values in the weights of one row of a tile's positions.
    pub fn weights_row_len(&self) -> usize {
        let inputs = self.input.channels / self.conv.groups;
        self.reach() * self.output.channels.next_multiple_of(4) * inputs.next_multiple_of(4)
    }

    /// G g Gᵀ of every filter, for the positions in `row` of a tile: a part of the weights (OIHW) of
    /// [`Winograd::products`].
    pub fn transform_weights(&self, weight: &[f32], row: usize) -> Vec<f32> {
        let of_cells = self.rows_layout.map(|layout| layout.weights_of_cells(weight));
        let weight = of_cells.as_deref().unwrap_or(weight);
        let r = self.kernel();
        let g = Transforms::new(self.tile, r).g;
        let inputs = self.input.channels / self.conv.groups;
        let (padded_in, padded_out) = (inputs.next_multiple_of(4), self.output.channels.next_multiple_of(4));
        let mut out = vec![0.0; self.weights_row_len()];
        let mut half = vec![0.0f64; r];
        for (i, filter) in weight.chunks_exact(r * r).enumerate() {
            for (column, value) in half.iter_mut().enumerate() {
                *value = (0..r).map(|k| g[row][k] * f64::from(filter[k * r + column])).sum();
            }
            for (position, g) in g.iter().enumerate() {
                let value: f64 = half.iter().zip(g).map(|(a, b)| a * b).sum();
                out[(position * padded_out + i / inputs) * padded_in + i % inputs] = value as f32;
            }
        }
        out
    }

    /// Transforms weights that the device has, packed by `packed` for the direct algorithm: all blocks of [`Winograd::packing`].
    /// It binds them as numbers in a storage buffer, and y.
    pub fn transform_packed(&self, config: KernelConfig, packed: &Packing, filters: Filters) -> Work {
        let packing = self.packing(config);
        let groups = packing.groups / (self.reach() * self.reach());
        let quads = groups * packing.blocks * packing.block_len() / 4;
        let [quads, column_quads, k, blocks] =
            [quads, packing.columns / 4, packing.block_k, packing.blocks].map(|n| n as u32);
        let [x_columns, x_block_k, x_blocks, x_channels] =
            [packed.columns, packed.block_k, packed.blocks, packed.tap].map(|n| n as u32);
        let uniform = WeightsUniform { quads, column_quads, k, blocks, x_columns, x_block_k, x_blocks, x_channels };
        let mut kernel = self.kernel_of("winograd_weights", WORKGROUP);
        kernel.settings.push(("TURNED", (filters == Filters::Turned).into()));
        Work::new(kernel, bytemuck::bytes_of(&uniform), [quads.div_ceil(WORKGROUP), 1, 1])
    }

    /// Whether [`Winograd::transform_packed`] can read weights packed by `packed`, and the last step, if there is a bias, the
    /// one packed beside them.
    pub fn reads_packed(&self, config: KernelConfig, packed: &Packing, filters: Filters) -> bool {
        let packing = self.packing(config);
        let in_rows = |packing: &Packing| matches!(packing.order, Order::Rows);
        // Of several groups, the last column block must not have a part without channels.
        let whole = self.conv.groups == 1
            || filters == Filters::Turned
            || (self.conv.out_channels / self.conv.groups).is_multiple_of(packed.columns);
        packed.groups == self.conv.groups
            && packed.rows_layout.is_none()
            && in_rows(&packing)
            && in_rows(packed)
            && whole
    }

    fn input_pixels(&self) -> Pixels {
        let Padding { top, left, .. } = self.conv.window.padding;
        match self.rows_layout {
            Some(layout) => Pixels {
                height: layout.height as u32,
                width: (layout.row_quads / layout.step_quads) as u32,
                rows: layout.window.stride[0] as u32,
                quads: layout.step_quads as u32,
                pad_top: layout.window.padding.top as u32,
                pad_left: 0,
            },
            None => Pixels { pad_top: top as u32, pad_left: left as u32, ..Pixels::of(self.input) },
        }
    }

    /// The steps that transform the input of `tiles`, in order. The first reads the layer's input. The last writes the
    /// first array of [`Winograd::scratch`]; a step before it writes the second.
    pub fn transform_input(&self, config: KernelConfig, tiles: &Range<usize>) -> Vec<Work> {
        let (pixels, lines) = (self.input_pixels(), self.reach());
        match self.sharing(config.family) {
            Sharing::Tiles => vec![self.step("winograd_input_tiles", WORKGROUP, pixels, tiles, 1)],
            Sharing::Workgroup => vec![self.step("winograd_input_workgroup", WORKGROUP_QUADS, pixels, tiles, 1)],
            Sharing::Lines => ["winograd_input_rows", "winograd_input_columns"]
                .map(|shader| self.step(shader, WORKGROUP, pixels, tiles, lines))
                .into(),
        }
    }

    /// The steps that transform the products of `tiles` back, in order. The first reads the second array of
    /// [`Winograd::scratch`], and if another follows it, writes the first. The last writes the layer's output. It binds the bias,
    /// or of a gradient, which is passed through `below`, the layer's input as the addend.
    pub fn transform_output(&self, config: KernelConfig, tiles: &Range<usize>, below: Option<Below>) -> Vec<Work> {
        let pixels = Pixels::of(self.output);
        let last = |shader, workgroup, lines| {
            let mut work = self.step(shader, workgroup, pixels, tiles, lines);
            match below {
                None => work.kernel = work.kernel.with_activation(self.conv.activation, self.conv.out_channels),
                Some(below) => work.kernel.settings.extend(derivative(below)),
            }
            work
        };
        match self.sharing(config.family) {
            Sharing::Tiles => vec![last("winograd_output_tiles", WORKGROUP, 1)],
            Sharing::Workgroup => vec![last("winograd_output_workgroup", WORKGROUP_QUADS, 1)],
            Sharing::Lines => vec![
                self.step("winograd_output_columns", WORKGROUP, pixels, tiles, self.reach()),
                last("winograd_output_rows", WORKGROUP, self.tile),
            ],
        }
    }

    /// The kernel of `shader` with `workgroup` invocations along x.
    fn kernel_of(&self, shader: &'static str, workgroup: u32) -> Kernel {
        let [m, r, n] = [self.tile, self.kernel(), self.reach()].map(|n| n as u32);
        Kernel::new(shader, [("WORKGROUP", workgroup), ("M", m), ("R", r), ("N", n)])
    }

    /// One step with `lines` lines per tile, and `workgroup` invocations along x.
    fn step(&self, shader: &'static str, workgroup: u32, pixels: Pixels, tiles: &Range<usize>, lines: usize) -> Work {
        let quads = pixels.rows * pixels.quads;
        let uniform = Uniform {
            pixels,
            quads,
            group_quads: quads / self.conv.groups as u32,
            tiles_y: self.tiles_y() as u32,
            tiles_x: self.tiles_x() as u32,
            first_tile: tiles.start as u32,
            tiles: tiles.len() as u32,
            relu: relu_flag(self.conv.activation),
        };
        let kernel = self.kernel_of(shader, workgroup);
        let workgroups = [((tiles.len() * lines) as u32 * quads).div_ceil(workgroup), 1, 1];
        Work::new(kernel, bytemuck::bytes_of(&uniform), workgroups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_convolve() {
        for (m, r) in [(2, 2), (2, 3), (3, 3), (4, 3), (2, 5), (3, 5), (4, 5), (5, 3), (6, 3)] {
            let t = Transforms::new(m, r);
            let n = m + r - 1;
            let signal: Vec<f64> = (0..n).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect();
            let filter: Vec<f64> = (0..r).map(|i| ((i * 5 + 2) % 7) as f64 - 3.0).collect();
            let times = |matrix: &[Vec<f64>], v: &[f64]| -> Vec<f64> {
                matrix.iter().map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
            };
            let products: Vec<f64> =
                times(&t.g, &filter).iter().zip(times(&t.bt, &signal)).map(|(a, b)| a * b).collect();
            for (i, found) in times(&t.at, &products).into_iter().enumerate() {
                let expected: f64 = (0..r).map(|k| signal[i + k] * filter[k]).sum();
                assert!((found - expected).abs() < 1e-9, "F({m}, {r}) output {i}: {found}, expected {expected}");
            }
        }
    }
}
