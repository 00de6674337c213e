//! `alexnet explain`: heat maps against the library's f64 reference, through files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;

use alexnet_wgpu::{Picture, explain::BackwardRule, reference};
use common::{Folder, alexnet, npy, picture, tiny};

/// The gradients of a class named by its number and by its label, and of the most likely one.
#[test]
fn maps_are_those_of_the_reference() {
    let folder = Folder::new();
    let model = tiny();
    let weights = folder.weights("tiny.safetensors", &model.to_weights().unwrap());
    let shoe = picture("ankle-boot.png");
    let input = model.preprocessing.apply(&Picture::open(&shoe).unwrap()).unwrap();
    let input: Vec<f64> = input.into_iter().map(f64::from).collect();
    let scores = reference::run(&model.network, &model.weights, &input).unwrap()[2].clone();
    let likely = (0..4).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
    for (option, class) in [("--class 2", 2), ("--class Green", 1), ("", likely)] {
        for (method, rule) in [
            ("saliency", BackwardRule::Derivative),
            ("guided", BackwardRule::Guided),
            ("deconvnet", BackwardRule::Deconvnet),
        ] {
            let seed: Vec<f64> = (0..4).map(|i| f64::from(u8::from(i == class))).collect();
            let (layers, network) = (("fc2", None), &model.network);
            let gradient = reference::layer_gradient(network, &model.weights, &input, layers, &seed, rule).unwrap();
            let expected: Vec<f64> =
                (0..256).map(|i| (0..3).map(|c| gradient[c * 256 + i].abs()).fold(0.0, f64::max)).collect();
            let output = folder.path("heat.npy");
            let arguments = format!("explain --json --method {method} {option} --weights");
            let line = alexnet(&arguments, &[&weights, "--output".as_ref(), &output, &shoe]).success();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((line["class"].as_u64(), line["method"].as_str()), (Some(class as u64), Some(method)));
            assert_eq!(line["label"], model.labels[class]);
            assert!((line["score"].as_f64().unwrap() - scores[class]).abs() < 1e-4, "{line} for {scores:?}");
            let (shape, found) = npy(&output);
            assert_eq!(shape, "(16, 16)");
            let error = reference::relative_error(&found, &expected);
            assert!(error < 1e-5, "{method}, {class}: {error:e}");
        }
    }
}

/// A channel's view through files: the numbers, and the part of the picture that it reaches beside the picture's.
#[test]
fn a_channel_is_projected() {
    let folder = Folder::new();
    let (view, numbers) = (folder.path("view.png"), folder.path("view.npy"));
    let arguments = "explain --json --method deconvnet --layer conv2 --channel strongest --output";
    let line = alexnet(arguments, &[&view, &picture("bag.png")]).success();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["activation"].as_f64().unwrap() > 0.0, "{line}");
    let side = |name: &str| {
        let [from, to] = [0, 1].map(|i| line[name][i].as_u64().unwrap() as u32);
        to - from
    };
    let (rows, columns) = (side("rows"), side("columns"));
    // What an output of conv2 sees.
    assert!((1..=51).contains(&rows) && (1..=51).contains(&columns), "{line}");
    let factor = 224_u32.div_ceil(rows.max(columns));
    let drawn = Picture::open(&view).unwrap();
    assert_eq!([drawn.width(), drawn.height()], [2 * columns * factor + 8, rows * factor]);

    let arguments = format!("explain --method deconvnet --layer conv2 --channel {} --output", line["channel"]);
    let text = alexnet(&arguments, &[&numbers, &picture("bag.png")]).success();
    assert!(text.starts_with(&format!("conv2, channel {}, ", line["channel"])), "{text}");
    let (shape, values) = npy(&numbers);
    assert_eq!(shape, "(3, 227, 227)");
    let reached = values.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(at, _)| at as u64 % (227 * 227) / 227);
    let (first, last) = (reached.clone().min().unwrap(), reached.max().unwrap());
    assert_eq!(line["rows"], serde_json::json!([first, last + 1]));
}

