//! Every layer, in every kernel configuration that the device supports, against the f64 twin: chosen edge cases, then random
//! shapes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use alexnet_wgpu::{
    Activation, AdaptiveAvgPool, Algorithm, AvgPool, BatchNorm, Conv, Family, KernelConfig, Linear, LocalResponseNorm,
    LrnConvention, MaxPool, Network, Op, Padding, Pipeline, Precision, RunError, Shape, Storage, Weights, Window,
    reference, splitmix,
};
use pollster::block_on;
use proptest::prelude::*;

/// Runs one layer on `batch` random pictures in every kernel configuration; `Err` describes the difference from the twin.
fn check(op: Op, input: Shape, batch: usize) -> Result<(), String> {
    check_in(&common::configs(common::gpu()), op, input, batch)
}

/// The same in selected kernel configurations.
fn check_in(configs: &[KernelConfig], op: Op, input: Shape, batch: usize) -> Result<(), String> {
    let network = Network::new("one layer", input, [("layer".to_string(), op)]).map_err(|e| e.to_string())?;
    let layer = &network.layers()[0];
    let weights = Weights::random(&network, 7);
    let x = splitmix::uniform(99, input.len() * batch, 2.0);
    let tolerance = match op {
        Op::MaxPool(_) | Op::Dropout => 0.0,
        _ => 2e-6,
    };

    // Winograd's larger coefficients cost accuracy: F(4×4, 5×5) has products of 16.
    let algorithms: &[(Algorithm, f64)] = match op {
        Op::Conv(_) => &[
            (Algorithm::Direct, 1.0),
            (Algorithm::Winograd { tile: 2 }, 3.0),
            (Algorithm::Winograd { tile: 4 }, 10.0),
            (Algorithm::SplitK { parts: 3 }, 1.0),
            (Algorithm::Tile { rows: 32, parts: 3 }, 1.0),
            (Algorithm::Tile { rows: 128, parts: 1 }, 1.0),
        ],
        // With only a few pictures, it is a product with vectors.
        Op::Linear(_) if batch > 16 => &[
            (Algorithm::Direct, 1.0),
            (Algorithm::SplitK { parts: 3 }, 1.0),
            (Algorithm::Tile { rows: 128, parts: 2 }, 1.0),
        ],
        Op::Linear(_) => &[(Algorithm::Direct, 1.0), (Algorithm::Tile { rows: 16, parts: 2 }, 1.0)],
        _ => &[(Algorithm::Direct, 1.0)],
    };
    let precisions = match op {
        Op::Linear(_) => &Precision::ALL[..],
        _ => &[Precision::F32],
    };
    let algorithms = algorithms.iter().flat_map(|a| precisions.iter().map(move |p| (a, p)));
    let ways = configs.iter().flat_map(|&s| algorithms.clone().map(move |a| (s, a)));
    for (config, (&(algorithm, factor), &precision)) in ways {
        let tolerance = tolerance * factor;
        let pipeline = Pipeline::builder(common::gpu(), &network, &weights)
            .kernel_config(config)
            .algorithm("layer", algorithm)
            .precision(precision)
            .batch(batch)
            .build();
        let found = block_on(pipeline.map_err(|e| e.to_string())?.run(&x)).map_err(|e| e.to_string())?;
        let error = common::layer_error(layer, &weights, precision, &x, &found)?;
        if error.is_nan() || error > tolerance {
            return Err(format!(
                "{config:?} {algorithm:?} {precision} {op:?} of {input}, batch {batch}: error {error:e}"
            ));
        }
    }
    Ok(())
}

fn check_all(cases: impl IntoIterator<Item = (Op, Shape, usize)>) {
    for (op, input, batch) in cases {
        check(op, input, batch).unwrap();
    }
}

