//! `alexnet features`: activations against the library's f64 twin, through files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, path::Path};

use alexnet_wgpu::{Model, Picture, Weights, reference, splitmix};
use common::{Folder, alexnet, npy, picture, tiny};

/// The array as numpy.save writes it.
fn to_npy(shape: &str, numbers: &[f32]) -> Vec<u8> {
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{dictionary:<117}\n").bytes());
    bytes.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

fn twin(model: &Model, input: &[f32]) -> Vec<Vec<f64>> {
    let input: Vec<f64> = input.iter().copied().map(f64::from).collect();
    reference::run(&model.network, &model.weights, &input).unwrap()
}

#[test]
fn layers_of_a_ready_tensor_are_right() {
    let folder = Folder::new();
    let model = tiny();
    let weights = folder.weights("tiny.safetensors", &model.to_weights().unwrap());
    let input = splitmix::uniform(7, 3 * 16 * 16, 2.0);
    let tensor = folder.file("input.npy", to_npy("(3, 16, 16)", &input));
    let shapes = ["(6, 16, 16)", "(6, 8, 8)", "(4,)", "(4,)"];
    for ((layer, shape), expected) in model.network.layers().iter().zip(shapes).zip(twin(&model, &input)) {
        let output = folder.path("output.npy");
        let arguments = format!("features --layer {} --input", layer.name);
        let files: [&Path; 5] = [&tensor, "--weights".as_ref(), &weights, "--output".as_ref(), &output];
        assert_eq!(alexnet(&arguments, &files).success(), "");
        let (found_shape, found) = npy(&output);
        assert_eq!(found_shape, shape);
        let error = reference::relative_error(&found, &expected);
        assert!(error < 1e-5, "{}: {error}", layer.name);
    }
}

#[test]
fn layers_of_a_picture_are_right_in_either_format() {
    let folder = Folder::new();
    let model = tiny();
    let weights = folder.weights("tiny.safetensors", &model.to_weights().unwrap());
    let boot = picture("ankle-boot.png");
    let input = model.preprocessing.apply(&Picture::open(&boot).unwrap()).unwrap();
    let expected = twin(&model, &input).swap_remove(1);

    let [numpy, safetensors] = ["pool1.npy", "pool1.safetensors"].map(|name| folder.path(name));
    for output in [&numpy, &safetensors] {
        let files: [&Path; 5] = [&weights, "--output".as_ref(), output, "--layer=pool1".as_ref(), &boot];
        assert_eq!(alexnet("features --weights", &files).success(), "");
    }
    let (shape, found) = npy(&numpy);
    assert_eq!(shape, "(6, 8, 8)");
    assert!(reference::relative_error(&found, &expected) < 1e-5);

    // The ending means the same in capitals, and a link is followed.
    let capitals = folder.path("POOL1.NPY");
    #[cfg(unix)]
    std::os::unix::fs::symlink("target.npy", &capitals).unwrap();
    let files: [&Path; 5] = [&weights, "--output".as_ref(), &capitals, "--layer=pool1".as_ref(), &boot];
    assert_eq!(alexnet("features --weights", &files).success(), "");
    #[cfg(unix)]
    assert!(capitals.is_symlink() && folder.path("target.npy").is_file());
    assert_eq!(npy(&capitals), npy(&numpy));

    let file = Weights::open(&safetensors).unwrap();
    assert_eq!(file.len(), 1);
    let tensor = file.tensor("pool1").unwrap();
    assert_eq!(tensor.shape(), [6, 8, 8]);
    assert_eq!(*tensor.to_f32(), found);
}

#[test]
fn the_embedded_models_layers_have_alexnets_shapes() {
    let folder = Folder::new();
    for (layer, shape) in [("conv1", "(64, 56, 56)"), ("pool5", "(256, 6, 6)"), ("prob", "(10,)")] {
        let output = folder.path("output.npy");
        let arguments = format!("features --layer {layer} --output");
        alexnet(&arguments, &[&output, &picture("bag.png")]).success();
        let (found_shape, found) = npy(&output);
        assert_eq!(found_shape, shape);
        assert!(found.iter().all(|v| v.is_finite()));
        if layer == "prob" {
            assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5 && found[8] > 0.5, "{found:?}");
        }
    }
}

