//! Convolution: shaders/gemm_*.wgsl, matvec_*.wgsl, winograd_*.wgsl or grouped_conv.wgsl.

use serde::{Deserialize, Serialize};

use super::{
    BackwardPass, Gradients, Operation,
    product::{lower_parameter_gradients, lower_product, lower_product_backward, product_algorithms},
    winograd::{lower_trained_winograd, lower_winograd, lower_winograd_gradient, reads_packed},
};
use crate::{
    activation::Activation,
    kernels::{
        Algorithm, Convolution, Filters, Gemm, GroupedConv, KernelConfig, RowsLayout, Storage, Winograd,
        binding::{BIAS, WEIGHTS, X, Y},
    },
    program::{Backward, Lowering, ProgramError, WeightArrays, read, write},
    select,
    shape::Shape,
    window::{Padding, Window},
};

/// Two-dimensional convolution (cross-correlation, as in all frameworks) with bias.
///
/// Weights are OIHW: `out_channels × in_channels / groups × kernel[0] × kernel[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conv {
    /// Output channels (filters).
    pub out_channels: usize,
    /// Kernel, stride and padding.
    #[serde(flatten)]
    pub window: Window,
    /// Number of groups that the input and output channels are split into. Each group is convolved by itself.
    pub groups: usize,
    /// The activation function, fused into the layer.
    #[serde(flatten, with = "crate::activation")]
    pub activation: Activation,
}

impl Conv {
    /// Makes a convolution with `out_channels` square filters of side `kernel`: stride 1, no padding, one group, no
    /// activation function.
    pub const fn new(out_channels: usize, kernel: usize) -> Self {
        Self { out_channels, window: Window::square(kernel, 1), groups: 1, activation: Activation::None }
    }

    /// Sets the window.
    pub const fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Sets the stride.
    pub const fn stride(mut self, stride: usize) -> Self {
        self.window.stride = [stride, stride];
        self
    }

    /// Sets the dilation: the distance between adjacent positions of a window.
    pub const fn dilation(mut self, dilation: usize) -> Self {
        self.window.dilation = [dilation, dilation];
        self
    }

    /// Sets the zero padding.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.window.padding = padding.into();
        self
    }

    /// Sets the number of groups.
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets the activation function to ReLU.
    pub const fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// Sets the activation function.
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

impl From<&Conv> for Convolution {
    fn from(conv: &Conv) -> Self {
        let Conv { out_channels, window, groups, activation } = *conv;
        Self { out_channels, window, groups, activation }
    }
}