#[test]
fn convolutions_of_odd_shapes() {
    let conv = |conv| move |c, h, w, batch| (Op::Conv(conv), Shape::new(c, h, w), batch);
    let uneven = Padding { top: 0, left: 2, bottom: 1, right: 0 };
    let cells = Window { kernel: [5, 11], stride: [2, 4], padding: uneven, dilation: [1, 1] };
    let rectangle = Window { kernel: [2, 5], stride: [2, 1], padding: uneven, dilation: [1, 1] };
    check_all([
        conv(Conv::new(1, 1))(1, 1, 1, 1),                      // 1×1 input, one channel
        conv(Conv::new(5, 3).padding(1))(3, 1, 1, 2),           // mostly padding
        conv(Conv::new(6, 5).relu())(3, 5, 5, 3),               // kernel = input
        conv(Conv::new(7, 2).stride(3))(2, 9, 11, 1),           // stride > kernel
        conv(Conv::new(33, 3).padding(1).relu())(9, 13, 13, 1), // channels not multiples of 4
        conv(Conv::new(8, 3).groups(8).padding(1))(8, 6, 7, 2), // depthwise
        conv(Conv::new(5, 3).groups(5))(5, 6, 7, 1),            // depthwise, odd
        conv(Conv::new(14, 3).groups(7))(21, 5, 5, 1),          // groups of 3 in, 2 out
        conv(Conv::new(64, 3).groups(2).padding(1).relu())(32, 13, 13, 1), // AlexNet's
        conv(Conv::new(24, 11).stride(4))(3, 51, 47, 2),        // conv1's
        conv(Conv::new(9, 11).stride(4).padding(2).relu())(3, 50, 48, 2), // torchvision's
        conv(Conv::new(5, 1).window(cells))(1, 23, 18, 3),      // windows of uneven cells, in rows
        conv(Conv::new(10, 1).window(rectangle))(6, 8, 9, 1),
        conv(Conv::new(96, 5).padding(2).relu())(8, 27, 25, 4), // more tiles than are computed at once
        conv(Conv::new(1024, 5))(1, 49, 49, 1),                 // the same on GPUs
        conv(Conv::new(12, 1))(260, 3, 3, 1),                   // pointwise
    ]);
}

fn gaps(kernel: usize, stride: usize, dilation: [usize; 2], padding: impl Into<Padding>) -> Window {
    Window { dilation, padding: padding.into(), ..Window::square(kernel, stride) }
}

/// In every family; strided, padded and grouped, and with kernels as large as the input.
#[test]
fn dilated_convolutions() {
    let conv = |window, conv: Conv, input| [1, 3].map(|batch| (Op::Conv(conv.window(window)), input, batch));
    check_all(
        [
            conv(gaps(3, 1, [2, 2], 2), Conv::new(9, 3).relu(), Shape::new(8, 9, 7)),
            conv(gaps(3, 2, [3, 2], 1), Conv::new(6, 3), Shape::new(5, 12, 11)),
            conv(gaps(2, 4, [4, 3], 0), Conv::new(7, 2), Shape::new(3, 13, 12)),
            conv(gaps(2, 1, [4, 4], 0), Conv::new(5, 2), Shape::new(6, 5, 5)),
            conv(gaps(3, 1, [2, 1], 2), Conv::new(64, 3).groups(64).relu(), Shape::new(64, 6, 7)),
            conv(gaps(5, 1, [2, 2], 4), Conv::new(32, 5).groups(2), Shape::new(16, 11, 10)),
        ]
        .concat(),
    );
}

#[test]
fn average_pooling_by_windows() {
    let pool = |pool: AvgPool, input| (Op::AvgPool(pool), input, 2);
    let uneven = Padding { top: 1, left: 2, bottom: 0, right: 1 };
    let mut cases = vec![pool(AvgPool::new(1, 1), Shape::new(1, 1, 1)), pool(AvgPool::new(2, 3), Shape::new(6, 9, 10))];
    for (count, ceil) in [(false, false), (false, true), (true, false), (true, true)] {
        for window in [gaps(3, 2, [1, 1], 1), gaps(3, 2, [1, 1], uneven), gaps(2, 3, [2, 3], uneven)] {
            let windows = AvgPool::new(1, 1).window(window).count_padding(count).ceil(ceil);
            cases.extend([pool(windows, Shape::new(5, 8, 9)), pool(windows, Shape::new(3, 7, 6))]);
        }
    }
    check_all(cases);
}

#[test]
fn dilated_max_pooling() {
    let pool = |window, input| (Op::MaxPool(MaxPool::new(1, 1).window(window)), input, 2);
    check_all([
        pool(gaps(2, 1, [3, 2], 0), Shape::new(6, 9, 8)),
        pool(gaps(3, 2, [2, 1], Padding { top: 2, left: 1, bottom: 1, right: 2 }), Shape::new(5, 9, 8)),
        pool(gaps(2, 3, [4, 4], 3), Shape::new(4, 7, 7)),
    ]);
}

