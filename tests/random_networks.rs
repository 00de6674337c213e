//! Random small networks, in random kernel configurations, against the f64 twin, layer by layer. They also run with every
//! index checked in the shaders, which must give identical bits.
//!
//! By default 200 networks from a fixed seed; `ALEXNET_RANDOM_NETWORKS=2000` runs 2000, `ALEXNET_RANDOM_START=N` starts
//! elsewhere. A failure names the number of its network: to repeat it alone, start there and run one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fmt;

use alexnet_wgpu::{
    Activation, AdaptiveAvgPool, Algorithm, AvgPool, BatchNorm, Checks, Conv, KernelConfig, Linear, LocalResponseNorm,
    LrnConvention, MaxPool, Network, Op, Padding, Pipeline, Precision, Shape, Weights, Window, splitmix,
};
use pollster::block_on;

/// A stream of choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// A network, its kernel configuration and its batch.
struct Case {
    network: Network,
    config: KernelConfig,
    algorithms: Vec<(String, Algorithm)>,
    precision: Precision,
    batch: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, config, algorithms, precision, batch } = self;
        let network = serde_json::to_string(network).map_err(|_| fmt::Error)?;
        write!(f, "{config:?} {algorithms:?} {precision}, batch {batch}: {network}")
    }
}

impl Case {
    fn new(number: u64) -> Self {
        let mut choices = Choices(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let c = &mut choices;
        let channels = c.one_of(&[1, 1, 2, 3, 3, 3, 4, 5, 6, 8, 12, 16]);
        let side = |c: &mut Choices| if c.chance(6) { 1 } else { 2 + c.below(12) };
        let input = Shape::new(channels, side(c), side(c));
        let mut layers: Vec<(String, Op)> = Vec::new();
        let mut shape = input;
        for i in 0..1 + c.below(4) {
            let op = op(c, shape, i == 0);
            let name = format!("layer{i}");
            // Not every random layer fits.
            if let Ok(one) = Network::new("one", shape, [(name.clone(), op)]) {
                shape = one.output();
                layers.push((name, op));
            }
        }
        if layers.is_empty() {
            layers.push(("identity".into(), Op::Dropout));
        }
        let nobody_chose = c.chance(4);
        let algorithms = layers.iter().filter(|(_, op)| matches!(op, Op::Conv(_) | Op::Linear(_))).map(|(name, _)| {
            let algorithm = match c.below(6) {
                5 => Algorithm::Tile { rows: c.one_of(&[16, 32, 128]), parts: c.one_of(&[1, 2, 5]) },
                0 => Algorithm::SplitK { parts: c.one_of(&[2, 3, 4, 16]) },
                1 | 2 => Algorithm::Winograd { tile: c.one_of(&[2, 3, 4]) },
                _ => Algorithm::Direct,
            };
            (name.clone(), algorithm)
        });
        let algorithms = if nobody_chose { vec![] } else { algorithms.collect() };
        let network = Network::new("random", input, layers).unwrap();
        let config = c.one_of(&common::configs(common::gpu()));
        let precision = c.one_of(&[Precision::F32, Precision::F32, Precision::F16, Precision::Int8]);
        Self { network, config, algorithms, precision, batch: c.one_of(&[1, 1, 1, 2, 3, 5, 9, 17]) }
    }

    /// The activations of every layer for the batch.
    fn run(&self, weights: &Weights, input: &[f32], checks: Checks) -> Result<Vec<Vec<f32>>, String> {
        let builder = Pipeline::builder(common::gpu(), &self.network, weights);
        let builder = builder.kernel_config(self.config).precision(self.precision).batch(self.batch).checks(checks);
        let algorithms = self.algorithms.iter();
        let builder = algorithms.fold(builder, |b, (layer, algorithm)| b.algorithm(layer, *algorithm));
        let pipeline = builder.build().map_err(|e| e.to_string())?;
        let names: Vec<&str> = self.network.layers().iter().map(|l| l.name.as_str()).collect();
        block_on(pipeline.run_layers(input, &names)).map_err(|e| e.to_string())
    }

    /// Compares the activations with the twin; returns the largest error, or a description of a failure.
    fn check(&self) -> Result<f64, String> {
        let weights = Weights::random(&self.network, 7);
        let input = splitmix::uniform(99, self.network.input().len() * self.batch, 2.0);
        let found = self.run(&weights, &input, Checks::Off)?;
        let checked = self.run(&weights, &input, Checks::On)?;
        let mut worst = 0.0f64;
        let mut x = &input;
        for ((layer, y), checked) in self.network.layers().iter().zip(&found).zip(&checked) {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            if bits(y) != bits(checked) {
                return Err(format!("`{}` has other bits with checks", layer.name));
            }
            let algorithm = self.algorithms.iter().find(|(name, _)| *name == layer.name).map(|(_, a)| *a);
            let error = common::layer_error(layer, &weights, self.precision, x, y)?;
            // Winograd's larger coefficients cost accuracy; the default plan may choose it.
            let limit = match (layer.op, algorithm) {
                (Op::Conv(_), None | Some(Algorithm::Winograd { .. })) => 2e-5,
                (Op::MaxPool(_) | Op::Dropout, _) => 0.0,
                _ => 2e-6,
            };
            if error.is_nan() || error > limit {
                return Err(format!("`{}` is off by {error:e}", layer.name));
            }
            worst = worst.max(error);
            x = y;
        }
        Ok(worst)
    }
}

fn activation(c: &mut Choices) -> Activation {
    let leaky = Activation::LeakyRelu { slope: 0.1 };
    // Each of the others is another shader to compile.
    match c.below(10) {
        0..4 => Activation::None,
        4..8 => Activation::Relu,
        _ => c.one_of(&[Activation::Relu6, leaky, Activation::Sigmoid, Activation::Tanh, Activation::Selu]),
    }
}

/// A layer for an input of `shape`, more often than not an edge case.
fn op(c: &mut Choices, shape: Shape, first: bool) -> Op {
    let Shape { channels, height, width } = shape;
    match c.below(if first { 14 } else { 20 }) {
        0..8 => {
            let kernel = match c.below(5) {
                // All of the input, a point of it, a rectangle, or a square.
                0 => [height, width],
                1 => [1, 1],
                2 => [1 + c.below(height.min(5)), 1 + c.below(width.min(11))],
                _ => [c.one_of(&[2, 3, 3, 5]); 2],
            };
            let stride = match c.below(4) {
                // Beyond the kernel, and so that a first layer's windows start at whole quads.
                0 => [kernel[0] + 1 + c.below(3), kernel[1] + 1 + c.below(3)],
                1 | 2 => [c.one_of(&[2, 4]), c.one_of(&[2, 4, 8])],
                _ => [1, 1],
            };
            let none = !c.chance(3);
            let padding = |c: &mut Choices, kernel: usize| if none || c.chance(2) { 0 } else { c.below(kernel) };
            let [top, bottom] = [0; 2].map(|_| padding(c, kernel[0]));
            let [left, right] = [0; 2].map(|_| padding(c, kernel[1]));
            let window = Window { kernel, stride, padding: Padding { top, left, bottom, right }, dilation: [1, 1] };
            // Gaps, where the input has room for them.
            let room = |size: usize, kernel: usize| if kernel > 1 { (size - 1) / (kernel - 1) } else { 3 };
            let most = [room(height, kernel[0]), room(width, kernel[1])];
            let gaps = !first && c.chance(4);
            let dilation = most.map(|most| if gaps { 1 + c.below(most.clamp(1, 3)) } else { 1 });
            let window = Window { dilation, ..window };
            // Groups that are merged, depthwise ones, and those of whole quads.
            let divisors: Vec<usize> = (1..=channels).filter(|d| channels.is_multiple_of(*d)).collect();
            let groups = if c.chance(3) { c.one_of(&divisors) } else { 1 };
            let out_channels = groups * c.one_of(&[1, 1, 2, 3, 4, 5, 8, 33]);
            Op::Conv(Conv::new(out_channels, 1).window(window).groups(groups).activation(activation(c)))
        }
        8..10 => {
            let kernel = [1 + c.below(height.min(4)), 1 + c.below(width.min(4))];
            let padding = Padding { top: c.below(kernel[0]), left: c.below(kernel[1]), bottom: 0, right: 0 };
            let stride = [1 + c.below(4), 1 + c.below(4)];
            Op::MaxPool(MaxPool::new(1, 1).window(Window { kernel, stride, padding, dilation: [1, 1] }))
        }
        10 if c.chance(2) => {
            let kernel = [1 + c.below(height.min(4)), 1 + c.below(width.min(4))];
            let padding = Padding { top: c.below(kernel[0]), left: c.below(kernel[1]), bottom: 0, right: 0 };
            let window = Window { kernel, padding, stride: [1 + c.below(4), 1 + c.below(4)], dilation: [1, 1] };
            Op::AvgPool(AvgPool::new(1, 1).window(window).count_padding(c.chance(2)).ceil(c.chance(2)))
        }
        11 if c.chance(2) => Op::BatchNorm(BatchNorm::new(1e-3).activation(activation(c))),
        10..12 => {
            let size = 1 + c.below(6);
            let convention = c.one_of(&[LrnConvention::Mean, LrnConvention::Sum]);
            Op::LocalResponseNorm(LocalResponseNorm { size, alpha: 0.5, beta: 0.75, k: 1.0, convention })
        }
        12 => Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [1 + c.below(6), 1 + c.below(6)] }),
        13 => Op::Dropout,
        14 => Op::Softmax,
        _ => Op::Linear(Linear::new(c.one_of(&[1, 3, 4, 10, 65])).activation(activation(c))),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

#[test]
fn random_networks_are_right() {
    let (start, count) = (number("ALEXNET_RANDOM_START", 1), number("ALEXNET_RANDOM_NETWORKS", 200));
    let mut worst = 0.0f64;
    let mut wrong = Vec::new();
    for number in start..start + count {
        let case = Case::new(number);
        match case.check() {
            Ok(error) => worst = worst.max(error),
            Err(error) => wrong.push(format!("number {number}: {error}\n  {case}")),
        }
    }
    println!("{count} networks, errors up to {worst:.1e}");
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
