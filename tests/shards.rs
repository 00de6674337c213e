//! safetensors files of other programs: in several files, and with metadata of other meaning.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs, path::Path};

use alexnet_wgpu::{AlexNet, Model, ModelOptions, Network, Weights, WeightsError};
use serde_json::json;

fn network() -> Network {
    AlexNet::UNGROUPED.width(0.04).head(6, 5).classes(4).network().unwrap()
}

/// A model in two files, and an index, changed by `change`.
fn sharded(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let tensors = Weights::random(&network(), 1);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut parts = [Weights::default(), Weights::default()];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(name.clone(), names[i % 2].into());
        parts[i % 2].insert(name, tensor);
    }
    for (name, mut part) in names.iter().zip(parts) {
        part.metadata.insert("format".into(), "pt".into());
        part.save(folder.join(name)).unwrap();
    }
    let mut index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    change(&mut index);
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn open(path: &Path) -> Result<Model, WeightsError> {
    Model::open(path, &ModelOptions::default())
}

#[test]
fn several_files_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    sharded(folder.path(), |_| ());
    let expected = Weights::random(&network(), 1);
    // By the index, or by any part.
    for name in ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    {
        let model = open(&folder.path().join(name)).unwrap();
        assert_eq!(model.network, network(), "{name}");
        assert!(model.weights.iter().all(|(n, t)| t.bytes() == expected.tensor(n).unwrap().bytes()), "{name}");
        assert_eq!(model.origin.contents.as_deref(), Some("those of 2 files"), "{name}");
        assert_eq!(Weights::open(folder.path().join(name)).unwrap().len(), 16);
    }
    // Through a symbolic link to the index only, as downloads are kept.
    #[cfg(unix)]
    {
        let link = folder.path().join("links");
        fs::create_dir(&link).unwrap();
        let link = link.join("model.safetensors.index.json");
        std::os::unix::fs::symlink("../model.safetensors.index.json", &link).unwrap();
        assert_eq!(open(&link).unwrap().network, network());
    }
}

#[test]
fn what_is_missing_is_named() {
    type Change = Box<dyn FnOnce(&mut serde_json::Value)>;
    let first = "model-00001-of-00002.safetensors";
    let cases: Vec<(&str, Change)> = vec![
        ("`weight_map`", Box::new(|index| *index = json!({"map": {}}))),
        (
            "tensor `conv9.weight` in model-00001",
            Box::new(move |index| index["weight_map"]["conv9.weight"] = first.into()),
        ),
        (
            "other.safetensors beside the index",
            Box::new(|index| index["weight_map"]["conv1.bias"] = "other.safetensors".into()),
        ),
        ("the index's own folder, found `../x`", Box::new(|index| index["weight_map"]["conv1.bias"] = "../x".into())),
        (
            "the index's own folder, found `/etc/x`",
            Box::new(|index| index["weight_map"]["conv1.bias"] = "/etc/x".into()),
        ),
    ];
    for (expected, change) in cases {
        let folder = tempfile::tempdir().unwrap();
        sharded(folder.path(), change);
        let error = open(&folder.path().join("model.safetensors.index.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("again"), "the files are whole: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    sharded(folder.path(), |_| ());
    fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
    let error = open(&folder.path().join(first)).unwrap_err().to_string();
    assert!(error.contains("model.safetensors.index.json beside part 1 of 2 of the weights, found none"), "{error}");
    let nowhere = open(&folder.path().join("none-00001-of-00002.safetensors"));
    assert!(matches!(nowhere, Err(WeightsError::Read { .. })));
}

/// Metadata under this project's keys, written by programs that mean something else.
#[test]
fn notes_of_other_programs() {
    let with = |notes: &[(&str, &str)]| {
        let mut weights = Weights::random(&network(), 1);
        weights.metadata.extend(notes.iter().map(|(key, note)| (key.to_string(), note.to_string())));
        Model::from_weights(weights, &ModelOptions::default())
    };
    let silent = with(&[]).unwrap();
    for (notes, told) in [
        (vec![("format", "pt")], None),
        (vec![("network", "timm/alexnet"), ("labels", "cat,dog")], Some("`network`, `labels`")),
        (vec![("network", r#"{"arch": "alexnet", "layers": 8}"#)], Some("`network`")),
        (vec![("preprocessing", r#"{"mean": [0.5], "std": [0.5], "crop": 224}"#)], Some("`preprocessing`")),
        (vec![("preprocessing", "imagenet"), ("labels", r#"{"0": "cat"}"#)], Some("`preprocessing`, `labels`")),
        // A list of labels for something else.
        (vec![("labels", r#"["cat", "dog"]"#)], None),
    ] {
        let model = with(&notes).unwrap_or_else(|e| panic!("{notes:?}: {e}"));
        assert_eq!((&model.network, model.preprocessing), (&silent.network, silent.preprocessing), "{notes:?}");
        assert_eq!(model.labels, silent.labels, "{notes:?}");
        let expected = told.map(|notes| format!("not the notes {notes} of another program"));
        assert_eq!(model.origin.contents, expected, "{notes:?}");
    }
    // Valid metadata is this project's.
    let own = with(&[("network", "paper"), ("labels", r#"["a", "b", "c", "d"]"#)]).unwrap();
    assert_eq!((own.network.name(), own.labels[3].as_str()), ("paper", "d"));
    // And where the network is, so is the rest.
    for (key, note) in [("labels", "cat,dog"), ("labels", r#"["a"]"#), ("preprocessing", "imagenet")] {
        assert!(with(&[("network", "ungrouped"), (key, note)]).is_err(), "{key} {note}");
    }
    let misspelt = network().to_json().unwrap().replacen("\"relu\"", "\"relus\"", 1);
    assert!(with(&[("network", &misspelt)]).is_err());
}
