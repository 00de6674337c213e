//! Weight files written by the original tools (see `tests/data/formats/make.py`), and malformed files.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{
    AlexNet, ChannelOrder, DType, Format, GivenPreprocessing, Model, ModelOptions, Op, Padding, Picture, Pipeline,
    Preprocessing, PreprocessingError, Resize, Shape, Tensor, Variant, Weights, WeightsError,
    reference::{relative_error, run},
    splitmix,
};
use proptest::prelude::*;

/// The seed of make.py's random numbers.
const SEED: u64 = 1;

/// A line of expected.json.
#[derive(serde::Deserialize)]
struct Expected {
    network: String,
    input: [usize; 3],
    logits: Vec<f64>,
    dtype: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats")
}

fn expected(folder: &Path) -> BTreeMap<String, Expected> {
    serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap()
}

fn open(name: &str) -> Result<Model, WeightsError> {
    Model::open(folder().join(name), &ModelOptions::default())
}

fn format_of(name: &str) -> Format {
    match name.rsplit_once('.').unwrap() {
        (stem, "pth" | "pt") if stem.ends_with("-legacy") => Format::TorchLegacy,
        (_, "pth" | "pt") => Format::Torch,
        (_, "onnx") => Format::Onnx,
        (_, "caffemodel") => Format::Caffe,
        (_, "safetensors") => Format::Safetensors,
        other => panic!("no format for {other:?}"),
    }
}

