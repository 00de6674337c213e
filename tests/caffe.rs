//! Caffe files as written by solvers: with data layers in place of an input, batch normalisation in two layers, and the
//! accompanying text files and mean images.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;

use alexnet_wgpu::{
    Activation, ChannelOrder, Conv, GivenPreprocessing, Linear, MaxPool, Model, ModelOptions, Network, Op, Padding,
    Resize, Shape, Tensor, Weights, WeightsError, Window,
    reference::{relative_error, run, run_layer},
    splitmix,
};
use proptest::prelude::*;

/// The fields of a protocol buffer.
mod field {
    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 127 {
            bytes.push(value as u8 | 128);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    pub fn number(tag: u64, value: u64) -> Vec<u8> {
        [varint(tag << 3), varint(value)].concat()
    }

    pub fn bytes(tag: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        [varint(tag << 3 | 2), varint(bytes.as_ref().len() as u64), bytes.as_ref().to_vec()].concat()
    }

    pub fn float(tag: u64, value: f32) -> Vec<u8> {
        [varint(tag << 3 | 5), value.to_le_bytes().to_vec()].concat()
    }
}
use field::{bytes, float, number};

fn blob(tensor: &Tensor) -> Vec<u8> {
    let dims: Vec<u8> = tensor.shape().iter().flat_map(|&d| number(1, d as u64)).collect();
    let numbers: Vec<u8> = tensor.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect();
    [bytes(5, numbers), bytes(7, dims)].concat()
}

/// A layer in the current format: its name, type, input and output, blobs, and other fields.
fn layer(name: &str, kind: &str, [bottom, top]: [&str; 2], blobs: &[Tensor], rest: &[u8]) -> Vec<u8> {
    let blobs: Vec<u8> = blobs.iter().flat_map(|tensor| bytes(7, blob(tensor))).collect();
    let bottom = if bottom.is_empty() { vec![] } else { bytes(3, bottom) };
    bytes(100, [bytes(1, name), bytes(2, kind), bottom, bytes(4, top), blobs, rest.to_vec()].concat())
}

/// The same layer in the V1 format.
fn old_layer(name: &str, kind: u64, [bottom, top]: [&str; 2], blobs: &[Tensor], rest: &[u8]) -> Vec<u8> {
    let blobs: Vec<u8> = blobs.iter().flat_map(|tensor| bytes(6, blob(tensor))).collect();
    let bottom = if bottom.is_empty() { vec![] } else { bytes(2, bottom) };
    bytes(2, [bottom, bytes(3, top), bytes(4, name), number(5, kind), blobs, rest.to_vec()].concat())
}

fn window(outputs: u64, kernel: u64) -> Vec<u8> {
    [number(1, outputs), number(4, kernel)].concat()
}

/// Outputs of a pooling in steps of two.
const POOL: [u8; 6] = [0x08, 0, 0x10, 2, 0x18, 2];

fn lenet(side: usize) -> Network {
    Network::builder("LeNet", Shape::new(1, side, side))
        .conv("conv1", Conv::new(6, 5))
        .max_pool("pool1", MaxPool::new(2, 2))
        .conv("conv2", Conv::new(8, 5))
        .max_pool("pool2", MaxPool::new(2, 2))
        .linear("ip1", Linear::new(12).relu())
        .linear("ip2", Linear::new(10))
        .softmax("loss")
        .build()
        .unwrap()
}

/// LeNet as in a solver's snapshot: no input, a data layer with `transform`, and the loss.
fn snapshot(transform: &[u8]) -> Vec<u8> {
    let weights = Weights::random(&lenet(28), 1);
    let of = |name: &str| ["weight", "bias"].map(|kind| weights.tensor(&format!("{name}.{kind}")).unwrap().clone());
    [
        bytes(1, "LeNet"),
        bytes(
            100,
            [bytes(1, "mnist"), bytes(2, "Data"), bytes(4, "data"), bytes(4, "label"), bytes(100, transform)].concat(),
        ),
        layer("conv1", "Convolution", ["data", "conv1"], &of("conv1"), &bytes(106, window(6, 5))),
        layer("pool1", "Pooling", ["conv1", "pool1"], &[], &bytes(121, POOL)),
        layer("conv2", "Convolution", ["pool1", "conv2"], &of("conv2"), &bytes(106, window(8, 5))),
        layer("pool2", "Pooling", ["conv2", "pool2"], &[], &bytes(121, POOL)),
        layer("ip1", "InnerProduct", ["pool2", "ip1"], &of("ip1"), &bytes(117, number(1, 12))),
        layer("relu1", "ReLU", ["ip1", "ip1"], &[], &[]),
        layer("ip2", "InnerProduct", ["ip1", "ip2"], &of("ip2"), &bytes(117, number(1, 10))),
        layer("loss", "SoftmaxWithLoss", ["ip2", "loss"], &[], &[]),
    ]
    .concat()
}

fn open(bytes: Vec<u8>) -> Result<Model, WeightsError> {
    Model::from_bytes(bytes, &ModelOptions::default())
}

#[test]
fn the_input_is_the_one_that_the_weights_fit() {
    let model = open(snapshot(&float(1, 1.0 / 256.0))).unwrap();
    assert_eq!(model.network, lenet(28));
    assert_eq!(model.origin.doubt, None);
    assert!(model.origin.network.contains("its weights fit"), "{}", model.origin.network);
    // The data layer describes the whole preprocessing.
    let p = model.preprocessing;
    assert_eq!((p.channels, p.scale, p.mean, p.crop), (ChannelOrder::Grey, 1.0 / 256.0, [0.0; 3], [28, 28]));
    assert!(!model.origin.preprocessing_guessed);
    // The crop of a data layer takes precedence over the usual sizes.
    let error = open(snapshot(&number(3, 30))).unwrap_err().to_string();
    assert!(error.contains("`ip1`") && error.contains("a weight of 200 columns"), "{error}");

    // In V1: types are numbers.
    let weights = Weights::random(&lenet(28), 1);
    let of = |name: &str| ["weight", "bias"].map(|kind| weights.tensor(&format!("{name}.{kind}")).unwrap().clone());
    let old = [
        old_layer("mnist", 5, ["", "data"], &[], &bytes(11, float(2, 0.5))),
        old_layer("conv1", 4, ["data", "conv1"], &of("conv1"), &bytes(10, window(6, 5))),
        old_layer("pool1", 17, ["conv1", "pool1"], &[], &bytes(19, POOL)),
        old_layer("conv2", 4, ["pool1", "conv2"], &of("conv2"), &bytes(10, window(8, 5))),
        old_layer("pool2", 17, ["conv2", "pool2"], &[], &bytes(19, POOL)),
        old_layer("ip1", 14, ["pool2", "ip1"], &of("ip1"), &bytes(17, number(1, 12))),
        old_layer("relu1", 18, ["ip1", "ip1"], &[], &[]),
        old_layer("ip2", 14, ["ip1", "ip2"], &of("ip2"), &bytes(17, number(1, 10))),
        old_layer("loss", 21, ["ip2", "loss"], &[], &[]),
    ];
    let model = open([bytes(1, "LeNet"), old.concat()].concat()).unwrap();
    assert_eq!((model.network, model.preprocessing.scale), (lenet(28), 0.5));
}

#[test]
fn the_caller_says_the_input() {
    let options = |shape| ModelOptions::default().input(shape);
    // 27 rows fit as well, since Caffe rounds the sizes of poolings up.
    let model = Model::from_bytes(snapshot(&[]), &options(Shape::new(1, 27, 28))).unwrap();
    assert_eq!(model.network.input(), Shape::new(1, 27, 28));
    assert!(model.origin.network.contains("given by the caller"), "{}", model.origin.network);
    for (shape, expected) in [(Shape::new(3, 28, 28), "`conv1`"), (Shape::new(1, 32, 32), "`ip1`")] {
        let error = Model::from_bytes(snapshot(&[]), &options(shape)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

const DEPLOY: &str = r#"name: "LeNet"
layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: 64 dim: 1 dim: 27 dim: 28 } } }"#;

#[test]
fn a_text_file_says_the_input() {
    let with = |text: &str| {
        let prototxt = Some(text.to_string());
        Model::from_bytes(snapshot(&[]), &ModelOptions::default().prototxt(prototxt))
    };
    let old = "input: \"data\"\ninput_dim: 1\ninput_dim: 1\ninput_dim: 27\ninput_dim: 28\n";
    for text in [DEPLOY, old] {
        assert_eq!(with(text).unwrap().network.input(), Shape::new(1, 27, 28), "{text}");
    }
    let trained = r#"layer { type: "Data" transform_param { crop_size: 28 scale: 0.25 mean_value: 33 } }"#;
    let model = with(trained).unwrap();
    assert_eq!((model.network.input(), model.preprocessing.scale), (Shape::new(1, 28, 28), 0.25));
    assert_eq!(model.preprocessing.mean[0], 33.0 * 0.25);
    for (text, expected) in [("layer {", "close every message"), ("input_dim: 3", "found 1 dimensions")] {
        let error = with(text).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("prototxt"), "{error}");
    }

