//! `alexnet convert`: one file with everything, which means the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, path::Path};

use alexnet_wgpu::{DType, Model, ModelOptions, Tensor};
use common::{Folder, Output, alexnet, command, embedded, fixture, picture, tiny};
use serde_json::Value;

fn convert(arguments: &[&str], files: &[&Path]) -> Output {
    Output::of(command().arg("convert").args(files).args(arguments))
}

/// The most likely classes of a picture, and how likely they are.
fn top(weights: &Path, picture: &Path) -> Vec<(u64, f64)> {
    let json: Value =
        serde_json::from_str(&alexnet("classify --json --weights", &[weights, picture]).success()).unwrap();
    let class = |class: &Value| (class["index"].as_u64().unwrap(), class["probability"].as_f64().unwrap());
    json["top"].as_array().unwrap().iter().map(class).collect()
}

#[test]
fn converted_files_classify_the_same() {
    let folder = Folder::new();
    let boot = picture("ankle-boot.png");
    let sizes: Vec<u64> = [("f32", 1e-5), ("f16", 1e-5), ("int8", 0.03)]
        .into_iter()
        .map(|(dtype, tolerance)| {
            let file = folder.path(&format!("{dtype}.safetensors"));
            let line = convert(&["--dtype", dtype], &[&embedded(), &file]).success();
            assert!(line.contains(&format!("{dtype}.safetensors: garments as ")), "{line}");
            let (expected, found) = (top(&embedded(), &boot), top(&file, &boot));
            assert_eq!(found[0].0, expected[0].0, "{dtype}");
            for (found, expected) in found.iter().zip(&expected).take(2) {
                assert!((found.1 - expected.1).abs() < tolerance, "{dtype}: {found:?} for {expected:?}");
            }
            fs::metadata(&file).unwrap().len()
        })
        .collect();
    assert!(sizes[0] > 19_500_000 && sizes[1] < 10_000_000 && sizes[2] < 5_000_000, "{sizes:?}");
}

#[test]
fn other_formats_become_one_file() {
    let folder = Folder::new();
    let chelsea = picture("chelsea.png");
    for name in ["torchvision.pth", "zoo.onnx", "v1.caffemodel", "half.onnx"] {
        let file = folder.path("out.safetensors");
        convert(&[], &[&fixture(name), &file]).success();
        assert_eq!(top(&file, &chelsea), top(&fixture(name), &chelsea), "{name}");
        let [before, after] = [fixture(name), file].map(|f| Model::open(f, &ModelOptions::default()).unwrap());
        assert_eq!((&before.network, before.preprocessing), (&after.network, after.preprocessing), "{name}");
        assert_eq!(before.labels, after.labels, "{name}");
        for (key, tensor) in &before.weights {
            assert_eq!(tensor.dtype(), after.weights.tensor(key).unwrap().dtype(), "{name}: as it was");
        }
    }
    convert(&[], &[&fixture("zoo.onnx"), &folder.path("OUT2.SAFETENSORS")]).success();
    assert_eq!(folder.names(), ["OUT2.SAFETENSORS", "out.safetensors"]);
}

#[test]
fn what_the_caller_knows_goes_into_the_file() {
    let folder = Folder::new();
    let file = folder.path("out.safetensors");
    let labels = folder.file("labels.txt", (0..10).map(|i| format!("thing {i}\n")).collect::<String>());
    let arguments = ["--network", "caffenet", "--labels", labels.to_str().unwrap(), "--dtype", "int8"];
    convert(&arguments, &[&fixture("zoo.onnx"), &file]).success();
    let model = Model::open(&file, &ModelOptions::default()).unwrap();
    assert_eq!((model.network.name(), model.labels[7].as_str()), ("caffenet", "thing 7"));
    assert_eq!(model.weights.tensor("fc8.weight").unwrap().dtype(), DType::I8);
    let short = folder.file("short.txt", "one\ntwo\n");
    let output = convert(&["--labels", short.to_str().unwrap()], &[&fixture("zoo.onnx"), &file]);
    output.failure(2, &["expected 10 labels"]);
}

#[test]
fn what_stood_there_stays_when_it_fails() {
    let folder = Folder::new();
    let kept = folder.file("kept.safetensors", "before");
    convert(&[], &[&folder.path("missing.pth"), &kept]).failure(1, &["missing.pth"]);
    // f16 has no number this large.
    let mut model = tiny();
    model.weights.insert("fc2.bias", Tensor::from_f32([4], vec![0.0, 70000.0, 0.0, 0.0]));
    let large = folder.weights("large.safetensors", &model.to_weights().unwrap());
    let output = convert(&["--dtype", "f16"], &[&large, &kept]);
    output.failure(1, &["tensor `fc2.bias`: expected finite numbers that fit f16, found inf"]);
    assert_eq!(fs::read(&kept).unwrap(), b"before");

    // Another type is no help with this.
    model.weights.insert("fc2.bias", Tensor::from_f32([4], vec![0.0, f32::NAN, 0.0, 0.0]));
    let nan = folder.weights("nan.safetensors", &model.to_weights().unwrap());
    for arguments in [&[][..], &["--dtype", "f16"]] {
        let parts =
            ["nan.safetensors: tensor `fc2.bias`: expected finite numbers, found NaN at 1: the file is damaged"];
        convert(arguments, &[&nan, &kept]).failure(1, &parts);
    }
    assert_eq!(fs::read(&kept).unwrap(), b"before");

    // The input is read while the output is written.
    let before = fs::read(&large).unwrap();
    let around = folder.path("../").join(folder.path("").file_name().unwrap()).join("large.safetensors");
    for output in [&large, &around] {
        convert(&["--dtype", "int8"], &[&large, output]).failure(2, &["expected an output other than the inputs"]);
    }
    assert!(fs::read(&large).unwrap() == before);
    convert(&[], &[&large, &folder.path("out.pth")]).failure(2, &["expected an output that ends in .safetensors"]);
    convert(&["--dtype", "f64"], &[&large, &kept]).failure(2, &["f64", "f32", "int8"]);
    let nowhere = folder.path("nowhere/out.safetensors");
    convert(&[], &[&large, &nowhere]).failure(1, &["cannot write", "nowhere"]);
    assert_eq!(folder.names(), ["kept.safetensors", "large.safetensors", "nan.safetensors"]);
}
