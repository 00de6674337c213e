//! `alexnet classify`: what it says of pictures, and how.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{path::Path, process::Stdio};

use alexnet_wgpu::{AlexNet, Linear, ModelOptions, Network, Shape, Weights, imagenet_labels};
use common::{Folder, Output, alexnet, command, embedded, model, picture, prepared, tiny};
use serde_json::Value;

fn records(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn garments_are_known() {
    let garments = [
        ("t-shirt.png", "T-shirt/top"),
        ("trouser.png", "Trouser"),
        ("pullover.png", "Pullover"),
        ("dress.png", "Dress"),
        ("coat.png", "Coat"),
        ("sandal.png", "Sandal"),
        ("shirt.png", "Shirt"),
        ("sneaker.png", "Sneaker"),
        ("bag.png", "Bag"),
        ("ankle-boot.png", "Ankle boot"),
    ];
    let pictures = garments.map(|(name, _)| picture(name));
    let paths: Vec<&Path> = pictures.iter().map(AsRef::as_ref).collect();
    let records = records(&alexnet("classify --json", &paths).success());
    let said = |record: &Value| record["top"][0]["label"].as_str().unwrap().to_string();
    assert_eq!(records.iter().map(said).collect::<Vec<_>>(), garments.map(|(_, label)| label));
    let images = records.iter().map(|record| Path::new(record["image"].as_str().unwrap()));
    assert_eq!(images.collect::<Vec<_>>(), paths);
}

#[test]
fn json_is_one_object_a_line() {
    let boot = picture("ankle-boot.png");
    let stdout = alexnet("classify --json --top 3", &[&boot]).success();
    let line = stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{stdout}");

    let record: Value = serde_json::from_str(line).unwrap();
    // serde_json sorts keys as it reads; their places in the text are their order.
    let keys = ["image", "network", "adapter", "backend", "top", "index", "label", "probability"];
    let places: Vec<_> = keys
        .into_iter()
        .chain(["ms", "preprocess", "inference"])
        .map(|key| line.find(&format!("\"{key}\":")))
        .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{line}");
    assert_eq!(record.as_object().unwrap().len(), 6);

    assert_eq!(record["image"], boot.to_str().unwrap());
    assert_eq!(record["network"], "garments");
    assert!(!record["adapter"].as_str().unwrap().is_empty());
    assert!(["vulkan", "metal", "dx12", "gl"].contains(&record["backend"].as_str().unwrap()));
    let top = record["top"].as_array().unwrap();
    assert_eq!(top.len(), 3);
    assert_eq!((&top[0]["index"], &top[0]["label"]), (&9.into(), &"Ankle boot".into()));
    let probabilities: Vec<f64> = top.iter().map(|class| class["probability"].as_f64().unwrap()).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities[0] > 0.5, "{probabilities:?}");
    assert!(record["ms"]["preprocess"].as_f64().unwrap() > 0.0);
    assert!(record["ms"]["inference"].as_f64().unwrap() > 0.0);
}

#[test]
fn people_get_a_table() {
    let (boot, bag) = (picture("ankle-boot.png"), picture("bag.png"));
    let stdout = alexnet("classify --top 2", &[&boot, &bag]).success();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{stdout}");
    assert_eq!([lines[0], lines[3]].map(Path::new), [boot, bag]);
    for (line, label) in [(lines[1], "Ankle boot"), (lines[4], "Bag")] {
        let (percent, said) = line.split_once(" %  ").unwrap();
        assert_eq!((percent.len(), said), (7, label), "{stdout}");
        assert!(percent.trim().parse::<f32>().unwrap() > 50.0, "{stdout}");
    }
    assert!(!stdout.contains('\u{1b}'), "colours in a pipe: {stdout:?}");
}

#[test]
fn outputs_without_a_softmax_are_no_percentages() {
    let folder = Folder::new();
    let network = Network::builder("scores", Shape::new(3, 16, 16)).linear("fc1", Linear::new(4)).build().unwrap();
    let model = model(network, ModelOptions::default());
    let weights = folder.weights("scores.safetensors", &model.to_weights().unwrap());
    let table = alexnet("classify --weights", &[&weights, &folder.plain_picture("grey.ppm", 9, 9)]).success();
    assert!(!table.contains('%'), "{table}");
    let scores = table.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().parse::<f32>().unwrap());
    assert!(scores.is_sorted_by(|a, b| a >= b), "{table}");
}

#[test]
fn the_embedded_model_is_its_file() {
    let bag = picture("bag.png");
    let (embedded_model, file) = (alexnet("classify", &[&bag]), alexnet("classify --weights", &[&embedded(), &bag]));
    assert_eq!(embedded_model.success(), file.success());
}

#[test]
fn top_is_at_most_the_classes() {
    let record = &records(&alexnet("classify --json --top 1000000000000", &[&picture("bag.png")]).success())[0];
    assert_eq!(record["top"].as_array().unwrap().len(), 10);
}