    // Next to the file, under its name or as deploy.prototxt; one for another network is ignored.
    for (name, text, side) in [
        ("lenet.prototxt", DEPLOY, 27),
        ("deploy.prototxt", DEPLOY, 27),
        ("other.prototxt", DEPLOY, 28),
        ("deploy.prototxt", "input_dim: [1, 3, 227, 227]", 28),
        ("deploy.prototxt", "no such text {", 28),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lenet.caffemodel");
        fs::write(&file, snapshot(&[])).unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        let model = Model::open(&file, &ModelOptions::default()).unwrap();
        assert_eq!(model.network.input().height, side, "{name} {text}");
        let told = side == 27;
        assert_eq!(model.origin.network.contains(name), told, "{}", model.origin.network);
    }
}

/// Where several sizes fill the first fully connected layer, one is chosen and the others are reported.
#[test]
fn several_inputs_fit() {
    // Poolings in steps of 3: 10 and 13 leave no remainder before four and five rows; five are required.
    let network = |side: usize| {
        Network::builder("n", Shape::new(3, side, side))
            .conv("c", Conv::new(2, 3).stride(4))
            .linear("f", Linear::new(3))
            .softmax("prob")
            .build()
            .unwrap()
    };
    let weights = Weights::random(&network(19), 1);
    let of = |name: &str| ["weight", "bias"].map(|kind| weights.tensor(&format!("{name}.{kind}")).unwrap().clone());
    let conv = bytes(106, [window(2, 3), number(6, 4)].concat());
    let file = [
        bytes(1, "n"),
        layer("c", "Convolution", ["data", "c"], &of("c"), &conv),
        layer("f", "InnerProduct", ["c", "f"], &of("f"), &bytes(117, number(1, 3))),
    ];
    // 19 leaves no remainder, so it alone is beyond doubt, though 20, 21 and 22 fit.
    let model = open(file.concat()).unwrap();
    assert_eq!((model.network, model.origin.doubt), (network(19), None));
    // No data layer: the preprocessing is guessed.
    assert!(model.origin.preprocessing_guessed);
    assert_eq!(model.preprocessing.resize, Resize::Warp([256, 256]));
    // Any size fits before a global average.
    let average = layer("g", "Pooling", ["c", "g"], &[], &bytes(121, [number(1, 1), number(12, 1)].concat()));
    let fc = [Tensor::from_f32([3, 2], vec![0.5; 6])];
    let file = [file[1].clone(), average, layer("f", "InnerProduct", ["g", "f"], &fc, &bytes(117, number(1, 3)))];
    let model = open(file.concat()).unwrap();
    assert_eq!(model.network.input(), Shape::new(3, 227, 227));
    assert!(model.origin.doubt.unwrap().contains("any size"));
    // No square fits.
    let odd = [Tensor::from_f32([3, 14], vec![0.5; 42])];
    let file = [
        layer("c", "Convolution", ["data", "c"], &of("c"), &conv),
        layer("f", "InnerProduct", ["c", "f"], &odd, &bytes(117, number(1, 3))),
    ];
    let error = open(file.concat()).unwrap_err().to_string();
    assert!(
        error.contains("14 inputs of the first fully connected layer") && error.contains("give the input's size"),
        "{error}"
    );
    assert!(!error.contains("again"), "the file is whole: {error}");
    // A network of only fully connected layers: a picture, where the number of inputs permits one.
    for (columns, input) in [(784, Shape::new(1, 28, 28)), (3072, Shape::new(3, 32, 32)), (10, Shape::vector(10))] {
        let fc = [Tensor::from_f32([3, columns], splitmix::uniform(1, 3 * columns, 1.0))];
        let model = open(layer("f", "InnerProduct", ["data", "f"], &fc, &bytes(117, number(1, 3)))).unwrap();
        assert_eq!((model.network.input(), model.origin.doubt.is_some()), (input, columns > 10), "{columns}");
    }
}