/// Opens `name`, and compares its tensors and output with the results of the tool that wrote it.
fn check(folder: &Path, name: &str, expected: &Expected) {
    let model = Model::open(folder.join(name), &ModelOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(model.origin.format, Some(format_of(name)), "{name}");
    assert_eq!(model.network.name(), expected.network, "{name}: {}", model.origin.network);
    let input = model.network.input();
    assert_eq!([input.channels, input.height, input.width], expected.input, "{name}");
    assert_eq!(model.labels.len(), expected.logits.len(), "{name}");

    if model.network.alexnet().is_some() {
        let random = Weights::random(&model.network, SEED);
        assert_eq!(random.len(), model.weights.len(), "{name}");
        for (key, tensor) in &model.weights {
            // Old Caffe files and one layer of the new one have types of their own.
            let dtype = if name.ends_with("caffemodel") { tensor.dtype().to_string() } else { expected.dtype.clone() };
            assert_eq!(tensor.dtype().to_string(), dtype, "{name} {key}");
            let drawn = random.tensor(key).unwrap().cast(tensor.dtype());
            assert!(tensor.shape() == drawn.shape() && tensor.bytes() == drawn.bytes(), "{name} {key}");
        }
    }

    let picture: Vec<f64> = splitmix::uniform(SEED + 16, input.len(), 2.0).into_iter().map(f64::from).collect();
    let activations = run(&model.network, &model.weights, &picture).unwrap();
    let [.., logits, probabilities] = activations.as_slice() else { panic!("{name}: two layers") };
    assert!(matches!(model.network.layers().last().unwrap().op, Op::Softmax), "{name}");
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{name}");
    let found: Vec<f32> = logits.iter().map(|&v| v as f32).collect();
    let error = relative_error(&found, &expected.logits);
    // ONNX Runtime's rounding in f32 is most of it.
    assert!(error < 3e-6, "{name}: error {error:e}");
}

#[test]
fn files_of_the_real_tools_mean_what_their_tools_say() {
    let files = expected(&folder());
    assert!(files.len() > 20);
    for (name, expected) in &files {
        check(&folder(), name, expected);
    }
}

/// The same on the device, including the graph formats' poolings, paddings and groups.
#[test]
fn the_device_computes_what_the_tools_say() {
    let mut worst = (0.0, "");
    let files = expected(&folder());
    for (name, expected) in &files {
        let model = open(name).unwrap();
        let pipeline = Pipeline::builder(common::gpu(), &model.network, &model.weights).build().unwrap();
        let input = splitmix::uniform(SEED + 16, model.network.input().len(), 2.0);
        let [.., logits, _] = model.network.layers() else { panic!("{name}: two layers") };
        let found = pollster::block_on(pipeline.run_layers(&input, &[&logits.name])).unwrap().pop().unwrap();
        let error = relative_error(&found, &expected.logits);
        assert!(error < 1e-5, "{name}: error {error:e}");
        if error > worst.0 {
            worst = (error, name);
        }
    }
    println!("{} files, the largest error is {:e} ({})", files.len(), worst.0, worst.1);
}

/// `make.py --full DIR` writes the files; ALEXNET_FULL_SIZE is the folder.
#[test]
#[ignore = "needs a gigabyte of files that make.py --full writes"]
fn full_size() {
    let folder = PathBuf::from(std::env::var_os("ALEXNET_FULL_SIZE").expect("ALEXNET_FULL_SIZE=DIR"));
    let files = expected(&folder);
    assert!(!files.is_empty());
    for (name, expected) in &files {
        let start = std::time::Instant::now();
        let (model, allocated) = allocations(|| Model::open(folder.join(name), &ModelOptions::default()).unwrap());
        println!("{name}: opened in {:?}, {allocated} bytes allocated", start.elapsed());
        assert!(allocated < 2 << 20, "{name}: tensors are borrowed from the memory map");
        let variant: Variant = expected.network.parse().unwrap();
        assert_eq!(model.network.alexnet(), Some(variant.standard()), "{name}");
        check(&folder, name, expected);
    }
}

#[test]
fn layers_have_an_alexnets_names_whatever_the_file_calls_them() {
    let names = |file| -> Vec<String> { open(file).unwrap().network.layers().iter().map(|l| l.name.clone()).collect() };
    let caffe = "conv1 norm1 pool1 conv2 norm2 pool2 conv3 conv4 conv5 pool5 fc6 drop6 fc7 drop7 fc8 prob";
    let torchvision = "conv1 pool1 conv2 pool2 conv3 conv4 conv5 pool5 avgpool fc6 fc7 fc8 prob";
    let cases = [
        ("zoo.onnx", caffe),
        ("opset3.onnx", caffe),
        ("v1.caffemodel", caffe),
        ("exported.onnx", torchvision),
        ("dynamo.onnx", torchvision),
        ("open-alexnet.onnx", "conv1 pool1 conv2 pool2 conv3 conv4 conv5 pool5 drop5 drop5_2 fc6 fc7 fc8 prob"),
        ("operators.onnx", "c1 l1 p1 c2 p2 a2 m3 y prob"),
    ];
    for (file, expected) in cases {
        assert_eq!(names(file).join(" "), expected, "{file}");
    }
}

#[test]
fn graphs_of_the_published_layouts_are_the_published_networks() {
    let published =
        |variant: Variant, channels| AlexNet { variant, channels, head: [8, 8], classes: 10 }.network().unwrap();
    let caffe = published(Variant::Caffe, [4, 8, 12, 12, 8]);
    let caffenet = published(Variant::CaffeNet, [4, 8, 12, 12, 8]);
    assert_eq!(open("v1.caffemodel").unwrap().network, caffe);
    assert_eq!(open("opset3.onnx").unwrap().network, caffe);
    assert_eq!(open("v2.caffemodel").unwrap().network, caffenet);
    assert_eq!(open("no-input.caffemodel").unwrap().network, caffenet);
    assert_eq!(open("typed.onnx").unwrap().network, caffenet);
    let torchvision = published(Variant::Torchvision, [2, 6, 12, 8, 4]);
    for file in ["torchvision.pth", "torchvision-legacy.pth", "torchvision.safetensors", "timm.safetensors"] {
        assert_eq!(open(file).unwrap().network, torchvision, "{file}");
    }

    // The zoo's model pads at 224.
    let zoo = open("zoo.onnx").unwrap();
    let pool = |name: &str| match zoo.network.layer(name).unwrap().op {
        Op::MaxPool(pool) => pool.window.padding,
        op => panic!("{op:?}"),
    };
    let extra = Padding { bottom: 1, right: 1, ..0.into() };
    assert_eq!([pool("pool1"), pool("pool2"), pool("pool5")], [extra, 0.into(), 0.into()]);
    assert_eq!(zoo.network.layer("conv1").unwrap().output, Shape::new(4, 54, 54));
    assert_eq!(zoo.network.layer("pool5").unwrap().output, Shape::new(8, 6, 6));
    assert_eq!(zoo.network.alexnet().unwrap().variant, Variant::Caffe);
}

#[test]
fn preprocessing_and_labels_go_with_the_network() {
    let torchvision = open("torchvision.pth").unwrap();
    assert_eq!(torchvision.preprocessing, Preprocessing::torchvision(224));
    assert_eq!(torchvision.labels[3], "class 3");

    let zoo = open("zoo.onnx").unwrap();
    assert_eq!(zoo.preprocessing, Preprocessing::caffe(224));
    assert_eq!(open("typed.onnx").unwrap().preprocessing, Preprocessing::caffe(227));
    assert!(zoo.origin.preprocessing.contains("caffe"), "{}", zoo.origin.preprocessing);
    assert!(zoo.origin.network.contains("caffe"), "{}", zoo.origin.network);

    // The data layer of a snapshot gives its mean; a deployed net gives none.
    let v1 = open("v1.caffemodel").unwrap().preprocessing;
    assert_eq!((v1.mean, v1.channels, v1.crop), ([104.0, 117.0, 123.0], ChannelOrder::Bgr, [227, 227]));
    assert_eq!(open("v2.caffemodel").unwrap().preprocessing, Preprocessing::caffe(227));
    let small = open("rounding.caffemodel").unwrap().preprocessing;
    assert_eq!((small.crop, small.resize), ([31, 30], Resize::Warp([256, 256])));

    let labels: Vec<String> = (0..10).map(|i| format!("thing {i}")).collect();
    let options = ModelOptions::default().labels(labels.clone());
    assert_eq!(Model::open(folder().join("zoo.onnx"), &options).unwrap().labels, labels);
    let options = ModelOptions::default().labels(vec!["one".into()]);
    let err = Model::open(folder().join("zoo.onnx"), &options).unwrap_err();
    assert!(matches!(err, WeightsError::Labels { expected: 10, found: 1 }), "{err}");

    let imagenet = AlexNet::TORCHVISION.width(0.05).head(4, 4).network().unwrap();
    let model = Model::from_weights(Weights::random(&imagenet, 1), &ModelOptions::default()).unwrap();
    assert_eq!(model.labels[967], "espresso");
}

#[test]
fn the_callers_network_wins() {
    // The tensors of caffe and caffenet have the same shapes: only the caller can tell.
    let network = AlexNet::CAFFENET.width(0.05).head(8, 8).classes(10).network().unwrap();
    let weights = Weights::random(&network, 1);
    let recognised = Model::from_weights(weights.clone(), &ModelOptions::default()).unwrap();
    assert_eq!(recognised.network.name(), "caffe");
    assert!(recognised.origin.network.contains("caffenet"), "{}", recognised.origin.network);
    let options = ModelOptions::default().variant(Variant::CaffeNet);
    assert_eq!(Model::from_weights(weights, &options).unwrap().network, network);
    // The option also overrides a graph.
    let model = Model::open(folder().join("zoo.onnx"), &options).unwrap();
    assert_eq!((model.network.name(), model.preprocessing.crop), ("caffenet", [227, 227]));
    let options = ModelOptions::default().variant(Variant::Torchvision);
    let err = Model::open(folder().join("zoo.onnx"), &options).unwrap_err();
    assert!(matches!(err, WeightsError::Shape { .. }), "{err}");
}

#[test]
fn one_file_carries_everything_that_another_format_said() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zoo.onnx", "v1.caffemodel", "checkpoint.pth", "operators.onnx", "half.onnx"] {
        let mut model = open(name).unwrap();
        if name == "v1.caffemodel" {
            model.weights = model.weights.cast(DType::F16);
        }
        let path = folder.path().join("converted.safetensors");
        model.to_weights().unwrap().save(&path).unwrap();
        let converted = Model::open(&path, &ModelOptions::default()).unwrap();
        assert_eq!(converted.network, model.network, "{name}");
        assert_eq!(converted.preprocessing, model.preprocessing, "{name}");
        assert_eq!(converted.labels, model.labels, "{name}");
        for (key, tensor) in &model.weights {
            let other = &converted.weights.tensor(key).unwrap();
            assert!(tensor.dtype() == other.dtype() && tensor.bytes() == other.bytes(), "{name} {key}");
        }
    }
}