#[test]
fn batch_normalisation() {
    for activation in [Activation::None, Activation::Relu, Activation::Sigmoid] {
        let norm = |epsilon| Op::BatchNorm(BatchNorm::new(epsilon).activation(activation));
        check_all([
            (norm(1e-5), Shape::new(1, 1, 1), 1),
            (norm(1e-3), Shape::new(7, 5, 6), 3),
            (norm(0.0), Shape::vector(130), 2),
        ]);
    }
}

/// A first layer with its input in rows and a kernel that covers all of it: a matrix product, though each output reads
/// everything.
#[test]
fn first_convolutions_over_their_whole_input() {
    for (channels, side, stride) in [(3, 5, 4), (3, 8, 12), (2, 3, 6), (1, 4, 8), (3, 1, 4), (6, 3, 2)] {
        let conv = Conv::new(7, side).window(Window::square(side, stride));
        check_all([1, 2, 9].map(|batch| (Op::Conv(conv), Shape::new(channels, side, side), batch)));
    }
}

#[test]
fn convolutions_in_groups_of_few_channels() {
    let conv = |conv: Conv, c, h, w, batch| (Op::Conv(conv), Shape::new(c, h, w), batch);
    check_all([
        conv(Conv::new(64, 3).groups(64).padding(1).relu(), 64, 6, 7, 2), // depthwise
        conv(Conv::new(130, 1).groups(130), 130, 3, 2, 1),
        conv(Conv::new(33, 5).groups(33).stride(2).padding(2), 33, 9, 8, 1), // channels not multiples of 4
        conv(Conv::new(64, 3).groups(32), 32, 5, 5, 1),                      // two outputs a channel
        conv(Conv::new(40, 3).groups(40).padding(1), 120, 5, 6, 2),          // three channels an output
        conv(Conv::new(128, 3).groups(32).padding(1), 64, 5, 5, 1),          // 2 in, 4 out
        conv(Conv::new(77, 2).groups(11).relu(), 55, 4, 5, 3),               // 5 in, 7 out
    ]);
}

/// More workgroups than a dispatch has along an axis: by rows, tiles of rows, and pictures.
#[test]
fn layers_of_very_tall_and_wide_activations() {
    let tiled = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
    let tall = Shape::new(1, 70_000, 1);
    let configs = [vec![tiled], common::configs(common::gpu()).into_iter().rev().take(1).collect()].concat();
    for config in configs {
        let max = Op::MaxPool(MaxPool::new(1, 1).window(Window { kernel: [2, 1], ..Window::square(1, 1) }));
        check_in(&[config], max, tall, 1).unwrap();
        check_in(&[config], Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [66_000, 1] }), tall, 1).unwrap();
        check_in(&[config], Op::LocalResponseNorm(LocalResponseNorm::CAFFE), tall, 1).unwrap();
    }
    // A grouped convolution has a workgroup per row, a depthwise one per row of every picture.
    check_in(&[tiled], Op::Conv(Conv::new(4, 1).groups(4)), Shape::new(4, 66_000, 1), 2).unwrap();
    // 29 rows per tile: 66,207 tiles.
    if let Some(config) =
        common::configs(common::gpu()).into_iter().find(|s| s.family == Family::SubgroupBroadcast { lanes: 8 })
    {
        check_in(&[config], Op::Conv(Conv::new(1, 1)), Shape::new(1, 1200, 1600), 1).unwrap();
    }
}