#[test]
fn batch_normalisation_in_two_layers_is_folded() {
    let network = Network::builder("n", Shape::new(3, 9, 9))
        .conv("c", Conv::new(4, 3))
        .linear("f", Linear::new(5))
        .softmax("prob")
        .build()
        .unwrap();
    let weights = Weights::random(&network, 1);
    let of = |name: &str| ["weight", "bias"].map(|kind| weights.tensor(&format!("{name}.{kind}")).unwrap().clone());
    let vector = |seed, n: usize, middle: f32| {
        Tensor::from_f32([n], splitmix::uniform(seed, n, 0.5).into_iter().map(|v| v + middle).collect())
    };
    // Sums over 4 averages.
    let (mean, variance) = (vector(20, 4, 0.0), vector(21, 4, 2.0));
    let (gamma, beta) = (vector(22, 4, 0.2), vector(23, 4, 0.0));
    let shift = vector(24, 5, 0.0);
    let input = bytes(8, [1, 3, 9, 9].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>());
    let norms = |conv: &[Tensor]| {
        [
            bytes(1, "n"),
            bytes(3, "data"),
            input.clone(),
            layer("c", "Convolution", ["data", "c"], conv, &bytes(106, window(4, 3))),
            layer(
                "bn",
                "BatchNorm",
                ["c", "bn"],
                &[mean.clone(), variance.clone(), Tensor::from_f32([1], vec![4.0])],
                &bytes(139, float(3, 1e-3)),
            ),
            layer("scale", "Scale", ["bn", "bn"], &[gamma.clone(), beta.clone()], &bytes(142, number(4, 1))),
            layer("relu", "ReLU", ["bn", "bn"], &[], &[]),
            layer(
                "reshape",
                "Reshape",
                ["bn", "r"],
                &[],
                &bytes(133, bytes(1, [number(1, 0), number(1, u64::MAX)].concat())),
            ),
            layer("f", "InnerProduct", ["r", "f"], &of("f"), &bytes(117, number(1, 5))),
            layer("b", "Bias", ["f", "f"], std::slice::from_ref(&shift), &[]),
        ]
        .concat()
    };
    let picture: Vec<f64> = splitmix::uniform(3, 243, 2.0).into_iter().map(f64::from).collect();
    for biased in [true, false] {
        let conv = of("c");
        let model = open(norms(&conv[..if biased { 2 } else { 1 }])).unwrap();
        let mut x = run_layer(&network.layers()[0], &weights, &picture).unwrap();
        for (i, v) in x.iter_mut().enumerate() {
            let c = i / 49;
            let number = |tensor: &Tensor| f64::from(tensor.to_f32()[c]);
            let plain = if biased { *v } else { *v - number(&conv[1]) };
            let normed = (plain - number(&mean) / 4.0) / (number(&variance) / 4.0 + 1e-3f32 as f64).sqrt();
            *v = (normed * number(&gamma) + number(&beta)).max(0.0);
        }
        let mut expected = run_layer(&network.layers()[1], &weights, &x).unwrap();
        expected.iter_mut().zip(shift.to_f32().iter()).for_each(|(v, &shift)| *v += f64::from(shift));
        let found = run(&model.network, &model.weights, &picture).unwrap();
        let logits: Vec<f32> = found[1].iter().map(|&v| v as f32).collect();
        let error = relative_error(&logits, &expected);
        assert!(error < 1e-6, "{error:e}");
    }

    // Of the input itself, before the first layer; and blobs that do not fit are reported.
    let of_input = [vector(30, 3, 0.0), vector(31, 3, 2.0), Tensor::from_f32([1], vec![1.0])];
    let first = layer("bn", "BatchNorm", ["data", "bn"], &of_input, &[]);
    let conv = layer("c", "Convolution", ["bn", "c"], &of("c"), &bytes(106, window(4, 3)));
    let head = layer("f", "InnerProduct", ["c", "f"], &of("f"), &bytes(117, number(1, 5)));
    let model = open([bytes(3, "data"), input.clone(), first, conv, head].concat()).unwrap();
    let mut normed = picture.clone();
    for (i, v) in normed.iter_mut().enumerate() {
        let number = |tensor: &Tensor| f64::from(tensor.to_f32()[i / 81]);
        *v = (*v - number(&of_input[0])) / (number(&of_input[1]) + 1e-5).sqrt();
    }
    let expected = &run(&network, &weights, &normed).unwrap()[1];
    let found: Vec<f32> = run(&model.network, &model.weights, &picture).unwrap()[1].iter().map(|&v| v as f32).collect();
    let error = relative_error(&found, expected);
    assert!(error < 1e-6, "{error:e}");
    let conv = layer("c", "Convolution", ["data", "c"], &of("c"), &bytes(106, window(4, 3)));
    for (kind, blobs) in [("BatchNorm", vec![mean.clone()]), ("Scale", vec![shift.clone()]), ("Bias", vec![])] {
        let norm = layer("odd", kind, ["c", "c"], &blobs, &[]);
        let error = open([bytes(3, "data"), input.clone(), conv.clone(), norm].concat()).unwrap_err().to_string();
        assert!(error.contains("`odd`"), "{error}");
    }
}