#[test]
fn a_bad_picture_leaves_the_others() {
    let folder = Folder::new();
    let bad = folder.file("bad.png", "not a picture");
    let (bag, boot) = (picture("bag.png"), picture("ankle-boot.png"));
    let output = alexnet("classify --json", &[&bag, &bad, &boot]);
    output.failure(1, &["bad.png: expected a BMP", "found bytes that begin `not a picture`"]);
    let said: Vec<_> = records(&output.stdout).iter().map(|record| record["top"][0]["label"].clone()).collect();
    assert_eq!(said, ["Bag", "Ankle boot"]);
}

#[test]
fn thousand_classes_are_imagenets() {
    let folder = Folder::new();
    let network = AlexNet::TORCHVISION.width(0.1).head(8, 8).network().unwrap();
    let weights = folder.weights("torchvision.safetensors", &Weights::random(&network, 1));
    let arguments = "classify --json --network torchvision --weights";
    let record = &records(&alexnet(arguments, &[&weights, &picture("bag.png")]).success())[0];
    assert_eq!(record["network"], "torchvision");
    let class = &record["top"][0];
    assert_eq!(class["label"], imagenet_labels()[class["index"].as_u64().unwrap() as usize]);
}

#[test]
fn the_network_can_be_named() {
    let folder = Folder::new();
    let network = AlexNet::CAFFENET.width(0.1).head(8, 8).classes(3).network().unwrap();
    let weights = folder.weights("two-groups.safetensors", &Weights::random(&network, 1));
    for (name, arguments) in [("caffe", ""), ("caffe", "--network caffe"), ("caffenet", "--network caffenet")] {
        let guessed = arguments.is_empty();
        let arguments = format!("classify --json {arguments} --weights");
        let output = alexnet(&arguments, &[&weights, &picture("bag.png")]);
        assert_eq!((output.code, output.stderr.lines().count()), (Some(0), usize::from(guessed)), "{output:?}");
        let record = &records(&output.stdout)[0];
        assert_eq!(record["network"], name);
        assert!(record["top"][0]["label"].as_str().unwrap().starts_with("class "));
    }
}

#[test]
fn labels_come_from_a_file() {
    let folder = Folder::new();
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let grey = folder.plain_picture("grey.ppm", 20, 10);
    let own = records(&alexnet("classify --json --weights", &[&weights, &grey]).success());
    let labels = folder.file("labels.txt", "rouge\r\nvert\r\nbleu\u{1b}[31m\r\ngris\r\n");
    let given = alexnet("classify --json --labels", &[&labels, "--weights".as_ref(), &weights, &grey]).success();
    for (own, given) in own[0]["top"].as_array().unwrap().iter().zip(records(&given)[0]["top"].as_array().unwrap()) {
        assert_eq!(own["index"], given["index"]);
        let index = own["index"].as_u64().unwrap() as usize;
        assert_eq!(own["label"], ["red", "green", "blue", "grey"][index]);
        assert_eq!(given["label"], ["rouge", "vert", "bleu\u{1b}[31m", "gris"][index]);
    }
    let table = alexnet("classify --labels", &[&labels, "--weights".as_ref(), &weights, &grey]).success();
    assert!(table.contains("bleu [31m") && !table.contains('\u{1b}'), "{table:?}");

    let ten: String = (0..10).map(|i| format!("kind {i}\n")).collect();
    let ten = folder.file("ten.txt", ten);
    let stdout = alexnet("classify --top 1 --labels", &[&ten, &picture("bag.png")]).success();
    assert!(stdout.ends_with("kind 8\n"), "{stdout}");
}

#[test]
fn extreme_pictures_are_classified() {
    let folder = Folder::new();
    let sizes = [(1, 1), (1, 20_000), (20_000, 1)];
    let pictures = sizes.map(|(w, h)| folder.plain_picture(&format!("{w}x{h}.ppm"), w, h));
    let stdout = alexnet("classify --json", &pictures.each_ref().map(AsRef::as_ref)).success();
    assert_eq!(records(&stdout).len(), 3);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bag = picture("bag.png");
    let mut child =
        prepared("classify --json", &[&bag, &bag, &bag]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = prepared("classify", &[&picture("bag.png")]);
    Output::of(command.stdout(full)).failure(1, &["cannot write to standard output: No space left"]);
}

#[test]
fn colours_are_for_terminals_and_who_forces_them() {
    let bag = picture("bag.png");
    let forced = Output::of(prepared("classify", &[&bag]).env("CLICOLOR_FORCE", "1")).success();
    assert!(forced.starts_with("\u{1b}[1m"), "{forced:?}");
    let none = Output::of(prepared("classify", &[&bag]).env("NO_COLOR", "1")).success();
    assert!(!none.contains('\u{1b}'), "{none:?}");
}

#[test]
fn help_and_version() {
    let version = Output::of(command().arg("--version")).success();
    assert_eq!(version, format!("alexnet {}\n", env!("CARGO_PKG_VERSION")));
    for subcommand in ["classify", "features", "adapters"] {
        let help = Output::of(command().args([subcommand, "--help"])).success();
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}
