//! `alexnet doctor`, and keeping away from what it finds.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Folder, Output, alexnet, picture, prepared, tiny};
use serde_json::Value;

#[test]
fn this_machine_is_healthy() {
    let json = alexnet("doctor --json", &[]).success();
    let records: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let usable: Vec<&Value> = records.iter().filter(|r| !r["layers"].as_array().unwrap().is_empty()).collect();
    assert!(!usable.is_empty(), "{json}");
    for record in usable {
        assert_eq!(record["healthy"], true, "{record}");
        assert_eq!(record["deny"].as_array().unwrap().len(), 0, "{record}");
        assert!(record["verdict"].as_str().unwrap().starts_with("healthy"), "{record}");
        assert!(record["adapter"]["name"].is_string() && record["adapter"]["limits"].is_object(), "{record}");
        let layers = record["layers"].as_array().unwrap();
        for name in ["conv1", "pool1", "conv2", "fc6", "fc8", "prob"] {
            assert!(layers.iter().any(|l| l["layer"] == name), "{name} in {record}");
        }
        for variant in ["tiled-buffer", "tiled-texture", "tiled-buffer-winograd"] {
            let of = |l: &&Value| l["variant"] == variant;
            assert!(layers.iter().any(|l| of(&l)), "{variant} in {record}");
            let errors: Vec<f64> = layers.iter().filter(of).map(|l| l["error"].as_f64().unwrap()).collect();
            assert!(errors.iter().any(|&e| e > 0.0), "f32 rounds: {errors:?}");
        }
        for (name, dtypes) in [("conv1", &["f32"][..]), ("fc8", &["f32", "f16", "int8"])] {
            let of = |l: &&Value| l["layer"] == name && l["variant"] == "tiled-buffer" && l["batch"] == 1;
            let found: Vec<&str> = layers.iter().filter(of).map(|l| l["dtype"].as_str().unwrap()).collect();
            assert_eq!(found, dtypes, "{name} in {record}");
        }
        for dtype in ["f32", "f16", "int8"] {
            let of = |l: &Value| l["layer"] == "fc8" && l["dtype"] == dtype && l["batch"].as_u64() > Some(1);
            assert!(layers.iter().any(of), "batches of {dtype} in {record}");
        }
        // What the planner picks for small layers.
        assert!(layers.iter().any(|l| l["algorithm"]["split_k"]["parts"] == 16), "{record}");
        let inputs = record["inputs"].as_array().unwrap();
        assert!(inputs.len() == 12 && inputs.iter().all(|i| i["right"] == true), "{record}");
        assert_eq!(record["wrongDtypes"].as_array().unwrap().len(), 0, "{record}");
        assert!(layers.iter().all(|l| l["right"] == true && l["ms"].as_f64().unwrap() > 0.0), "{record}");
        let network = &record["networks"][0];
        assert_eq!((&network["network"], &network["top5"]), (&"ungrouped".into(), &true.into()), "{record}");
        assert!(network["fc8Error"].as_f64().unwrap() < 1e-5, "{record}");
    }
}

#[test]
fn an_adapter_of_no_such_name_is_an_error() {
    Output::of(common::command().args(["doctor", "--adapter", "Voodoo 2"])).failure(1, &["named `Voodoo 2`"]);
}

/// The kernels of the tiny network's layers; none on adapters without timestamps.
fn kernels(deny: &str, variable: Option<&str>) -> Vec<String> {
    let folder = Folder::new();
    let file = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let mut command = prepared(&format!("bench --json --runs 1 {deny} --weights"), &[&file]);
    command.envs(variable.map(|value| ("ALEXNET_DENY", value)));
    let report: Value = serde_json::from_str(&Output::of(&mut command).success()).unwrap();
    let kernel = |layer: &Value| layer["kernel"].as_str().unwrap().to_string();
    report["layers"].as_array().unwrap().iter().map(kernel).collect()
}

#[test]
fn what_is_denied_does_not_run() {
    for variant in ["broadcast", "texture", "texture,winograd"] {
        for kernels in [kernels(&format!("--deny {variant}"), None), kernels("", Some(variant))] {
            let denied = kernels.iter().any(|kernel| variant.split(',').any(|word| kernel.contains(word)));
            assert!(!denied, "{variant}: {kernels:?}");
        }
    }
    for kernels in [kernels("--deny buffer,winograd", None), kernels("--deny buffer", Some("winograd"))] {
        assert!(kernels.iter().all(|kernel| kernel.ends_with("texture")), "{kernels:?}");
    }
}

#[test]
fn results_stay_right() {
    let classify = |deny: &str| -> Vec<(String, f64)> {
        let json = alexnet(&format!("classify --json {deny}"), &[&picture("ankle-boot.png")]).success();
        let record: Value = serde_json::from_str(&json).unwrap();
        let class = |c: &Value| (c["label"].as_str().unwrap().to_string(), c["probability"].as_f64().unwrap());
        record["top"].as_array().unwrap().iter().map(class).collect()
    };
    let expected = classify("");
    assert_eq!(expected[0].0, "Ankle boot");
    for deny in ["broadcast", "texture", "buffer", "winograd", "broadcast-buffer,tiled-texture,winograd"] {
        let found = classify(&format!("--deny {deny}"));
        for ((label, probability), (expected_label, expected_probability)) in found.iter().zip(&expected) {
            assert_eq!(label, expected_label, "{deny}: {found:?}");
            assert!((probability - expected_probability).abs() < 1e-5, "{deny}: {found:?}, expected {expected:?}");
        }
    }
}

#[test]
fn features_are_the_same_without_what_is_denied() {
    let folder = Folder::new();
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let input = picture("bag.png");
    let features = |name: &str, deny: &str| {
        let output = folder.path(name);
        let command = format!("features --layer fc2 {deny} --weights");
        let mut command = prepared(&command, &[&weights, &input]);
        Output::of(command.arg("--output").arg(&output)).success();
        let bytes = std::fs::read(output).unwrap();
        bytes[bytes.len() - 16..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    let expected = features("a.npy", "");
    let found = features("b.npy", "--deny buffer-winograd --deny texture");
    assert!(
        expected.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1.0)),
        "{expected:?} {found:?}"
    );
}

#[test]
fn mistakes_are_told() {
    let image = picture("bag.png");
    alexnet("classify --deny voodoo", &[&image]).failure(2, &["voodoo", "tiled, broadcast or cooperative"]);
    let mut command = prepared("classify", &[&image]);
    Output::of(command.env("ALEXNET_DENY", "voodoo")).failure(1, &["ALEXNET_DENY", "found `voodoo`"]);
    alexnet("classify --deny tiled,broadcast", &[&image]).failure(1, &["(tiled,broadcast)", "block fewer variants"]);
}
