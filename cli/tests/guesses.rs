//! What weight files leave open: how it is told, and how it is said.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use alexnet_wgpu::{AlexNet, Model, Network, Tensor, Weights};
use common::{Folder, Output, alexnet, command, fixture, picture, prepared, tiny};
use serde_json::{Value, json};

fn json_of(arguments: &str, files: &[&Path]) -> Value {
    serde_json::from_str(&Output::of(command().args(arguments.split_whitespace()).args(files)).success()).unwrap()
}

/// The tensors of a small AlexNet of this kind, without a word about it.
fn silent(folder: &Folder, alexnet: AlexNet) -> std::path::PathBuf {
    let network = alexnet.width(0.06).head(6, 5).classes(4).network().unwrap();
    folder.weights("silent.safetensors", &Weights::random(&network, 1))
}

#[test]
fn what_is_guessed_is_told_in_one_line() {
    let folder = Folder::new();
    let file = silent(&folder, AlexNet::UNGROUPED);
    let boot = picture("ankle-boot.png");
    fs::create_dir_all(folder.path("pictures/0")).unwrap();
    fs::copy(&boot, folder.path("pictures/0/boot.png")).unwrap();
    let features = folder.path("out.npy");
    let ending = format!("--layer fc7 --output {} --weights {}", features.display(), file.display());
    for output in [
        alexnet(&format!("classify --weights {}", file.display()), &[&boot]),
        alexnet(&format!("features {ending}"), &[&boot]),
        alexnet(&format!("eval --weights {}", file.display()), &[&folder.path("pictures")]),
    ] {
        assert_eq!((output.code, output.stderr.lines().count()), (Some(0), 1), "{output:?}");
        for part in [
            "silent.safetensors: taken for ungrouped",
            "paper",
            "--network",
            "preprocessing is a guess",
            "--preprocessing",
        ] {
            assert!(output.stderr.contains(part), "{part} in {output:?}");
        }
    }
    // A ready input goes through no preprocessing.
    let input = folder.path("in.npy");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 227, 227), }";
    let header = format!("{header:117}\n");
    let npy = [b"\x93NUMPY\x01\0v\0".to_vec(), header.into_bytes(), vec![0; 4 * 3 * 227 * 227]].concat();
    fs::write(&input, npy).unwrap();
    let output = alexnet(&format!("features {ending} --input"), &[&input]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("taken for") && !output.stderr.contains("preprocessing"), "{output:?}");
    // Whoever says it is told nothing, and neither is whoever has a file that says all.
    alexnet(&format!("classify --weights {} --network ungrouped", file.display()), &[&boot]).success();
    alexnet(&format!("classify --weights {}", fixture("torchvision.pth").display()), &[&boot]).success();

    let json = json_of("info --json", &[&file]);
    assert!(json["doubt"].as_str().unwrap().contains("paper"), "{json}");
    assert_eq!((&json["preprocessing_guessed"], &json["untrained"]), (&json!(true), &json!(true)));
    let text = Output::of(command().arg("info").arg(&file)).success();
    for part in ["in doubt: taken for ungrouped", "looks untrained: neighbouring weights", "a guess; --preprocessing"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = json_of("info --json", &[]);
    assert_eq!((&json["doubt"], &json["untrained"]), (&Value::Null, &json!(false)));
    assert_eq!(json["preprocessing_guessed"], json!(false));
}

#[test]
fn the_part_of_a_checkpoint_is_told() {
    let json = json_of("info --json", &[&fixture("checkpoint.pth")]);
    assert!(json["contents"].as_str().unwrap().starts_with("`state_dict`, beside `epoch`"), "{json}");
    let text = Output::of(command().arg("info").arg(fixture("checkpoint.pth"))).success();
    assert!(text.contains("tensors        `state_dict`, beside"), "{text}");
}

#[test]
fn networks_are_given_as_json() {
    let folder = Folder::new();
    let model = tiny();
    let whole = folder.weights("whole.safetensors", &model.to_weights().unwrap());
    let silent = folder.weights("silent.safetensors", &model.weights);
    let written = folder.path("network.json");
    Output::of(command().args(["info", "--write-network"]).args([&written, &whole])).success();
    let text = fs::read_to_string(&written).unwrap();
    assert_eq!(Network::from_json(&text).unwrap(), model.network);
    assert!(text.lines().count() > model.network.layers().len(), "a layer a line: {text}");

    let info = |arguments: &[&Path]| Output::of(command().arg("info").arg("--json").args(arguments));
    info(&[&silent]).failure(1, &["no network recognised", "as JSON"]);
    let output = info(&[Path::new("--network"), &written, &silent]).success();
    assert!(output.contains("\"name\":\"tiny\""), "{output}");
    let converted = folder.path("converted.safetensors");
    Output::of(command().args(["convert", "--network"]).args([&written, &silent, &converted])).success();
    assert_eq!(Model::open(&converted, &Default::default()).unwrap().network, model.network);
    let boot = picture("ankle-boot.png");
    let arguments =
        ["classify", "--json", "--network", written.to_str().unwrap(), "--weights", silent.to_str().unwrap()];
    let output = Output::of(prepared("", &[]).args(arguments).arg(&boot));
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("preprocessing is a guess") && !output.stderr.contains("taken for"), "{output:?}");

    for (text, parts) in [
        ("{", &["network.json: expected a network as JSON", "EOF"][..]),
        (&text.replace("\"version\":1", "\"version\":7"), &["version 7", "newer"][..]),
        (&text.replacen("\"relu\"", "\"rely\"", 1), &["network.json"][..]),
    ] {
        fs::write(&written, text).unwrap();
        info(&[Path::new("--network"), &written, &silent]).failure(1, parts);
    }
    info(&[Path::new("--network"), &folder.path("none.json"), &silent]).failure(1, &["none.json"]);
    info(&[Path::new("--network"), Path::new("alexnt"), &silent]).failure(2, &["alexnt", ".json"]);
    alexnet("classify --network caffe", &[&boot]).failure(2, &["--weights"]);
}

