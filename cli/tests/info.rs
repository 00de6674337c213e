//! `alexnet info`: what it says of weight files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;

use alexnet_wgpu::{DType, Network, Tensor, Weights};
use common::{Folder, Output, alexnet, command, embedded, fixture, tiny};
use serde_json::{Value, json};

fn info(arguments: &[&str], files: &[&Path]) -> Output {
    Output::of(command().arg("info").args(arguments).args(files))
}

fn json_of(files: &[&Path]) -> Value {
    serde_json::from_str(&info(&["--json"], files).success()).unwrap()
}

#[test]
fn the_embedded_model() {
    let text = info(&[], &[]).success();
    for part in [
        "the embedded model: safetensors\n",
        "network        garments: ",
        "input          3×227×227\n",
        "preprocessing  whole picture to 227×227, centre 227×227, RGB, (x / 255 - [0.485, 0.456, 0.406]) / ",
        "classes        10: T-shirt/top, Trouser, Pullover, Dress, …\n",
        "parameters     4,897,610\n",
        "weights        19.6 MB as f32, 9.8 MB as f16, 4.9 MB as int8\n",
        "convolution 11×11, stride 4, ReLU\n",
        "conv1.weight      64×3×11×11  f16         46,464\n",
    ] {
        assert!(text.contains(part), "expected {part:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours where nobody sees them");
    let json = json_of(&[]);
    assert_eq!(json["file"], Value::Null);
    assert_eq!((&json["parameters"], &json["classes"]), (&json!(4_897_610), &json!(10)));
    assert_eq!(json["tensors"].as_array().unwrap().len(), 16);
}

#[test]
fn files_of_other_formats() {
    let cases = [
        ("torchvision.pth", "PyTorch", "torchvision", "six times the filters"),
        ("torchvision-legacy.pth", "PyTorch (legacy)", "torchvision", "six times the filters"),
        ("zoo.onnx", "ONNX", "caffe", "the file's layers are those of caffe"),
        ("v1.caffemodel", "Caffe", "caffe", "the file's layers are those of caffe"),
        ("timm.safetensors", "safetensors", "torchvision", "six times the filters"),
    ];
    for (name, format, network, why) in cases {
        let file = fixture(name);
        let json = json_of(&[&file]);
        assert_eq!((&json["format"], &json["network"]["name"]), (&json!(format), &json!(network)), "{name}");
        assert!(json["why"]["network"].as_str().unwrap().contains(why), "{name}: {}", json["why"]);
        assert_eq!(json["bytes"], json!(std::fs::metadata(&file).unwrap().len()));
        // What the command prints of a network, the library reads.
        let read: Network = serde_json::from_value(json["network"].clone()).unwrap();
        assert_eq!(json["parameters"], json!(read.parameter_count()), "{name}");
        assert_eq!(json["multiply_adds"], json!(read.multiply_adds()), "{name}");
        let text = info(&[], &[&file]).success();
        assert!(text.contains(&format!("{name}: {format}, ")), "{text}");
    }
    // The tensors are called as the file calls them.
    let names = |json: Value| json["tensors"].as_array().unwrap().iter().map(|t| t["name"].clone()).collect::<Vec<_>>();
    assert!(names(json_of(&[&fixture("torchvision.pth")])).contains(&json!("features.0.weight")));
    // What only the caller can know.
    let json = info(&["--json", "--network", "caffenet"], &[&fixture("zoo.onnx")]).success();
    assert!(json.contains("\"name\":\"caffenet\""), "{json}");
}

#[test]
fn int8_takes_what_is_said() {
    let folder = Folder::new();
    let model = tiny();
    let file = folder.weights("int8.safetensors", &model.to_weights().unwrap().cast(DType::I8));
    let json = json_of(&[&file]);
    let dtypes: Vec<&Value> = json["tensors"].as_array().unwrap().iter().map(|t| &t["dtype"]).collect();
    assert_eq!(dtypes, [&json!("f32"), &json!("int8"), &json!("f32"), &json!("int8")]);
    // Weights and their scales, and biases: the file less its header, whose length comes first.
    let bytes = std::fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(json["weight_bytes"]["int8"], json!(bytes.len() as u64 - header));
}

/// The bytes of a GPU's kernels, against those of a pipeline on this machine's adapter.
#[test]
fn the_device_takes_about_as_much() {
    let said = &json_of(&[])["device_bytes"];
    let text = info(&[], &[]).success();
    let more = ["f32", "f16", "int8"].map(|dtype| {
        // In buffers, as a GPU has them: textures have whole rows.
        let bench = format!("bench --json --runs 1 --deny texture,sampled --dtype {dtype} --weights");
        let report = alexnet(&bench, &[&embedded()]).success();
        let report: Value = serde_json::from_str(&report).unwrap();
        let [said, taken] = [&said[dtype], &report["device_bytes"]].map(|bytes| bytes.as_u64().unwrap());
        assert!(text.contains(&format!("{:.1} MB as {dtype}", said as f64 / 1e6)), "{text}");
        println!("{dtype}: said {said}, taken {taken}");
        taken as f64 - said as f64
    });
    // What kernels need between their dispatches does not depend on the type, and weights are padded a little.
    let [f32, f16, int8] = more;
    assert!(f32.abs() < 2e7 && (f16 - f32).abs() < 1e5 && (int8 - f32).abs() < 1e5, "{more:?}");
}

#[test]
fn a_file_without_a_network_is_listed_all_the_same() {
    let folder = Folder::new();
    let weights = Weights::from_iter([("some.tensor", Tensor::from_f32([2, 3], vec![0.0; 6]))]);
    let file = folder.weights("other.safetensors", &weights);
    let output = info(&[], &[&file]);
    output.failure(1, &["other.safetensors: no network recognised"]);
    assert!(output.stdout.contains("some.tensor"), "{output:?}");
    let output = info(&["--json"], &[&file]);
    output.failure(1, &["no network recognised"]);
    assert_eq!(output.stdout, "");
    info(&[], &[&folder.path("missing.pth")]).failure(1, &["missing.pth", "os error 2"]);
    info(&[], &[&folder.file("text.pth", "Dear Sir")]).failure(1, &["text.pth: not a usable weight file"]);
}

#[test]
fn a_name_that_is_not_fetched() {
    let folder = Folder::new();
    let mut command = command();
    command.args(["info", "torchvision"]).env("HOME", folder.path("")).env("XDG_CACHE_HOME", folder.path("cache"));
    Output::of(&mut command).failure(1, &["there is no file torchvision", "alexnet fetch torchvision"]);
}