#[test]
fn activation_functions() {
    let slope: Vec<u8> = bytes(123, float(1, 0.25));
    let kinds: [(&str, Vec<u8>, Activation); 6] = [
        ("ELU", vec![], Activation::Elu { alpha: 1.0 }),
        ("ELU", bytes(140, float(1, 0.5)), Activation::Elu { alpha: 0.5 }),
        ("TanH", vec![], Activation::Tanh),
        ("Sigmoid", vec![], Activation::Sigmoid),
        ("ReLU", vec![], Activation::Relu),
        ("ReLU", slope, Activation::LeakyRelu { slope: 0.25 }),
    ];
    for (kind, parameters, expected) in kinds {
        let weights = [Tensor::from_f32([1, 1, 1, 1], vec![1.0])];
        let file = [
            bytes(3, "data"),
            bytes(8, [1, 1, 28, 28].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>()),
            layer("c", "Convolution", ["data", "c"], &weights, &bytes(106, window(1, 1))),
            layer("a", kind, ["c", "c"], &[], &parameters),
        ];
        let model = open(file.concat()).unwrap();
        let [layer] = model.network.layers() else { panic!("{:?}", model.network) };
        assert!(matches!(layer.op, Op::Conv(conv) if conv.activation == expected), "{:?}", layer.op);
    }
}