/// In every kernel that ends a layer; the padding of the last quad stays zero, which a following normalisation would reveal.
#[test]
fn activation_functions() {
    // Input and output layouts do not matter to them: one storage per family.
    let configs = common::configs(common::gpu()).into_iter().filter(|config| match config.family {
        Family::SubgroupBroadcast { .. } => config.storage == Storage::StorageTexture,
        Family::WorkgroupTiled => config.storage == Storage::StorageBuffer,
        _ => false,
    });
    let configs: Vec<KernelConfig> = configs.collect();
    let leaky = Activation::LeakyRelu { slope: 0.1 };
    let elu = Activation::Elu { alpha: 0.7 };
    for activation in [Activation::Relu6, leaky, Activation::Sigmoid, Activation::Tanh, elu, Activation::Selu] {
        let conv = |conv: Conv, input| (Op::Conv(conv.activation(activation)), input, 2);
        for (op, input, batch) in [
            conv(Conv::new(6, 3).padding(1), Shape::new(5, 9, 8)),
            conv(Conv::new(9, 11).stride(4), Shape::new(3, 31, 27)),
            conv(Conv::new(64, 3).groups(64), Shape::new(64, 5, 6)),
            conv(Conv::new(33, 2).groups(11), Shape::new(22, 4, 5)),
        ] {
            check_in(&configs, op, input, batch).unwrap();
        }
        for batch in [1, 3, 17] {
            let linear = Op::Linear(Linear::new(13).activation(activation));
            check_in(&configs, linear, Shape::new(5, 3, 2), batch).unwrap();
        }
        let network = Network::builder("padded", Shape::new(3, 6, 6))
            .conv("conv", Conv::new(6, 3).activation(activation))
            .local_response_norm("norm", LocalResponseNorm { alpha: 0.5, size: 5, ..LocalResponseNorm::PAPER })
            .build()
            .unwrap();
        let weights = Weights::random(&network, 3);
        let input = splitmix::uniform(5, network.input().len(), 2.0);
        let picture: Vec<f64> = input.iter().map(|&v| v.into()).collect();
        let expected = reference::run(&network, &weights, &picture).unwrap();
        for &config in &configs {
            let pipeline = Pipeline::builder(common::gpu(), &network, &weights).kernel_config(config).build().unwrap();
            let error = reference::relative_error(&block_on(pipeline.run(&input)).unwrap(), &expected[1]);
            assert!(error < 2e-6, "{config:?} {activation:?}: error {error:e}");
        }
    }
}

/// In parts, for GPUs, with more channels and tiles than other kernel configurations need for that.
#[test]
fn winograd_of_more_tiles_than_are_computed_at_once() {
    let tiled = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
    check_in(&[tiled], Op::Conv(Conv::new(1024, 5)), Shape::new(1, 49, 49), 1).unwrap();
}

#[test]
fn fully_connected_layers_of_odd_shapes() {
    let mut cases = Vec::new();
    for batch in [1, 2, 3, 5, 8, 9, 17, 33] {
        cases.push((Op::Linear(Linear::new(10).relu()), Shape::new(5, 3, 2), batch));
        cases.push((Op::Linear(Linear::new(131)), Shape::vector(77), batch));
    }
    cases.push((Op::Linear(Linear::new(1)), Shape::vector(1), 1));
    cases.push((Op::Linear(Linear::new(1000)), Shape::vector(256), 1));
    check_all(cases);
}

#[test]
fn pooling_of_odd_shapes() {
    let max = |pool| Op::MaxPool(pool);
    let average = |h, w| Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [h, w] });
    let uneven = Padding { top: 0, left: 0, bottom: 1, right: 2 };
    check_all([
        (max(MaxPool::new(1, 1)), Shape::new(1, 1, 1), 1),
        (max(MaxPool::new(3, 2)), Shape::new(5, 13, 13), 3),
        (max(MaxPool::new(3, 2).padding(uneven)), Shape::new(7, 12, 10), 1),
        (max(MaxPool::new(2, 3).padding(1)), Shape::new(4, 9, 9), 2),
        (max(MaxPool::new(6, 1)), Shape::new(9, 6, 6), 1),
        (average(6, 6), Shape::new(256, 6, 6), 1),
        (average(6, 6), Shape::new(6, 13, 7), 2),
        (average(3, 5), Shape::new(3, 2, 2), 1), // larger than its input
        (average(1, 1), Shape::new(10, 7, 5), 1),
    ]);
}

/// The number of an output times the input's size exceeds 32 bits.
#[test]
fn average_pooling_of_very_wide_activations() {
    let wide = Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [1, 1_100_000] });
    let storages = [Storage::StorageBuffer, Storage::StorageTexture]
        .map(|storage| KernelConfig::new(Family::WorkgroupTiled, storage));
    check_in(&storages, wide, Shape::new(1, 1, 4096), 1).unwrap();
}