#[test]
fn weights_keep_the_names_that_the_file_gives_them() {
    let names =
        |file: &str| Weights::open(folder().join(file)).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("checkpoint.pth")[0], "classifier.1.bias");
    assert_eq!(names("torchvision.safetensors")[0], "classifier.1.bias");
    assert_eq!(names("zoo.onnx")[..2], ["conv1_b_0", "conv1_w_0"]);
    assert_eq!(names("v1.caffemodel")[..2], ["conv1.bias", "conv1.weight"]);
    // Readable, though not a network.
    assert_eq!(names("refused-hardmax.onnx"), ["w"]);
}

/// The error message for `name`.
fn refusal(name: &str) -> String {
    match open(name) {
        Ok(_) => panic!("{name} was taken"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let cases = [
        ("refused-malice.pth", vec!["`posix.system`", "nothing was executed"]),
        ("refused-malice-legacy.pth", vec!["`posix.system`"]),
        ("refused-module.pth", vec!["`torch.nn.modules.linear.Linear`", "state_dict"]),
        ("refused-script.pt", vec!["`__torch__.torch.nn.modules.linear.Linear`", "state_dict"]),
        ("refused-integers.pth", vec!["`fc8.weight`", "LongStorage"]),
        ("refused-empty.pth", vec!["state dict with tensors"]),
        ("refused-hardmax.onnx", vec!["`squash`", "Hardmax"]),
        ("refused-branch.onnx", vec!["`shortcut`", "Add"]),
        ("refused-nan.onnx", vec!["`lrn`", "NaN"]),
        ("refused-softmax.onnx", vec!["`columns`", "axis -1"]),
        ("refused-shared.onnx", vec!["in proportion to the file"]),
        ("refused-eltwise.caffemodel", vec!["`squash`", "Eltwise"]),
        ("refused-untrained.caffemodel", vec!["without any"]),
        ("refused-bomb.onnx", vec!["3×4096×4096", "16777216"]),
        ("refused-bomb.safetensors", vec!["3×4096×4096", "16777216"]),
    ];
    let there = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.filter(|name| name.starts_with("refused-")).count(), cases.len());
    for (name, parts) in cases {
        let message = refusal(name);
        for part in parts {
            assert!(message.contains(part), "{name}: `{message}` without `{part}`");
        }
    }
}

fn from_bytes(bytes: Vec<u8>) -> Result<Model, WeightsError> {
    Model::from_bytes(bytes, &ModelOptions::default())
}

#[test]
fn no_format_says_what_was_found() {
    let message = |bytes: &[u8]| from_bytes(bytes.to_vec()).unwrap_err().to_string();
    assert!(message(b"<!DOCTYPE html><html>not found").contains("<!DOCTYPE html>"));
    assert!(message(b"version https://git-lfs.github.com/spec/v1\noid sha256:1").contains("git-lfs"));
    assert!(message(&[0xff, 0xd8, 0xff, 0xe0, 0, 16]).contains("ff d8 ff e0 00 10"));
    assert!(message(&[]).contains("expected"));
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let err = Model::open(&path, &ModelOptions::default()).unwrap_err();
    assert!(err.to_string().contains("an empty file"), "{err}");
    let err = Model::open(folder(), &ModelOptions::default()).unwrap_err();
    assert!(matches!(err, WeightsError::Read { .. }), "{err}");
    let err = Model::open(folder().join("none"), &ModelOptions::default()).unwrap_err();
    assert!(matches!(err, WeightsError::Read { .. }), "{err}");
}

#[test]
fn tensors_of_no_alexnet_are_listed() {
    let network = alexnet_wgpu::Network::builder("lenet", Shape::new(3, 28, 28))
        .conv("c1", alexnet_wgpu::Conv::new(6, 5))
        .linear("f2", alexnet_wgpu::Linear::new(10))
        .build()
        .unwrap();
    let err = Model::from_weights(Weights::random(&network, 1), &ModelOptions::default()).unwrap_err().to_string();
    assert!(err.contains("found 1 and 1 in 4 tensors (c1.bias, c1.weight, f2.bias, f2.weight)"), "{err}");
}

/// Labels belong to a plausible list of classes; feature maps are not one.
#[test]
fn outputs_that_are_no_classes_have_no_labels() {
    let model = |input: Shape| {
        let network = alexnet_wgpu::Network::builder("n", input).dropout("d").build().unwrap();
        let mut weights = Weights::default();
        weights.metadata.insert("network".into(), serde_json::to_string(&network).unwrap());
        Model::from_weights(weights, &ModelOptions::default())
    };
    let output = Shape::vector(Model::MAX_CLASSES + 1);
    let error = model(output).unwrap_err();
    assert!(matches!(error, WeightsError::Classes { output: found } if found == output), "{error}");
    assert!(error.to_string().contains(&output.to_string()), "{error}");
    let maps = model(Shape::new(3, 8, 8)).unwrap();
    assert_eq!((maps.labels.len(), &*maps.origin.labels), (0, "none, as the network ends in maps"));
}

/// Networks with other than three channels are supported; only pictures cannot be made for them.
#[test]
fn networks_of_one_and_four_channels() {
    let model = |channels, options: &ModelOptions| {
        let network = alexnet_wgpu::Network::builder("n", Shape::new(channels, 28, 20))
            .conv("c", alexnet_wgpu::Conv::new(2, 3))
            .linear("f", alexnet_wgpu::Linear::new(4))
            .build()
            .unwrap();
        let mut weights = Weights::random(&network, 1);
        weights.metadata.insert("network".into(), serde_json::to_string(&network).unwrap());
        Model::from_weights(weights, options)
    };
    let picture = Picture::from_rgb8(2, 1, vec![255; 6]).unwrap();
    for channels in [1, 2, 4] {
        let model = model(channels, &ModelOptions::default()).unwrap();
        let converted = Model::from_weights(model.to_weights().unwrap(), &ModelOptions::default()).unwrap();
        assert_eq!((converted.network, converted.preprocessing), (model.network.clone(), model.preprocessing));
        let input = match model.preprocessing.apply(&picture) {
            Ok(input) => {
                assert_eq!((channels, model.preprocessing.channels), (1, ChannelOrder::Grey));
                // The picture is white, and has the stated width.
                assert!(input.iter().all(|&value| value == 1.0));
                input
            }
            Err(error) => {
                assert_eq!(error, PreprocessingError::Channels { expected: channels });
                splitmix::uniform(1, channels * 28 * 20, 1.0)
            }
        };
        let pipeline = Pipeline::builder(common::gpu(), &model.network, &model.weights).build().unwrap();
        let found = pollster::block_on(pipeline.run(&input)).unwrap();
        let exact: Vec<f64> = input.into_iter().map(f64::from).collect();
        let exact = run(&model.network, &model.weights, &exact).unwrap().pop().unwrap();
        assert!(relative_error(&found, &exact) < 1e-5, "{channels}");
    }
    // Three means do not fit a network of one channel.
    let options = ModelOptions::default().preprocessing(GivenPreprocessing::Torchvision);
    let error = model(1, &options).unwrap_err().to_string();
    assert!(error.contains("the network's input of 1×28×20, found one to 3×28×20"), "{error}");
}

/// Errors name tensors as in the file.
#[test]
fn errors_use_the_files_names() {
    let change = |change: &dyn Fn(&mut Weights)| {
        let mut weights = Weights::open(folder().join("torchvision.safetensors")).unwrap();
        change(&mut weights);
        Model::from_weights(weights, &ModelOptions::default())
    };
    let ones = |shape: &[usize]| Tensor::from_f32(shape, vec![1.0; shape.iter().product()]);

    let mut values = vec![0.5; 2];
    values[1] = f32::NAN;
    let nan = change(&|t| drop(t.insert("features.0.bias", Tensor::from_f32([2], values.clone())))).unwrap();
    assert!(nan.weights.get("conv1.bias").is_some());
    let built = Pipeline::builder(common::gpu(), &nan.network, &nan.weights).build().unwrap_err().to_string();
    for error in [built, nan.weights.check_finite().unwrap_err().to_string()] {
        assert!(error.contains("tensor `features.0.bias`: expected finite numbers, found NaN at 1"), "{error}");
    }
    // A conversion of types keeps the names.
    let cast = nan.weights.cast(DType::F16).check_finite().unwrap_err().to_string();
    assert!(cast.contains("`features.0.bias`"), "{cast}");

    let wrong = change(&|t| drop(t.insert("features.3.bias", ones(&[7])))).unwrap_err().to_string();
    assert!(wrong.starts_with("tensor `features.3.bias`: expected shape [6], found [7]"), "{wrong}");

    let missing = change(&|t| drop(t.remove("classifier.6.bias"))).unwrap_err();
    assert!(matches!(&missing, WeightsError::Missing { tensor, .. } if tensor == "classifier.6.bias"), "{missing}");

    let extra = change(&|t| drop(t.insert("ema.x", ones(&[1])))).unwrap_err().to_string();
    assert_eq!(
        extra,
        "tensor `ema.x` is not part of network `AlexNet`: remove it from the file, or choose the network that has it"
    );
    let several = change(&|t| {
        for name in ["a.weight", "b.scale", "c", "d", "e", "f"] {
            t.insert(name, ones(&[3]));
        }
    });
    let several = several.unwrap_err().to_string();
    assert!(
        several.contains("`a.weight` has no place in network `AlexNet`, nor have `b.scale`, `c`, `d` and 2 more: ")
    );

    // Initializers of a graph have names of their own, too.
    let mut bytes = fs::read(folder().join("zoo.onnx")).unwrap();
    let first = open("zoo.onnx").unwrap().weights.tensor("conv1.weight").unwrap().bytes()[..16].to_vec();
    let at = bytes.windows(16).position(|w| w == first).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = from_bytes(bytes).unwrap().weights.check_finite().unwrap_err().to_string();
    assert!(error.starts_with("tensor `conv1_w_0`: "), "{error}");
}

/// A copy of external.onnx and its data in a folder of its own, with the location replaced.
fn external(location: &str) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = fs::read(folder().join("external.onnx")).unwrap();
    let written = b"external.onnx.bin";
    assert_eq!(location.len(), written.len(), "protobuf lengths stay");
    while let Some(at) = bytes.windows(written.len()).position(|w| w == written) {
        if location.as_bytes() == written {
            break;
        }
        bytes[at..at + written.len()].copy_from_slice(location.as_bytes());
    }
    let inside = tempfile::tempdir().unwrap();
    fs::create_dir(inside.path().join("model")).unwrap();
    let path = inside.path().join("model/external.onnx");
    fs::write(&path, bytes).unwrap();
    (inside, path)
}

