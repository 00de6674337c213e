//! `alexnet train`: a model of a folder, its log, resuming, and errors.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, path::Path, process::Stdio, time::Duration};

use alexnet_wgpu::{Model, ModelOptions, Shape, Tensor, Weights};
use serde_json::Value;

use crate::common::{Folder, alexnet, command};

/// Folders of pictures that differ in colour and pattern.
fn classes(folder: &Folder) -> std::path::PathBuf {
    let top = folder.path("pictures");
    for (class, name) in ["stripes", "blots", "Wände"].into_iter().enumerate() {
        fs::create_dir_all(top.join(name)).unwrap();
        for i in 0..12usize {
            let sample = |at: usize| {
                let (x, y, c) = (at / 3 % 48, at / 3 / 48, at % 3);
                match class {
                    0 => ((x + i) / 4 % 2 * 190 + c * 20 + i) as u8,
                    1 => (((x / 12 + i) * (y / 12 + 1) * 37) % 190 + 20 * c + i) as u8,
                    _ => (40 + 2 * y + 30 * c + i) as u8,
                }
            };
            let rgb: Vec<u8> = (0..3 * 48 * 48).map(sample).collect();
            let mut ppm = b"P6 48 48 255\n".to_vec();
            ppm.extend(rgb);
            fs::write(top.join(name).join(format!("{class}-{i}.ppm")), ppm).unwrap();
        }
    }
    top
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_folder_becomes_a_model() {
    let folder = Folder::new();
    let (pictures, out) = (classes(&folder), folder.path("model"));
    fs::write(pictures.join("blots/notes.png"), "no picture").unwrap();
    let output = alexnet("train --epochs 6 --batch 8 --json --out", &[&out, &pictures]);
    assert_eq!(output.code, Some(0), "{output:?}");
    // The file that is none is told and counted.
    assert!(output.stderr.contains("notes.png") && output.stderr.contains("1 picture could not be read"), "{output:?}");
    let events = lines(&output.stdout);
    assert_eq!(events[0]["classes"], serde_json::json!(["Wände", "blots", "stripes"]));
    let epochs: Vec<&Value> = events.iter().filter(|event| event["train_loss"].is_number()).collect();
    let steps: Vec<&Value> = events.iter().filter(|event| event["step"].is_number()).collect();
    assert_eq!(epochs.len(), 6);
    assert!(steps.iter().zip(1..).all(|(event, step)| event["step"] == step), "{steps:?}");
    let loss = |epoch: usize| epochs[epoch]["train_loss"].as_f64().unwrap();
    assert!(loss(5) < 0.5 * loss(0), "{} after {}", loss(5), loss(0));
    assert_eq!(epochs[5]["val_accuracy"], 1.0, "{epochs:?}");
    assert_eq!(read(&out, "metrics.csv").iter().filter(|&&byte| byte == b'\n').count(), 7);

    // The page has the curves and the classes, and needs no other file.
    let page = String::from_utf8(read(&out, "report.html")).unwrap();
    assert_eq!(page.matches("<polyline").count(), 4);
    assert!(page.contains("<th>Wände</th>") && page.contains("are right (100.0 %)"), "{page}");
    assert!(!page.contains("src=\"http") && !page.contains("href="), "{page}");

    // Both files are models, with labels and preprocessing.
    for name in ["best.safetensors", "last.safetensors"] {
        let classified =
            alexnet("classify --top 1 --weights", &[&out.join(name), &pictures.join("stripes/0-3.ppm")]).success();
        assert!(classified.trim_end().ends_with("stripes"), "{classified}");
    }
    let evaluated = alexnet("eval --weights", &[&out.join("best.safetensors"), &pictures]);
    assert!(evaluated.stdout.contains("stripes") || evaluated.code == Some(0), "{evaluated:?}");
}

/// Features are computed once, whether the training is stopped or not; sizes and hidden layers are those of the options.
#[test]
fn features_are_kept_until_the_end() {
    let folder = Folder::new();
    let (pictures, out) = (classes(&folder), folder.path("model"));
    let options = "train --epochs 2 --batch 8 --hidden 6,5 --size 99 --preprocessing";
    let preprocessing = folder.file(
        "preprocessing.json",
        r#"{"resize": {"warp": [99, 99]}, "crop": [99, 99], "channels": "rgb", "scale": 1, "mean": [9, 9, 9], "std": [99, 99, 99]}"#,
    );
    let train = |more: &str| {
        let output = alexnet(&format!("{options} {}{more} --out", preprocessing.display()), &[&out, &pictures]);
        assert_eq!(output.code, Some(0), "{output:?}");
        output.stderr
    };
    train(" --max-time 0");
    assert!(out.join("features.bin").exists());
    assert!(train(" --resume").contains("the features of 36 pictures are known from before"));
    assert!(!out.join("features.bin").exists());
    let model = Model::open(out.join("last.safetensors"), &ModelOptions::default()).unwrap();
    assert_eq!(model.network.input(), Shape::new(3, 99, 99));
    assert_eq!(model.preprocessing.mean, [9.0; 3]);
    let outputs = ["fc6", "fc7", "fc8"].map(|layer| model.network.layer(layer).unwrap().output.channels);
    assert_eq!(outputs, [6, 5, 3]);
    for (hidden, parts) in [("1,2,3", "[1, 2, 3]"), ("4,0", "[4, 0]")] {
        alexnet(&format!("train --hidden {hidden}"), &[&pictures]).failure(2, &["--hidden", parts]);
    }
}

#[test]
fn a_killed_training_goes_on_as_if_nothing_had_happened() {
    let folder = Folder::new();
    let (pictures, out, whole) = (classes(&folder), folder.path("killed"), folder.path("whole"));
    let options = "train --epochs 12 --batch 5 --save-every 1 --json --out";
    let mut child = command();
    child.args(options.split(' ')).args([&out, &pictures]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // As soon as something is saved, at no particular moment.
    while !out.join("last.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(20));
        assert!(child.try_wait().unwrap().is_none_or(|status| status.success()));
    }
    std::thread::sleep(Duration::from_millis(150));
    let _ = child.kill();
    child.wait().unwrap();
    let resumed = alexnet(options, &[&out, &pictures, Path::new("--resume")]);
    assert!(resumed.code == Some(0) && resumed.stderr.contains("are known from before"), "{resumed:?}");
    let resumed = lines(&resumed.stdout);
    assert!(resumed.iter().all(|event| event["step"] != 1), "it began anew");
    alexnet(options, &[&whole, &pictures]).success();
    for name in ["best.safetensors", "last.safetensors"] {
        assert!(read(&out, name) == read(&whole, name), "{name}");
    }

    // With other options it would be another training.
    let other = alexnet("train --epochs 12 --batch 5 --lr 0.5 --resume --out", &[&out, &pictures]);
    other.failure(2, &["last.safetensors", "expected plan"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let folder = Folder::new();
    let (pictures, out) = (classes(&folder), folder.path("model"));
    let mut child = command();
    child.args("train --epochs 100000 --batch 5 --save-every 1 --out".split(' ')).args([&out, &pictures]);
    let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !out.join("last.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    common::send("-INT", child.id());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("stopped after step") && told.contains("--resume"), "{told}");
}

#[test]
fn a_network_is_trained_from_nothing() {
    let folder = Folder::new();
    let pictures = classes(&folder);
    for recipe in ["paper", "caffe", "torchvision"] {
        let options = format!(
            "train --recipe {recipe} --size 67 --width 0.1 --steps 3 --batch 8 --at-once 5 --log tensorboard --json --out"
        );
        let events = lines(&alexnet(&options, &[&folder.path(recipe), &pictures]).success());
        let losses: Vec<f64> = events.iter().filter_map(|event| event["loss"].as_f64()).collect();
        assert_eq!(losses.len(), 3, "{recipe}: {events:?}");
        // Random weights guess: ln(3).
        assert!((losses[0] - 3f64.ln()).abs() < 0.2, "{recipe}: {losses:?}");
    }
    let out = folder.path("paper");
    alexnet("classify --weights", &[&out.join("last.safetensors"), &pictures.join("blots/1-1.ppm")]).success();
    // Conv1's filters, before and after.
    let page = String::from_utf8(read(&out, "report.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,").count(), 2, "{page}");
    assert!(!out.join("metrics.csv").exists());
    let files = fs::read_dir(&out).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let events: Vec<String> = files.filter(|name| name.starts_with("events.out.tfevents.")).collect();
    let events = read(&out, &events[0]);
    // The version, and three steps of two numbers.
    let text = String::from_utf8_lossy(&events);
    assert_eq!(["brain.Event:2", "loss/step", "lr"].map(|part| text.matches(part).count()), [1, 3, 3], "{text}");
    // Nothing is replaced.
    alexnet("train --out", &[&out, &pictures]).failure(1, &["found one", "--resume", "--out"]);
}

/// Other weights to start from, a network of one's own, and layers that stay as they are.
#[test]
fn a_training_starts_from_weights() {
    let folder = Folder::new();
    let pictures = classes(&folder);
    let two = folder.path("two");
    for class in ["blots", "stripes"] {
        fs::create_dir_all(two.join(class)).unwrap();
        for i in 0..6 {
            let name = format!("{class}/{}-{i}.ppm", usize::from(class == "blots"));
            fs::copy(pictures.join(&name), two.join(&name)).unwrap();
        }
    }
    let start = folder.path("start");
    let train = |options: &str, out: &Path, top: &Path, weights: Option<&Path>| {
        let mut files = vec!["--out".as_ref(), out, top];
        files.extend(weights.into_iter().flat_map(|weights| ["--weights".as_ref(), weights]));
        alexnet(&format!("train --steps 2 --batch 8 --json {options}"), &files)
    };
    train("--recipe paper --size 67 --width 0.1", &start, &pictures, None).success();
    let start = start.join("last.safetensors");
    let tensors = |path: &Path| {
        let weights = Weights::open(path.join("last.safetensors").as_path()).unwrap();
        let tensor = |(name, tensor): (&str, &Tensor)| (name.to_string(), tensor.to_f32().to_vec());
        let tensors = weights.iter().map(tensor).filter(|(name, _)| !name.starts_with("training/"));
        tensors.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = tensors(start.parent().unwrap());

    // The same classes: at a rate of nearly nothing, all stays as it is. Frozen layers stay at any rate.
    let still = folder.path("still");
    train("--recipe torchvision --lr 1e-30", &still, &pictures, Some(&start)).success();
    assert!(tensors(&still) == before);
    let frozen = folder.path("frozen");
    train("--recipe torchvision --lr 0.01 --freeze pool2", &frozen, &pictures, Some(&start)).success();
    for (name, values) in tensors(&frozen) {
        let stays = name.starts_with("conv1") || name.starts_with("conv2");
        assert_eq!(values == before[&name], stays, "{name}");
    }

    // Other classes: the last layer is new.
    let fewer = folder.path("fewer");
    train("--recipe torchvision --lr 1e-30", &fewer, &two, Some(&start)).success();
    for (name, values) in tensors(&fewer) {
        assert_eq!(values == before[&name], !name.starts_with("fc8"), "{name}");
    }
    // The features before the first fully connected layer, and a new head.
    let head = folder.path("head");
    train("--hidden 7", &head, &two, Some(&start)).success();
    let found = tensors(&head);
    assert!(found["conv5.weight"] == before["conv5.weight"] && found["fc6.bias"].len() == 7);
    let classified =
        alexnet("classify --top 1 --weights", &[&head.join("last.safetensors"), &two.join("blots/1-1.ppm")]);
    assert!(classified.success().contains(" %  "));

    // A network as JSON, whose last layer gets the classes.
    let json = folder.path("network.json");
    alexnet("info --write-network", &[&json, &start]).success();
    let own = folder.path("own");
    let options = format!("--recipe torchvision --network {}", json.display());
    train(&options, &own, &two, None).success();
    assert_eq!(tensors(&own)["fc8.bias"].len(), 2);
    assert!(tensors(&own)["conv1.weight"] != before["conv1.weight"]);

    let wrong = |options: &str, code, part: &str| {
        train(options, &folder.path("wrong"), &pictures, Some(&start)).failure(code, &[part]);
    };
    wrong("--freeze conv9 --recipe paper", 2, "--freeze: unknown layer `conv9`");
    wrong("--freeze fc8 --recipe paper", 1, "expected a layer to train");
    wrong("--size 100", 2, "--size");
    let options = "train --network paper --out";
    alexnet(options, &[&folder.path("wrong"), &pictures]).failure(2, &["--network with --weights, or with a recipe"]);
    assert!(!folder.path("wrong").exists());
}

/// A pipe among the pictures is left out; opening it would wait for a writer.
#[cfg(unix)]
#[test]
fn pipes_are_no_pictures() {
    let folder = Folder::new();
    let pictures = classes(&folder);
    let held = folder.path("held");
    for top in [&pictures, &held] {
        fs::create_dir_all(top.join("blots")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(top.join("blots/pipe.png")).status().unwrap();
        assert!(made.success());
    }
    fs::copy(pictures.join("stripes/0-0.ppm"), held.join("blots/a.ppm")).unwrap();
    for recipe in ["finetune", "paper --size 67 --width 0.1"] {
        let options = format!("train --steps 1 --batch 4 --recipe {recipe} --json --val");
        let out = folder.path(&recipe[..5]);
        let output = alexnet(&options, &[&held, "--out".as_ref(), &out, &pictures]);
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!(output.stderr.matches("pipe.png: expected a picture, found something").count(), 2, "{output:?}");
    }
}

#[test]
fn what_cannot_be_trained_is_told() {
    let folder = Folder::new();
    let pictures = classes(&folder);
    let looked = alexnet("train --dry-run", &[&pictures]).success();
    assert!(looked.contains("3 classes of") && looked.contains("20 epochs"), "{looked}");
    assert!(!folder.path("pictures-model").exists());

    alexnet("train", &[&folder.path("none")]).failure(1, &["expected a folder"]);
    alexnet("train", &[&pictures.join("stripes")]).failure(1, &["found no folders"]);
    let one = folder.path("one/class");
    fs::create_dir_all(&one).unwrap();
    fs::copy(pictures.join("stripes/0-0.ppm"), one.join("a.ppm")).unwrap();
    alexnet("train", &[&folder.path("one")]).failure(1, &["at least two classes", "class"]);
    alexnet("train --resume", &[&pictures]).failure(1, &["last.safetensors", "found no such file"]);
    for (wrong, told) in [
        ("--val 1.5", "1.5"),
        ("--batch 0", "at least one"),
        ("--lr=-1", "above 0"),
        ("--dropout 1", "dropout"),
        ("--clip 0", "a norm above 0"),
        ("--max-time nan", "at least 0 minutes"),
    ] {
        let output = alexnet(&format!("train {wrong}"), &[&pictures]);
        assert!(matches!(output.code, Some(1 | 2)) && output.stderr.contains(told), "{output:?}");
    }
    // A rate at which numbers overflow: what is saved is finite.
    let out = folder.path("diverged");
    let options = "train --epochs 9 --val 0 --optimizer sgd --schedule constant --lr 1e38 --weight-decay 1e9 --out";
    alexnet(options, &[&out, &pictures]).failure(1, &["not a finite number", "smaller learning rate"]);
    for name in ["best.safetensors", "last.safetensors"] {
        let weights = Weights::open(out.join(name));
        let is_finite = |tensor: &Tensor| tensor.to_f32().iter().all(|value| value.is_finite());
        assert!(weights.is_err() || weights.unwrap().iter().all(|(_, tensor)| is_finite(tensor)), "{name}");
    }
    // A rate at which layers die.
    let out = folder.path("dead");
    let options = "train --recipe paper --size 67 --width 0.1 --steps 8 --lr 100 --clip 1 --batch 8 --val 0 --out";
    let output = alexnet(options, &[&out, &pictures]);
    assert!(output.stderr.contains("most ReLUs are dead") && output.stderr.contains("--lr 100"), "{output:?}");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("dead ReLUs") && page.contains("fc6 "), "{page}");
    // Too small for the layers.
    alexnet("train --recipe paper --size 20", &[&pictures]).failure(2, &["--size 20"]);
}