#[test]
fn inputs_are_given() {
    let folder = Folder::new();
    let text = folder.file("other.prototxt", "input: \"data\" input_dim: [1, 3, 227, 227]");
    let file = fixture("no-input.caffemodel");
    for (arguments, expected) in [
        (vec!["--input-size", "3x227x227"], "given by the caller"),
        (vec!["--network", text.to_str().unwrap()], ".prototxt that the caller gives"),
        (vec![], "its weights fit"),
    ] {
        let output = Output::of(command().args(["info", "--json"]).args(&arguments).arg(&file)).success();
        let json: Value = serde_json::from_str(&output).unwrap();
        assert!(json["why"]["network"].as_str().unwrap().contains(expected), "{json}");
    }
    let wrong = Output::of(command().args(["info", "--json", "--input-size", "227"]).arg(&file));
    wrong.failure(2, &["3x227x227"]);
    // A picture of means: four dimensions of one, and the number.
    let mean = folder.file("mean.binaryproto", b"\x08\x01\x10\x01\x18\x01\x20\x01\x2a\x04\0\0\0\x42");
    let output = Output::of(command().args(["info", "--json", "--preprocessing"]).args([&mean, &file])).success();
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["preprocessing"]["mean"], json!([32.0, 32.0, 32.0]));
    let broken = folder.file("broken.binaryproto", "text");
    Output::of(command().args(["info", "--preprocessing"]).args([&broken, &file]))
        .failure(1, &["broken.binaryproto", "binaryproto"]);
}

#[test]
fn labels_of_other_programs() {
    let folder = Folder::new();
    let file = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let grey = folder.plain_picture("pictures/n00000004/grey.ppm", 16, 16);
    let classify = |labels: &Path| {
        Output::of(
            prepared("classify --json --top 4", &[])
                .args(["--labels", labels.to_str().unwrap()])
                .arg("--weights")
                .args([&file, &grey]),
        )
    };
    let of = |output: &Output| -> BTreeMap<u64, String> {
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        let class = |class: &Value| (class["index"].as_u64().unwrap(), class["label"].as_str().unwrap().to_string());
        json["top"].as_array().unwrap().iter().map(class).collect()
    };
    let expected: BTreeMap<u64, String> = (0..).zip(["a cat", "a dog", "an eel", "a fox"].map(String::from)).collect();
    let ids = "n00000001 a cat\nn00000002 a dog\nn00000003 an eel\nn00000004 a fox\n";
    for (name, text) in [
        ("labels.txt", "a cat\na dog\nan eel\na fox\n"),
        ("synsets.txt", ids),
        ("labels.json", r#"["a cat", "a dog", "an eel", "a fox"]"#),
        ("dict.txt", "{0: 'a cat',\n 1: 'a dog',\n 2: 'an eel',\n 3: 'a fox'}\n"),
        (
            "class_index.json",
            r#"{"0": ["n1", "a cat"], "1": ["n2", "a dog"], "2": ["n3", "an eel"], "3": ["n4", "a fox"]}"#,
        ),
    ] {
        let labels = folder.file(name, text);
        assert_eq!(of(&classify(&labels)), expected, "{name}");
    }
    // Folders that are named by ids.
    let labels = folder.path("synsets.txt");
    let arguments = format!("eval --json --labels {} --weights {}", labels.display(), file.display());
    let report: Value = serde_json::from_str(&alexnet(&arguments, &[&folder.path("pictures")]).success()).unwrap();
    assert_eq!(report["classes"][3]["pictures"], json!(1));
    for (text, parts) in [
        ("{\"0\": \"a cat\"", &["expected a label on each line", "invalid JSON"][..]),
        ("<html>", &["found markup"][..]),
    ] {
        classify(&folder.file("wrong", text)).failure(1, parts);
    }
    classify(&folder.file("short.json", r#"["a", "b"]"#)).failure(2, &["short.json", "expected 4 labels", "found 2"]);
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_text_are_whole_in_json() {
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::new();
    let name = folder.path("").join(std::ffi::OsStr::from_bytes(b"b\xe9\xff.png"));
    fs::copy(picture("ankle-boot.png"), &name).unwrap();
    let json: Value = serde_json::from_str(&alexnet("classify --json", &[&name]).success()).unwrap();
    let hex: String = name.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(json["image_hex"], json!(hex));
    let plain: Value = serde_json::from_str(&alexnet("classify --json", &[&picture("bag.png")]).success()).unwrap();
    assert_eq!(plain.get("image_hex"), None);
}

#[test]
fn one_output_is_two_classes() {
    let folder = Folder::new();
    let network = AlexNet::TORCHVISION.width(0.0625).head(4, 4).classes(1).network().unwrap();
    let mut weights = Weights::random(&network, 1);
    // Certain enough to be told from a half.
    weights.insert("fc8.bias", Tensor::from_f32([1], vec![1.5]));
    let file = folder.weights("one.safetensors", &weights);
    let output =
        alexnet(&format!("classify --json --network torchvision --weights {}", file.display()), &[&picture("bag.png")]);
    let json: Value = serde_json::from_str(&output.success()).unwrap();
    let top = json["top"].as_array().unwrap();
    let sum: f64 = top.iter().map(|class| class["probability"].as_f64().unwrap()).sum();
    assert!(top.len() == 2 && (sum - 1.0).abs() < 1e-6 && top[0]["probability"].as_f64().unwrap() < 0.9999, "{json}");
}