#[test]
fn external_data_stays_in_the_models_folder() {
    let data = folder().join("external.onnx.bin");
    let open = |path: &Path| Model::open(path, &ModelOptions::default());

    let (_guard, path) = external("external.onnx.bin");
    assert!(matches!(open(&path), Err(WeightsError::Read { .. })), "no data");
    fs::copy(&data, path.with_file_name("external.onnx.bin")).unwrap();
    assert_eq!(open(&path).unwrap().network.name(), "ungrouped");
    fs::write(path.with_file_name("external.onnx.bin"), &fs::read(&data).unwrap()[..1000]).unwrap();
    let err = open(&path).unwrap_err().to_string();
    assert!(err.contains("found 1000 bytes"), "{err}");

    for location in ["../escape/him.bin", "/etc/ssl/cert.pem", "a/../../other.bin"] {
        let (guard, path) = external(location);
        fs::create_dir(guard.path().join("escape")).unwrap();
        fs::copy(&data, guard.path().join("escape/him.bin")).unwrap();
        fs::copy(&data, guard.path().join("other.bin")).unwrap();
        let err = open(&path).unwrap_err().to_string();
        assert!(err.contains("own folder") && err.contains(location), "{err}");
    }

    // A subfolder belongs to the model too.
    let (_guard, path) = external("below/weights.bin");
    fs::create_dir(path.with_file_name("below")).unwrap();
    fs::copy(&data, path.with_file_name("below").join("weights.bin")).unwrap();
    assert_eq!(open(&path).unwrap().network.name(), "ungrouped");

    #[cfg(unix)]
    {
        let (_guard, path) = external("external.onnx.bin");
        std::os::unix::fs::symlink(&data, path.with_file_name("external.onnx.bin")).unwrap();
        let err = open(&path).unwrap_err().to_string();
        assert!(err.contains("own folder"), "{err}");
    }

    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        // Through a symbolic link to the model, from anywhere.
        let (guard, path) = external("external.onnx.bin");
        fs::copy(&data, path.with_file_name("external.onnx.bin")).unwrap();
        fs::create_dir(guard.path().join("links")).unwrap();
        let link = guard.path().join("links/m.onnx");
        symlink("../model/external.onnx", &link).unwrap();
        assert_eq!(open(&link).unwrap().network.name(), "ungrouped");

        // In the layout of Hugging Face's cache.
        let snapshot = guard.path().join("snapshots/1/onnx");
        let blobs = guard.path().join("blobs");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir(&blobs).unwrap();
        fs::copy(&path, blobs.join("4a")).unwrap();
        fs::copy(&data, blobs.join("b7")).unwrap();
        symlink("../../../blobs/4a", snapshot.join("model.onnx")).unwrap();
        symlink("../../../blobs/b7", snapshot.join("external.onnx.bin")).unwrap();
        assert_eq!(open(&snapshot.join("model.onnx")).unwrap().network.name(), "ungrouped");
        // A link out of the folders is still refused.
        fs::copy(&data, guard.path().join("other.bin")).unwrap();
        fs::remove_file(snapshot.join("external.onnx.bin")).unwrap();
        symlink("../../../other.bin", snapshot.join("external.onnx.bin")).unwrap();
        let err = open(&snapshot.join("model.onnx")).unwrap_err().to_string();
        assert!(err.contains("own folder"), "{err}");
    }

    // In memory there is no folder.
    let err = from_bytes(fs::read(folder().join("external.onnx")).unwrap()).unwrap_err().to_string();
    assert!(err.contains("by its path"), "{err}");
}