/// The embedded model's map is brightest on the shoe, not on the background.
#[test]
fn a_map_lies_on_the_shoe() {
    let folder = Folder::new();
    let output = folder.path("heat.png");
    for method in ["grad-cam", "guided", "occlusion"] {
        let arguments = format!("explain --method {method} --output");
        let line = alexnet(&arguments, &[&output, &picture("ankle-boot.png")]).success();
        assert!(line.starts_with("Ankle boot, score ") && line.ends_with("heat.png\n"), "{line}");
        let heat = Picture::open(&output).unwrap();
        assert_eq!([heat.width(), heat.height()], [227, 227]);
        // How much more red than blue a part is.
        let warmth = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            let pixels = rows.clone().flat_map(|y| columns.clone().map(move |x| 3 * (y * 227 + x)));
            let sum: f64 = pixels.map(|at| f64::from(heat.rgb()[at]) - f64::from(heat.rgb()[at + 2])).sum();
            sum / (rows.len() * columns.len()) as f64
        };
        let (shoe, above) = (warmth(90..190, 0..227), warmth(0..60, 0..120));
        assert!(shoe > 5.0 && shoe > 2.0 * above, "{method}: {shoe} and {above}");
    }
}

#[test]
fn what_cannot_be_explained_is_told() {
    let folder = Folder::new();
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let output = folder.path("heat.npy");
    let shoe = picture("ankle-boot.png");
    let explain = |arguments: &str, code, parts: &[&str]| {
        let arguments = format!("explain {arguments} --weights");
        alexnet(&arguments, &[&weights, "--output".as_ref(), &output, &shoe]).failure(code, parts);
        assert!(!output.exists());
    };
    explain("--class 4", 2, &["expected a class of 0 to 3 or a label of the model, found 4"]);
    explain("--class purple", 2, &["found purple"]);
    explain("--layer conv9", 2, &["conv9"]);
    explain("--layer fc2", 2, &["expected a layer of maps, found `fc2`, a vector"]);
    explain("--layer conv1 --method saliency", 2, &["--method grad-cam"]);
    explain("--channel 0 --method deconvnet", 2, &["--layer"]);
    explain("--channel 0 --layer conv1", 2, &["--channel is for --method deconvnet"]);
    explain("--channel 0 --layer conv1 --method deconvnet --class 0", 2, &["without --class"]);
    explain("--channel -1 --layer conv1 --method deconvnet", 2, &["-1"]);
    explain("--channel last --layer conv1 --method deconvnet", 2, &["or `strongest` as --channel, found last"]);
    explain("--channel 999 --layer conv1 --method deconvnet", 2, &["expected a channel of `conv1`, 0 to", "found 999"]);
    explain("--channel 0 --layer fc2 --method deconvnet", 2, &["expected a layer of maps, found `fc2`, a vector"]);
    explain("--method integrated --steps 0", 2, &["expected 1 to 1024 steps, found 0"]);
    let jpg = folder.path("heat.jpg");
    alexnet("explain --output", &[&jpg, &shoe]).failure(2, &["ends in .png or .npy"]);
    alexnet("explain --output", &[&shoe, &shoe]).failure(2, &["which is the input"]);
    alexnet("explain --output", &[&output, Path::new("missing.png")]).failure(1, &["missing.png"]);
}

/// The picture of a channel, and what has none.
#[test]
fn a_channel_is_dreamt_of() {
    let folder = Folder::new();
    let output = folder.path("dream.png");
    let line = alexnet("dream --layer conv2 --channel 3 --size 63 --steps 12 --output", &[&output]).success();
    let [after, before] = line
        .strip_prefix("conv2, channel 3: ")
        .and_then(|line| line.split_once(" for noise"))
        .and_then(|(numbers, _)| numbers.split_once(", from "))
        .map(|(after, before)| [after, before].map(|number| number.parse::<f64>().unwrap()))
        .unwrap();
    assert!(after > 2.0 * before.max(0.01), "{line}");
    let dream = Picture::open(&output).unwrap();
    assert_eq!([dream.width(), dream.height()], [63, 63]);

    // A class of other weights.
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let of_tiny = |options: &str| {
        alexnet(&format!("dream --steps 3 {options} --weights"), &[&weights, "--output".as_ref(), &output])
    };
    assert!(of_tiny("--layer fc2 --channel 3").success().starts_with("fc2, channel 3: "));
    of_tiny("--layer fc2 --channel 4").failure(2, &["expected a channel of `fc2`, 0 to 3, found 4"]);
    of_tiny("--layer fc3 --channel 0").failure(2, &["unknown layer `fc3`"]);
    alexnet("dream --layer conv1 --channel 0 --output", &[Path::new("dream.jpg")]).failure(2, &[".png"]);
}