#[test]
fn bad_tensors_are_errors() {
    let folder = Folder::new();
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let zeros = [0.0; 3 * 16 * 16];
    let good = to_npy("(3, 16, 16)", &zeros);
    let cases: [(Vec<u8>, &str); 6] = [
        (vec![], "expected a .npy file as numpy.save writes it"),
        (fs::read(picture("bag.png")).unwrap(), "expected a .npy file as numpy.save writes it"),
        (
            to_npy("(16, 3, 16)", &zeros),
            "expected an array of shape [3, 16, 16] (channels, rows, columns), found [16, 3, 16]",
        ),
        (to_npy("(4294967296, 4294967296)", &zeros), "found [4294967296, 4294967296]"),
        (good[..1000].to_vec(), "expected 3072 bytes of numbers, found 872"),
        (to_npy("(3, 16, 16)", &[f32::NAN; 3 * 16 * 16]), "expected finite numbers, found NaN at 0"),
    ];
    let output = folder.path("output.npy");
    for (bytes, message) in cases {
        let input = folder.file("input.npy", bytes);
        let files: [&Path; 5] = [&input, "--weights".as_ref(), &weights, "--output".as_ref(), &output];
        alexnet("features --layer conv1 --input", &files).failure(1, &["input.npy", message]);
    }
    let missing = folder.path("missing.npy");
    let files: [&Path; 5] = [&missing, "--weights".as_ref(), &weights, "--output".as_ref(), &output];
    alexnet("features --layer conv1 --input", &files).failure(1, &["cannot read", "missing.npy"]);
    assert_eq!(folder.names(), ["input.npy", "tiny.safetensors"]);
}

#[test]
fn outputs_that_cannot_be_written_are_errors() {
    let folder = Folder::new();
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    fs::create_dir(folder.path("folder.npy")).unwrap();
    for output in ["nowhere/output.npy", "nowhere/output.safetensors", "folder.npy"] {
        let path = folder.path(output);
        let files: [&Path; 4] = [&weights, "--output".as_ref(), &path, &picture("bag.png")];
        alexnet("features --layer prob --weights", &files).failure(1, &["cannot write", output]);
    }
    assert_eq!(folder.names(), ["folder.npy", "tiny.safetensors"]);
}

#[test]
fn a_failure_leaves_the_old_output() {
    let folder = Folder::new();
    let output = folder.file("output.npy", "precious");
    let bad = folder.file("bad.png", "");
    alexnet("features --layer prob --output", &[&output, &bad])
        .failure(1, &["bad.png: expected a picture, found an empty file"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), "precious");
    assert_eq!(folder.names(), ["bad.png", "output.npy"]);
}

#[test]
fn unknown_layers_and_formats_are_mistakes_of_usage() {
    let folder = Folder::new();
    let output = folder.path("output.npy");
    let bag = picture("bag.png");
    alexnet("features --layer cnv3 --output", &[&output, &bag]).failure(2, &["`cnv3`", "did you mean `conv3`?"]);
    alexnet("features --layer norm1 --output", &[&output, &bag]).failure(2, &["unknown layer `norm1`"]);
    alexnet("features --layer conv3 --output", &[&folder.path("output.txt"), &bag])
        .failure(2, &["ends in .npy, .npz, .safetensors or .csv", "output.txt"]);
    alexnet("features --layer conv3 --output", &[&output]).failure(2, &["<IMAGE>"]);
    alexnet("features --layer conv3 --input x.npy --output", &[&output, &bag])
        .failure(2, &["--input", "cannot be used"]);
    assert!(folder.names().is_empty());
}