/// Over the channels of each pixel; over all numbers of what was made a vector.
#[test]
fn softmax_goes_over_axis_1() {
    let file = |flatten: bool| {
        let weights = Tensor::from_f32([3, 1, 1, 1], vec![1.0, -0.5, 0.25]);
        let head = [
            bytes(3, "data"),
            bytes(8, [1, 1, 2, 3].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>()),
            layer("c", "Convolution", ["data", "c"], &[weights], &bytes(106, window(3, 1))),
        ];
        let between = if flatten { layer("f", "Flatten", ["c", "c"], &[], &[]) } else { vec![] };
        [head.concat(), between, layer("s", "Softmax", ["c", "s"], &[], &[])].concat()
    };
    let picture: Vec<f64> = (0..6).map(|i| f64::from(i) / 3.0).collect();
    let logits = |c: usize, p: usize| [1.0, -0.5, 0.25][c] * picture[p];
    for flatten in [false, true] {
        let model = open(file(flatten)).unwrap();
        let found = run(&model.network, &model.weights, &picture).unwrap().pop().unwrap();
        let all: f64 = (0..18).map(|i| logits(i / 6, i % 6).exp()).sum();
        for (i, found) in found.iter().enumerate() {
            let of_pixel = (0..3).map(|c| logits(c, i % 6).exp()).sum();
            let expected = logits(i / 6, i % 6).exp() / if flatten { all } else { of_pixel };
            assert!((found - expected).abs() < 1e-7, "{found} for {expected}, {flatten}");
        }
    }
}

#[test]
fn layers_that_are_not_there_yet_are_named() {
    for kind in ["PReLU", "Eltwise", "Concat", "Deconvolution"] {
        let file = [
            bytes(3, "data"),
            bytes(8, [1, 1, 28, 28].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>()),
            layer(
                "c",
                "Convolution",
                ["data", "c"],
                &[Tensor::from_f32([1, 1, 1, 1], vec![1.0])],
                &bytes(106, window(1, 1)),
            ),
            layer("odd", kind, ["c", "t"], &[], &[]),
        ];
        let error = open(file.concat()).unwrap_err().to_string();
        assert!(error.contains("`odd`") && error.contains(kind), "{error}");
        assert!(!error.contains("expected expected"), "{error}");
    }
    let odd = bytes(133, bytes(1, [number(1, 0), number(1, 7), number(1, 112)].concat()));
    let file = [
        bytes(3, "data"),
        bytes(8, [1, 1, 28, 28].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>()),
        layer("r", "Reshape", ["data", "r"], &[], &odd),
        layer(
            "f",
            "InnerProduct",
            ["r", "f"],
            &[Tensor::from_f32([1, 784], vec![0.0; 784])],
            &bytes(117, number(1, 1)),
        ),
    ];
    let error = open(file.concat()).unwrap_err().to_string();
    assert!(error.contains("`r`") && error.contains("[0, 7, 112]"), "{error}");
}