/// Anything but a regular file is refused at once, without waiting for it.
#[cfg(unix)]
#[test]
fn pipes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(Weights::open(&pipe).map(drop)));
    let opened = receive.recv_timeout(std::time::Duration::from_secs(20)).expect("no waiting");
    assert!(opened.unwrap_err().to_string().contains("not a regular file"));
}

/// All test files, with their contents.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|path| {
            let extension = path.extension().unwrap().to_str().unwrap();
            ["pth", "pt", "onnx", "caffemodel", "safetensors"].contains(&extension)
        })
        .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn truncated_files_are_errors() {
    for (name, bytes) in fixtures() {
        for sixteenth in 0..16 {
            let cut = bytes[..bytes.len() * sixteenth / 16].to_vec();
            let (result, allocated) = allocations(|| from_bytes(cut));
            assert!(result.is_err(), "{name} at {sixteenth}/16");
            assert!(allocated < 4 << 20, "{name} at {sixteenth}/16 allocated {allocated}");
        }
    }
}

#[test]
fn headers_that_lie_allocate_nothing() {
    let file = |name: &str| fs::read(folder().join(name)).unwrap();
    let replace = |bytes: &[u8], from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from).expect("what is replaced");
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let huge = (1u64 << 60).to_le_bytes();
    let torchvision = file("torchvision.safetensors");
    let legacy = file("torchvision-legacy.pth");
    // The first number of each: 726 in conv1.weight, as BININT2.
    let numbers = [b'M', 0xd6, 0x02];
    let pickled_huge = [b'\x8a', 8, 0, 0, 0, 0, 0, 0, 0, 0x10];
    // The count before the first stored storage, after the list of keys.
    let list_end = legacy.windows(2).rposition(|w| w == b"e.").expect("the list of storages") + 2;
    let onnx = file("zoo.onnx");
    let bomb = file("refused-bomb.onnx");
    // Dimensions of 1×3×4096×4096 and 1×2097151×1×1.
    let picture = [10, 2, 8, 1, 10, 2, 8, 3, 10, 3, 8, 0x80, 0x20, 10, 3, 8, 0x80, 0x20];
    let vector = [10, 2, 8, 1, 10, 4, 8, 0xff, 0xff, 0x7f, 10, 2, 8, 1, 10, 2, 8, 1];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a header of 2⁶⁰ bytes", [&huge[..], &torchvision[8..]].concat()),
        ("a header of 4 GB", [&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &torchvision[8..]].concat()),
        ("offsets beyond the file", replace(&torchvision, b"\"data_offsets\":[0,", b"\"data_offsets\":[9,")),
        ("a shape that overflows", replace(&torchvision, b"\"shape\":[10]", b"\"shape\":[4611686018427387904,4]")),
        ("a storage of 2⁶⁰ numbers", replace(&legacy, &numbers, &pickled_huge)),
        ("a count of 2⁶⁰ numbers", [&legacy[..list_end], &huge[..], &legacy[list_end + 8..]].concat()),
        // Dimensions of conv1's weight: 4, 3, 11, 11.
        ("dimensions that overflow", replace(&onnx, &[8, 4, 8, 3, 8, 11, 8, 11], &[8, 0x7f, 8, 0x7f, 8, 0x7f, 8, 11])),
        ("a text of 4 GB", b"\x80\x02X\xff\xff\xff\xff".to_vec()),
        ("a text of 2⁶³ bytes", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()),
        ("a field of 2⁶³ bytes", b"\x08\x03\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()),
        ("a layer of 2⁶³ bytes", b"\x0a\x01a\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec()),
        // One label per number of the output would take 3.6 GB.
        ("an output of 3×4096×4096, as a graph", bomb.clone()),
        ("an output of 3×4096×4096, in the metadata", file("refused-bomb.safetensors")),
        ("two million classes", replace(&bomb, &picture, &vector)),
    ];
    for (what, bytes) in cases {
        let (result, allocated) = allocations(|| from_bytes(bytes));
        assert!(result.is_err(), "{what} was taken");
        assert!(allocated < 4 << 20, "{what} allocated {allocated}");
    }
}

