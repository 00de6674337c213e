//! `--preprocessing`: how pictures become the network's input, whatever a file says.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;

use alexnet_wgpu::{ChannelOrder, Picture, Preprocessing, Weights};
use common::{Folder, Output, alexnet, command, embedded, fixture, picture};
use serde_json::{Value, json};

fn info(arguments: &str, files: &[&Path]) -> Value {
    let output = Output::of(command().args(["info", "--json"]).args(arguments.split_whitespace()).args(files));
    serde_json::from_str(&output.success()).unwrap()
}

/// What the command says of a picture, without its times.
fn said(arguments: &str, files: &[&Path]) -> Value {
    let mut said: Value = serde_json::from_str(&alexnet(arguments, files).success()).unwrap();
    said.as_object_mut().unwrap().remove("ms");
    said
}

#[test]
fn names_are_fitted_to_the_networks_input() {
    for (name, channels, side) in [("torchvision", "rgb", 227), ("caffe", "bgr", 227)] {
        let json = info(&format!("--preprocessing {name}"), &[]);
        assert_eq!(json["preprocessing"]["channels"], channels);
        assert_eq!(json["preprocessing"]["crop"], json!([side, side]));
        let why = json["why"]["preprocessing"].as_str().unwrap();
        assert!(why.to_lowercase().contains(name) && why.contains("given by the caller"), "{why}");
    }
    let json = info("--preprocessing caffe", &[&fixture("torchvision.pth")]);
    assert_eq!(
        (&json["preprocessing"]["channels"], &json["preprocessing"]["crop"]),
        (&json!("bgr"), &json!([224, 224]))
    );
}

/// The first layer's input itself, for a picture whose colours tell the order of the channels.
#[test]
fn the_network_sees_what_is_asked_for() {
    let folder = Folder::new();
    let picture = folder.ppm("red.ppm", 300, 240, &[200, 60, 10].repeat(300 * 240));
    let output = folder.path("conv1.safetensors");
    let features = |arguments: &str| {
        let arguments = format!("features {arguments} --layer conv1 --output");
        assert_eq!(alexnet(&arguments, &[&output, &picture]).success(), "");
        Weights::open(&output).unwrap().tensor("conv1").unwrap().to_f32().into_owned()
    };
    let caffe = Preprocessing::caffe(227);
    assert_eq!(caffe.channels, ChannelOrder::Bgr);
    let input = caffe.apply(&Picture::open(&picture).unwrap()).unwrap();
    let tensor = folder.path("input.npy");
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 227, 227), }");
    let numbers: Vec<u8> = input.iter().flat_map(|value| value.to_le_bytes()).collect();
    folder.file("input.npy", [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), &numbers].concat());
    let expected = {
        assert_eq!(alexnet("features --layer conv1 --output", &[&output, "--input".as_ref(), &tensor]).success(), "");
        Weights::open(&output).unwrap().tensor("conv1").unwrap().to_f32().into_owned()
    };
    assert_eq!(features("--preprocessing caffe"), expected);
    assert_ne!(features(""), expected);
    // The same numbers from a file, as the command prints them.
    let numbers = info("--preprocessing caffe", &[])["preprocessing"].to_string();
    let own = folder.file("own.json", format!("\n{numbers}\n"));
    assert_eq!(features(&format!("--preprocessing {}", own.display())), expected);
}

#[test]
fn converted_files_keep_it() {
    let folder = Folder::new();
    let (boot, file) = (picture("ankle-boot.png"), folder.path("caffe.safetensors"));
    let mut convert = command();
    Output::of(convert.args(["convert", "--preprocessing", "caffe"]).args([&embedded(), &file])).success();
    let kept = said("classify --json --weights", &[&file, &boot]);
    assert_eq!(kept, said("classify --json --preprocessing caffe", &[&boot]));
    assert_ne!(kept["top"], said("classify --json", &[&boot])["top"]);
    // A file that says one thing can be told another.
    let own = info("", &[])["preprocessing"].to_string();
    let own = folder.file("own.json", own);
    let back = said("classify --json --preprocessing", &[&own, "--weights".as_ref(), &file, &boot]);
    assert_eq!(back, said("classify --json", &[&boot]));

    folder.plain_picture("garments/9/a.ppm", 28, 28);
    let report: Value = serde_json::from_str(
        &alexnet("eval --json --preprocessing", &[&own, "--weights".as_ref(), &file, &folder.path("garments")])
            .success(),
    )
    .unwrap();
    assert_eq!(report["pictures"], 1);
}

#[test]
fn what_is_none_is_an_error() {
    let folder = Folder::new();
    let bag = picture("bag.png");
    let given = |value: &Path| alexnet("classify --preprocessing", &[value, &bag]);
    given("torchvison".as_ref()).failure(2, &["`torchvison`", "did you mean `torchvision`?"]);
    given("{\"resize\": 1}".as_ref()).failure(2, &["expected preprocessing as JSON"]);
    given(&folder.path("missing.json")).failure(1, &["cannot read", "missing.json"]);
    given(&folder.file("text.json", "Dear Sir")).failure(1, &["text.json: "]);
    given(&folder.file("half.json", "{\"resize\":")).failure(1, &["half.json: expected preprocessing as JSON"]);
    given(&folder.file("bytes.json", b"{\xFF}")).failure(1, &["bytes.json: line 1 is not UTF-8"]);
    given(&folder.file("long.json", " ".repeat(1 << 17))).failure(1, &["long.json: expected JSON of at most 64 KiB"]);
    let numbers = info("", &[])["preprocessing"].to_string();
    let smaller = folder.file("smaller.json", numbers.replace("\"crop\":[227,227]", "\"crop\":[224,224]"));
    given(&smaller).failure(2, &["3×227×227", "3×224×224"]);
}