/// Max poolings include a last window that extends past the end, as in Caffe's `PoolingLayer::Reshape`.
#[test]
fn max_poolings_round_up() {
    for (size, kernel, stride, pad) in
        [(28, 3, 2, 0), (27, 3, 2, 1), (13, 2, 2, 0), (14, 3, 3, 1), (9, 2, 3, 1), (8, 4, 3, 2)]
    {
        let conv = [Tensor::from_f32([1, 1, 1, 1], vec![1.0])];
        let window_of = [number(1, 0), number(2, kernel), number(3, stride), number(4, pad)].concat();
        let mut pooled = (size + 2 * pad - kernel).div_ceil(stride) + 1;
        if pad > 0 && (pooled - 1) * stride >= size + pad {
            pooled -= 1;
        }
        let columns = (pooled * pooled) as usize;
        let file = [
            bytes(3, "data"),
            bytes(8, [1, 1, size, size].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>()),
            layer("c", "Convolution", ["data", "c"], &conv, &bytes(106, window(1, 1))),
            layer("p", "Pooling", ["c", "p"], &[], &bytes(121, window_of)),
            layer(
                "f",
                "InnerProduct",
                ["p", "f"],
                &[Tensor::from_f32([2, columns], splitmix::uniform(1, 2 * columns, 1.0))],
                &bytes(117, number(1, 2)),
            ),
        ];
        let model = open(file.concat()).unwrap();
        assert_eq!(model.network.layer("p").unwrap().output.height, pooled as usize, "{size} {kernel} {stride} {pad}");
        // The windows' maxima of a picture of negative numbers: padding never wins.
        let picture: Vec<f64> =
            splitmix::uniform(2, (size * size) as usize, 1.0).into_iter().map(|v| f64::from(v) - 2.0).collect();
        let found = &run(&model.network, &model.weights, &picture).unwrap()[1];
        for (i, &found) in found.iter().enumerate() {
            let span = |o: u64| {
                let start = (o * stride) as i64 - pad as i64;
                start.max(0)..(start + kernel as i64).min(size as i64)
            };
            let (rows, columns) = (span(i as u64 / pooled), span(i as u64 % pooled));
            let pixels = rows.flat_map(|y| columns.clone().map(move |x| (y * size as i64 + x) as usize));
            let expected = pixels.map(|at| picture[at]).fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(found, expected, "{size} {kernel} {stride} {pad} at {i}");
        }
    }
}