#[test]
fn normalisation_of_odd_shapes() {
    let strong = |size| LocalResponseNorm { size, alpha: 0.5, beta: 0.75, k: 1.0, convention: LrnConvention::Sum };
    let general = LocalResponseNorm { beta: 0.6, ..strong(3) };
    let norms = [LocalResponseNorm::CAFFE, LocalResponseNorm::PAPER, strong(1), strong(4), strong(5), strong(9)];
    for norm in norms {
        check_all([1, 2, 5, 48].map(|c| (Op::LocalResponseNorm(norm), Shape::new(c, 3, 2), 2)));
    }
    // Another beta goes through pow, which drivers approximate.
    let input = Shape::new(5, 3, 2);
    check(Op::LocalResponseNorm(general), input, 2).unwrap();
}

#[test]
fn softmax_and_dropout() {
    let softmax = [1, 3, 4, 10, 257, 1000].map(|n| (Op::Softmax, Shape::vector(n), 3));
    check_all(softmax);
    // Over the channels of each pixel.
    check_all([Shape::new(1, 3, 2), Shape::new(7, 5, 6), Shape::new(130, 2, 3)].map(|maps| (Op::Softmax, maps, 2)));
    check(Op::Dropout, Shape::new(3, 4, 5), 2).unwrap();
}

#[test]
fn top_k_orders_by_value_then_index() {
    let values = [0.5, 2.0, -1.0, 2.0, f32::MIN, 0.0, 7.0];
    let network = Network::builder("top", Shape::vector(7)).dropout("identity").build().unwrap();
    for config in common::configs(common::gpu()) {
        let weights = Weights::default();
        let pipeline =
            Pipeline::builder(common::gpu(), &network, &weights).kernel_config(config).top(7).batch(2).build().unwrap();
        let top = block_on(pipeline.run_top(&[values, values.map(|v| -v)].concat())).unwrap();
        let indices: Vec<Vec<u32>> = top.iter().map(|t| t.iter().map(|e| e.index).collect()).collect();
        assert_eq!(indices, [[6, 1, 3, 0, 5, 2, 4], [4, 2, 5, 0, 1, 3, 6]], "{config:?}");
        assert_eq!(top[0][0].value, 7.0);

        // Where an output is NaN, there is an error rather than a wrong result.
        for at in 0..14 {
            let mut values = [values, values].concat();
            values[at] = f32::NAN;
            assert!(matches!(block_on(pipeline.run_top(&values)), Err(RunError::NotANumber)), "{config:?} {at}");
        }
    }
}

fn window() -> impl Strategy<Value = Window> {
    (1usize..6, 1usize..6, 1usize..4, 1usize..4).prop_flat_map(|(kh, kw, sh, sw)| {
        (0..kh, 0..kw, 0..kh, 0..kw).prop_map(move |(top, left, bottom, right)| Window {
            kernel: [kh, kw],
            stride: [sh, sw],
            padding: Padding { top, left, bottom, right },
            dilation: [1, 1],
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_convolutions(
        window in window(), groups in 1usize..5, i in 1usize..7, o in 1usize..12,
        height in 5usize..12, width in 5usize..12, batch in 1usize..4, relu: bool,
    ) {
        let activation = if relu { Activation::Relu } else { Activation::None };
        let conv = Conv::new(groups * o, 1).window(window).groups(groups).activation(activation);
        prop_assert_eq!(check(Op::Conv(conv), Shape::new(groups * i, height, width), batch), Ok(()));
    }

    #[test]
    fn random_fully_connected_layers(
        c in 1usize..20, height in 1usize..5, width in 1usize..5, o in 1usize..80, batch in 1usize..20,
    ) {
        prop_assert_eq!(check(Op::Linear(Linear::new(o)), Shape::new(c, height, width), batch), Ok(()));
    }

    #[test]
    fn random_pooling(
        window in window(), c in 1usize..10, height in 5usize..12, width in 5usize..12,
        out in (1usize..9, 1usize..9), batch in 1usize..3,
    ) {
        let input = Shape::new(c, height, width);
        prop_assert_eq!(check(Op::MaxPool(MaxPool::new(1, 1).window(window)), input, batch), Ok(()));
        let average = AdaptiveAvgPool { output: [out.0, out.1] };
        prop_assert_eq!(check(Op::AdaptiveAvgPool(average), input, batch), Ok(()));
    }
}