impl Operation for Conv {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        self.activation.check()?;
        let Self { out_channels, groups, .. } = *self;
        let divides = |channels: usize| channels.is_multiple_of(groups);
        if groups == 0 || out_channels == 0 || !divides(input.channels) || !divides(out_channels) {
            return Err(format!(
                "input and output channels that {groups} groups divide, found {} in and {out_channels} out",
                input.channels
            ));
        }
        let [height, width] = self.window.output(input)?;
        Ok(Shape::new(out_channels, height, width))
    }

    fn parameters(&self, input: Shape) -> Vec<(&'static str, Vec<usize>)> {
        let [height, width] = self.window.kernel;
        let weight = vec![self.out_channels, input.channels / self.groups, height, width];
        vec![("weight", weight), ("bias", vec![self.out_channels])]
    }

    fn reads(&self, input: Shape, _: Shape) -> u64 {
        let [height, width] = self.window.kernel.map(|n| n as u64);
        (input.channels / self.groups) as u64 * height * width
    }

    fn multiply_adds(&self, input: Shape, output: Shape) -> u64 {
        output.len() as u64 * self.reads(input, output)
    }

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn describe(&self) -> String {
        let groups = if self.groups == 1 { String::new() } else { format!(", {} groups", self.groups) };
        format!("convolution {}{groups}", self.window.describe())
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn reference(&self, input: Shape, output: Shape, x: &[f64], parameters: &[Vec<f64>]) -> Vec<f64> {
        let [weight, bias] = parameters else { return vec![] };
        let [kh, kw] = self.window.kernel;
        let (in_group, out_group) = (input.channels / self.groups, output.channels / self.groups);
        let mut y = Vec::with_capacity(output.len());
        for (o, oy, ox) in output.indices() {
            let (rows, columns) = (self.window.rows(oy, input), self.window.columns(ox, input));
            let mut sum = bias[o];
            for i in 0..in_group {
                let plane = (o / out_group * in_group + i) * input.height;
                for (iy, ky) in rows.clone() {
                    let (row, filter) = ((plane + iy) * input.width, ((o * in_group + i) * kh + ky) * kw);
                    sum += columns.clone().map(|(ix, kx)| x[row + ix] * weight[filter + kx]).sum::<f64>();
                }
            }
            y.push(self.activation.apply(sum));
        }
        y
    }

    fn backward(&self, pass: &BackwardPass<'_>) -> Gradients {
        let BackwardPass { input, output, x, parameters, .. } = *pass;
        let dy = pass.before(self.activation);
        let weight = &parameters[0];
        let [kh, kw] = self.window.kernel;
        let (in_group, out_group) = (input.channels / self.groups, output.channels / self.groups);
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; output.channels]);
        for ((o, oy, ox), dy) in output.indices().zip(dy) {
            let (rows, columns) = (self.window.rows(oy, input), self.window.columns(ox, input));
            db[o] += dy;
            for i in 0..in_group {
                let plane = (o / out_group * in_group + i) * input.height;
                for (iy, ky) in rows.clone() {
                    let (row, filter) = ((plane + iy) * input.width, ((o * in_group + i) * kh + ky) * kw);
                    for (ix, kx) in columns.clone() {
                        dx[row + ix] += dy * weight[filter + kx];
                        dw[filter + kx] += dy * x[row + ix];
                    }
                }
            }
        }
        Gradients { x: dx, parameters: vec![dw, db] }
    }

    fn sums_products(&self) -> bool {
        true
    }

    fn input_layout(&self, input: Shape, output: Shape) -> Option<RowsLayout> {
        RowsLayout::of(self.into(), input, output)
    }

    fn algorithm(&self, config: KernelConfig, input: Shape, output: Shape, batch: usize) -> Algorithm {
        let positions = batch * output.height * output.width;
        match select::winograd_tile(config.family, self.window, positions) {
            Some(tile) => Algorithm::Winograd { tile },
            None => select::split(config, &Gemm::conv(self.into(), input, output, batch), batch),
        }
    }

    fn algorithms(
        &self,
        config: KernelConfig,
        input: Shape,
        output: Shape,
        layout: Option<RowsLayout>,
    ) -> Vec<Algorithm> {
        let applies = |&tile: &usize| Winograd::new(self.into(), input, output, 1, tile, layout).is_some();
        let winograd = [2, 3, 4].into_iter().filter(applies).map(|tile| Algorithm::Winograd { tile });
        product_algorithms(config, [(32, 1), (32, 4), (128, 1), (128, 4)]).chain(winograd).collect()
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), ProgramError> {
        let (input, output, layout) = (lowering.input, lowering.output, lowering.input_layout);
        let (config, batch) = (lowering.config(), lowering.options.batch);
        if let Algorithm::Winograd { tile } = lowering.algorithm
            && let Some(winograd) = Winograd::new(self.into(), input, output, batch, tile, layout)
        {
            if lowering.training.is_none() {
                return lower_winograd(lowering, &winograd);
            }
            let direct = Gemm::conv(self.into(), input, output, batch).with_rows_layout(layout).packing(config);
            if reads_packed(&winograd, lowering.options, &direct, Filters::Same) {
                return lower_trained_winograd(lowering, &winograd, direct);
            }
        }
        // The backward pass reads weights as a matrix product has them.
        if lowering.training.is_none()
            && let Some(grouped) = GroupedConv::where_it_pays(self.into(), input, output, batch, config)
        {
            return lower_grouped(lowering, &grouped);
        }
        let gemm = Gemm::conv(self.into(), input, output, batch).with_rows_layout(layout);
        lower_product(lowering, gemm.by(lowering.algorithm, config))
    }

    fn lower_backward(&self, backward: &mut Backward<'_>) -> Result<(), ProgramError> {
        let (input, output, layout) = (backward.input, backward.output, backward.forward.input_layout);
        let batch = backward.options.batch;
        let gemm = Gemm::conv(self.into(), input, output, batch).with_rows_layout(layout);
        if let Some(Algorithm::Winograd { tile }) = backward.options.algorithms.get(backward.name)
            && let Some(winograd) = Winograd::input_gradient(self.into(), input, output, batch, *tile)
            && let Some((weights, bias)) = backward.parameters()
            && let [(_, array)] = weights.chunks[..]
            && backward.program.get(array).storage == Storage::StorageBuffer
            && reads_packed(&winograd, backward.options, &weights.packing, Filters::Turned)
        {
            if backward.wants_input {
                lower_winograd_gradient(backward, &winograd, &weights.packing, array)?;
            }
            return lower_parameter_gradients(backward, &gemm, &weights, bias);
        }
        lower_product_backward(backward, &gemm)
    }
}

fn lower_grouped(lowering: &mut Lowering<'_>, grouped: &GroupedConv) -> Result<(), ProgramError> {
    let (x, y) = (lowering.x(), lowering.y());
    let WeightArrays { chunks, .. } = lowering.weights(grouped.packing(), None)?;
    let bias = lowering.channel_bias();
    for (blocks, weights) in &chunks {
        let bound = [read(X, x), write(Y, y), read(WEIGHTS, *weights), read(BIAS, bias)];
        lowering.dispatch(grouped.work(blocks), &bound)?;
    }
    Ok(())
}