#[test]
fn pickles_that_unfold_are_stopped() {
    // `\x80\x02` is the protocol; `]` an empty list, `q\0` remembers it, `h\0` recalls it.
    let deep = [b"\x80\x02".to_vec(), b"]".repeat(100_000), b"a".repeat(99_999), b".".to_vec()].concat();
    let itself = b"\x80\x02]q\0h\0a.".to_vec();
    let dict_in_itself = b"\x80\x02}q\0X\x05\0\0\0modelh\0s.".to_vec();
    let memo = [b"\x80\x02Nr\xff\xff\xff\xff".to_vec(), b"j\xff\xff\xff\xff".repeat(10), b".".to_vec()].concat();
    // A list of pairs, copied to an OrderedDict repeatedly.
    let pairs = [b"\x80\x02ccollections\nOrderedDict\nq\0](".to_vec(), b"NN\x86".repeat(50_000), b"eq\x01".to_vec()];
    let copies = [pairs.concat(), b"h\0h\x01\x85R".repeat(50_000), b".".to_vec()].concat();
    for (what, bytes) in
        [("deep", deep), ("itself", itself), ("dict", dict_in_itself), ("memo", memo), ("copies", copies)]
    {
        let len = bytes.len();
        let (result, allocated) = allocations(|| from_bytes(bytes));
        assert!(result.is_err(), "{what} was taken");
        assert!(allocated < 128 * len + (32 << 20), "{what} allocated {allocated}");
    }
}