#[test]
fn pictures_of_means() {
    let picture = |channels: usize, size: usize, value: fn(usize) -> f32| {
        let count = channels * size * size;
        let dims = [1, channels, size, size].into_iter().enumerate().flat_map(|(i, d)| number(i as u64 + 1, d as u64));
        let numbers: Vec<u8> = (0..count).flat_map(|i| value(i / (size * size)).to_le_bytes()).collect();
        [dims.collect::<Vec<u8>>(), bytes(5, numbers)].concat()
    };
    let colours = GivenPreprocessing::from_binaryproto(&picture(3, 4, |c| [104.5, 117.0, 123.25][c])).unwrap();
    assert_eq!(colours, GivenPreprocessing::CaffeMean([104.5, 117.0, 123.25]));
    let grey = GivenPreprocessing::from_binaryproto(&picture(1, 28, |_| 33.0)).unwrap();
    assert_eq!(grey, GivenPreprocessing::CaffeMean([33.0; 3]));
    // Subtracted from samples, which are then multiplied by the data layer's scale.
    let options = ModelOptions::default().preprocessing(grey);
    let model = Model::from_bytes(snapshot(&float(1, 0.25)), &options).unwrap();
    assert_eq!((model.preprocessing.scale, model.preprocessing.mean), (0.25, [8.25; 3]));
    assert!(model.origin.preprocessing.contains("picture of means"), "{}", model.origin.preprocessing);
    // A data layer that names a mean file leaves the mean open.
    let model = open(snapshot(&bytes(4, "mean.binaryproto"))).unwrap();
    assert!(model.origin.preprocessing_guessed);
    // It is read where it is beside the file, whatever the folder that the file names.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot.caffemodel");
    fs::write(&file, snapshot(&[bytes(4, "../../data/mnist/mean.binaryproto"), float(1, 0.5)].concat())).unwrap();
    let absent = Model::open(&file, &ModelOptions::default()).unwrap();
    let told = &absent.origin.preprocessing;
    assert!(absent.origin.preprocessing_guessed && told.contains("`mean.binaryproto` is not beside it"), "{told}");
    fs::write(folder.path().join("mean.binaryproto"), picture(1, 28, |_| 33.0)).unwrap();
    let beside = Model::open(&file, &ModelOptions::default()).unwrap();
    assert_eq!((beside.preprocessing.scale, beside.preprocessing.mean), (0.5, [16.5; 3]));
    let told = &beside.origin.preprocessing;
    assert!(!beside.origin.preprocessing_guessed && told.contains("that of `mean.binaryproto`"), "{told}");
    fs::write(folder.path().join("mean.binaryproto"), picture(2, 28, |_| 33.0)).unwrap();
    let broken = Model::open(&file, &ModelOptions::default()).unwrap();
    let told = &broken.origin.preprocessing;
    assert!(broken.origin.preprocessing_guessed && told.contains("cannot be read"), "{told}");
    // In place of weights, it is named.
    let error = open(picture(3, 4, |_| 1.0)).unwrap_err().to_string();
    assert!(error.contains("mean image of Caffe") && error.contains("preprocessing"), "{error}");
    for wrong in [vec![], b"no protocol buffer".to_vec(), picture(2, 4, |_| 0.0), picture(3, 4, |_| f32::NAN)] {
        let error = GivenPreprocessing::from_binaryproto(&wrong).unwrap_err().to_string();
        assert!(error.contains("binaryproto"), "{error}");
    }
}

/// Windows and padding of each axis separately.
#[test]
fn sizes_of_each_axis() {
    let weights = Tensor::from_f32([2, 1, 3, 5], splitmix::uniform(1, 30, 1.0));
    // kernel_h 11, kernel_w 12, stride_h 13, stride_w 14, pad_h 9, pad_w 10
    let p = [number(1, 2), number(11, 3), number(12, 5), number(13, 2), number(14, 1), number(9, 1), number(10, 2)]
        .concat();
    let file = [
        bytes(3, "data"),
        bytes(8, [1, 1, 11, 13].iter().flat_map(|&d| number(1, d)).collect::<Vec<u8>>()),
        layer("c", "Convolution", ["data", "c"], &[weights], &bytes(106, p)),
        layer(
            "f",
            "InnerProduct",
            ["c", "f"],
            &[Tensor::from_f32([2, 156], vec![0.5; 312])],
            &bytes(117, number(1, 2)),
        ),
    ];
    let model = open(file.concat()).unwrap();
    let padding = Padding { top: 1, left: 2, bottom: 1, right: 2 };
    let expected = Window { kernel: [3, 5], stride: [2, 1], padding, dilation: [1, 1] };
    assert!(matches!(model.network.layer("c").unwrap().op, Op::Conv(conv) if conv.window == expected));
    assert!(model.weights.names().eq(["c.bias", "c.weight", "f.bias", "f.weight"]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random damage to a snapshot and to the text next to it gives an error or a network, quickly.
    #[test]
    fn damaged_files_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        text in prop::collection::vec((any::<prop::sample::Index>(), 0u8..128), 0..4),
    ) {
        let mut file = snapshot(&float(1, 0.5));
        for (at, value) in changes {
            // The layers' descriptions are between long rows of numbers.
            let at = at.index(file.len());
            file[at] = value;
        }
        let mut deploy = DEPLOY.as_bytes().to_vec();
        for (at, value) in text {
            let at = at.index(deploy.len());
            deploy[at] = value;
        }
        let start = std::time::Instant::now();
        let prototxt = String::from_utf8(deploy).ok();
        drop(Model::from_bytes(file.clone(), &ModelOptions::default().prototxt(prototxt)));
        drop(open(file.clone()));
        drop(GivenPreprocessing::from_binaryproto(&file));
        prop_assert!(start.elapsed().as_secs() < 5);
    }
}