/// A file in PyTorch's legacy format with one view, `conv1.weight`, of a storage of 0, 1, 2, ….
fn legacy_view(numbers: usize, offset: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let int = |v: usize| [&b"J"[..], &(v as i32).to_le_bytes()].concat();
    let tuple =
        |values: &[usize]| [b"(".to_vec(), values.iter().flat_map(|&v| int(v)).collect(), b"t".to_vec()].concat();
    let text = |t: &str| [&b"X"[..], &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
    let parts: Vec<Vec<u8>> = vec![
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec(),
        b"\x80\x02}".to_vec(),
        text("conv1.weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("1"),
        text("cpu"),
        int(numbers),
        b"NtQ".to_vec(),
        int(offset),
        tuple(shape),
        tuple(strides),
        b"\x89}tRs.".to_vec(),
        b"\x80\x02]".to_vec(),
        text("1"),
        b"a.".to_vec(),
        (numbers as u64).to_le_bytes().to_vec(),
        (0..numbers).flat_map(|i| (i as f32).to_le_bytes()).collect(),
    ];
    parts.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random damage to a real file gives an error or a model, in memory proportional to the file.
    #[test]
    fn damaged_files_do_no_harm(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        thread_local! {
            static FILES: Vec<(String, Vec<u8>)> = fixtures();
        }
        let mut bytes = FILES.with(|files| file.get(files).1.clone());
        // Half of the changes affect the header, which is a small part of most files.
        for (at, value, anywhere) in changes {
            let reach = if anywhere { bytes.len() } else { bytes.len().min(512) };
            bytes[at.index(reach)] = value;
        }
        let len = bytes.len();
        let (result, allocated) = allocations(|| from_bytes(bytes).map(|model| model.network.parameter_count()));
        prop_assert!(allocated < 64 * len + (8 << 20), "allocated {}", allocated);
        drop(result);
    }

    /// Any view within its storage is unfolded by its strides; any other is an error.
    #[test]
    fn views_are_unfolded(
        numbers in 0usize..200,
        offset in 0usize..50,
        dims in prop::collection::vec((0usize..6, 0usize..12), 0..5),
    ) {
        let (shape, strides): (Vec<usize>, Vec<usize>) = dims.into_iter().unzip();
        // The last dimension fastest, as in a tensor.
        let mut places = vec![offset];
        for (&n, &stride) in shape.iter().zip(&strides) {
            places = places.into_iter().flat_map(|at| (0..n).map(move |i| at + i * stride)).collect();
        }
        let inside = places.iter().all(|&at| at < numbers);
        match Weights::from_bytes(legacy_view(numbers, offset, &shape, &strides)) {
            Ok(weights) => {
                prop_assert!(inside);
                let tensor = &weights.tensor("conv1.weight").unwrap();
                let expected: Vec<f32> = places.iter().map(|&at| at as f32).collect();
                prop_assert_eq!(tensor.shape(), &shape[..]);
                prop_assert!(*tensor.to_f32() == expected[..]);
            }
            Err(e) => prop_assert!(!inside, "{}", e),
        }
    }

    #[test]
    fn safetensors_round_trip(
        tensors in prop::collection::btree_map(
            "[a-z.0-9]{1,12}",
            (prop::sample::select(vec![DType::F16, DType::BF16, DType::F32, DType::F64, DType::I8]),
             prop::collection::vec(0usize..4, 0..4),
             any::<u64>()),
            1..6,
        ),
        metadata in prop::collection::btree_map("\\PC{1,8}", "\\PC{0,20}", 0..4),
    ) {
        let made = tensors.into_iter().map(|(name, (dtype, shape, seed))| {
            let values = splitmix::uniform(seed, shape.iter().product(), 3.0);
            (name, Tensor::from_f32(shape, values).cast(dtype))
        });
        let mut weights: Weights = made.collect();
        weights.metadata = metadata;
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        weights.save(&path).unwrap();
        let read = Weights::open(&path).unwrap();
        prop_assert_eq!(&read.metadata, &weights.metadata);
        prop_assert!(read.names().eq(weights.names()));
        for (name, tensor) in &weights {
            let other = &read.tensor(name).unwrap();
            prop_assert_eq!((other.dtype(), other.shape(), other.bytes()), (tensor.dtype(), tensor.shape(), tensor.bytes()));
        }
    }

    /// Rounding to int8 changes a number by at most half a scale, and the largest of a row not at all; a saved file is
    /// identical.
    #[test]
    fn int8_is_near(rows in prop::collection::vec((-30i32..30, any::<u64>()), 1..6), columns in 0usize..40) {
        let row = |&(exponent, seed): &(i32, u64)| splitmix::uniform(seed, columns, 2f32.powi(exponent));
        let values: Vec<f32> = rows.iter().flat_map(row).collect();
        let tensor = Tensor::from_f32([rows.len(), columns], values.clone());
        let int8 = tensor.cast(DType::I8);
        prop_assert_eq!((int8.dtype(), int8.shape(), int8.bytes().len()), (DType::I8, tensor.shape(), values.len()));
        prop_assert_eq!(int8.scales().len(), if columns == 0 { 0 } else { rows.len() });
        for (row, &scale) in int8.scales().iter().enumerate() {
            let (found, expected) = (&int8.to_f32()[row * columns..][..columns], &values[row * columns..][..columns]);
            let largest = expected.iter().fold(0f32, |a, v| a.max(v.abs()));
            prop_assert_eq!(scale, largest / 127.0);
            for (f, e) in found.iter().zip(expected) {
                // Three roundings of f32: to the scale, to its multiple and back.
                prop_assert!((f - e).abs() <= scale * 0.5 * (1.0 + 1e-4), "{} for {}, scale {}", f, e, scale);
            }
        }
        let weights = Weights::from_iter([("a.weight", int8)]);
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        weights.save(&path).unwrap();
        let read = Weights::open(&path).unwrap();
        let (tensor, other) = (&weights.tensor("a.weight").unwrap(), &read.tensor("a.weight").unwrap());
        prop_assert_eq!((tensor.bytes(), tensor.scales(), tensor.shape()), (other.bytes(), other.scales(), other.shape()));
        prop_assert_eq!(tensor.to_f32(), other.to_f32());
        prop_assert!(tensor.cast(DType::F32).to_f32() == tensor.to_f32());
    }

    /// f16 and bf16 are read as the rounded numbers, and f64 represents f32 exactly.
    #[test]
    fn casts_round_to_nearest(values in prop::collection::vec(-60000f32..60000.0, 1..50)) {
        let tensor = Tensor::from_f32([values.len()], values.clone());
        let f64 = tensor.cast(DType::F64);
        prop_assert_eq!(&*f64.to_f32(), &values[..]);
        prop_assert!(f64.cast(DType::F32).bytes() == tensor.bytes());
        let half: Vec<f32> = values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
        prop_assert!(*tensor.cast(DType::F16).to_f32() == half[..]);
        let brain: Vec<f32> = values.iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect();
        prop_assert!(*tensor.cast(DType::BF16).to_f32() == brain[..]);
    }
}

/// Opens an int8 file with its scales, after `change` of the file's tensors.
fn int8_file(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> Result<Weights, WeightsError> {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let weight = Tensor::from_f32([2, 3], vec![127.0, 1.0, -2.5, 0.0, 12.7, -25.4]);
    let int8 = Weights::from_iter([("a.weight", weight)]).cast(DType::I8);
    int8.save(&path).unwrap();
    // I8 without scales has to be written byte by byte.
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let scales = file.tensor("a.weight.scale").unwrap();
    assert_eq!((scales.dtype(), scales.shape()), (safetensors::Dtype::F32, &[2][..]));
    assert_eq!(scales.data(), bytemuck::cast_slice::<f32, u8>(&[1.0, 25.4 / 127.0]));
    let numbers = file.tensor("a.weight").unwrap();
    assert_eq!((numbers.dtype(), numbers.data()), (safetensors::Dtype::I8, &[127, 1, 254, 0, 64, 129][..]));

    let mut others = BTreeMap::from([("a.weight.scale".into(), Tensor::from_f32([2], vec![1.0, 0.2]))]);
    change(&mut others);
    let owned: Vec<(String, Vec<usize>, Vec<u8>)> =
        others.iter().map(|(name, t)| (name.clone(), t.shape().to_vec(), t.bytes().to_vec())).collect();
    let mut views: Vec<(&str, safetensors::tensor::TensorView<'_>)> = vec![("a.weight", numbers)];
    for ((name, shape, bytes), tensor) in owned.iter().zip(others.values()) {
        let dtype = if tensor.dtype() == DType::F32 { safetensors::Dtype::F32 } else { safetensors::Dtype::F16 };
        views.push((name, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    }
    Weights::from_bytes(safetensors::serialize(views, None).unwrap())
}

#[test]
fn int8_without_scales_that_fit_is_refused() {
    let scale = || "a.weight.scale".to_string();
    let weights = int8_file(|_| ()).unwrap();
    assert!(weights.names().eq(["a.weight"]), "scales belong to their tensor");
    let tensor = &weights.tensor("a.weight").unwrap();
    assert_eq!((tensor.dtype(), tensor.scales()), (DType::I8, &[1.0, 0.2][..]));
    assert_eq!(*tensor.to_f32(), [127.0, 1.0, -2.0, 0.0, 64.0 * 0.2, -127.0 * 0.2]);

    type Change = Box<dyn FnOnce(&mut BTreeMap<String, Tensor>)>;
    let cases: [(&str, Change); 5] = [
        ("no such tensor", Box::new(|t| t.clear())),
        ("F32 of shape [3]", Box::new(move |t| drop(t.insert(scale(), Tensor::from_f32([3], vec![1.0; 3]))))),
        ("F32 of shape [2, 1]", Box::new(move |t| drop(t.insert(scale(), Tensor::from_f32([2, 1], vec![1.0; 2]))))),
        ("F16 of shape [2]", Box::new(move |t| *t.get_mut(&scale()).unwrap() = t[&scale()].cast(DType::F16))),
        ("NaN for row 1", Box::new(move |t| drop(t.insert(scale(), Tensor::from_f32([2], vec![1.0, f32::NAN]))))),
    ];
    for (message, change) in cases {
        let error = int8_file(change).unwrap_err();
        assert!(matches!(&error, WeightsError::Scales { tensor, expected: 2, .. } if tensor == "a.weight"), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    // A tensor of scales without int8 numbers is an ordinary tensor.
    let error = int8_file(|t| drop(t.insert("b.scale".into(), Tensor::from_f32([1], vec![1.0])))).unwrap();
    assert!(error.get("b.scale").is_some());
}

#[test]
fn int8_weights_are_the_same_network() {
    for name in ["zoo.onnx", "torchvision.pth", "operators.onnx", "timm.safetensors"] {
        let model = open(name).unwrap();
        let mut int8 = model.clone();
        int8.weights = model.weights.cast(DType::I8);
        for (key, tensor) in &int8.weights {
            let expected = if key.ends_with(".weight") { DType::I8 } else { DType::F32 };
            assert_eq!(tensor.dtype(), expected, "{name} {key}");
        }
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        int8.to_weights().unwrap().save(&path).unwrap();
        let read = Model::open(&path, &ModelOptions::default()).unwrap();
        assert_eq!((&read.network, &read.labels), (&model.network, &model.labels), "{name}");
        for (key, tensor) in &int8.weights {
            let other = &read.weights.tensor(key).unwrap();
            assert_eq!((tensor.bytes(), tensor.scales()), (other.bytes(), other.scales()), "{name} {key}");
        }
        // The output is close to the original's, not equal.
        let input: Vec<f64> =
            splitmix::uniform(7, model.network.input().len(), 2.0).into_iter().map(f64::from).collect();
        let output = |weights| run(&model.network, weights, &input).unwrap().pop().unwrap();
        let (exact, rounded) = (output(&model.weights), output(&read.weights));
        let rounded: Vec<f32> = rounded.into_iter().map(|v| v as f32).collect();
        let error = relative_error(&rounded, &exact);
        assert!(error > 1e-6 && error < 0.05, "{name}: {error}");
    }

    // Recognised by its shapes as well, where the head is written as convolutions.
    let model = open("torchvision.pth").unwrap();
    let mut weights = model.weights.cast(DType::I8);
    weights.metadata.clear();
    let read = Model::from_weights(weights, &ModelOptions::default()).unwrap();
    assert_eq!(read.network, model.network);
}

/// A saved file has the permissions of the user's umask, like any other new file.
#[cfg(unix)]
#[test]
fn saved_files_have_ordinary_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let saved = folder.path().join("saved.safetensors");
    Weights::default().save(&saved).unwrap();
    assert_eq!(mode(&saved), mode(&plain));
}

/// A counter of each thread's allocations.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends no longer has counters.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: everything is done by the system's allocator; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of `f`, and the most bytes that it held at once.
fn allocations<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = f();
    (result, (PEAK.get() - before).max(0) as usize)
}
