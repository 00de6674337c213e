//! The files of a folder against the outputs of the tool that wrote them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use alexnet_wgpu::{Model, ModelOptions, reference::run};

/// A case in cases.json.
#[derive(serde::Deserialize)]
struct Case {
    input: Vec<usize>,
    output: Vec<usize>,
    operators: Vec<String>,
}

/// Converts N×H×W×C to N×C×H×W.
fn channels_first(values: &[f64], dims: &[usize]) -> Vec<f64> {
    let [_, h, w, c] = *dims else { panic!("four dimensions") };
    let plane = h * w * c;
    let at = |i: usize| values[i / plane * plane + i % (h * w) * c + i % plane / (h * w)];
    (0..values.len()).map(at).collect()
}

/// The largest difference, relative to the largest number.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(1e-3, |a: f64, v| a.max(v.abs()));
    let pairs = found.iter().zip(expected);
    // Not `max`, which ignores NaN.
    pairs.map(|(f, e)| (f - e).abs() / largest).fold(0.0, |a, d| if d <= a { a } else { d })
}

/// `scripts/onnx-cases.py DIR` writes the cases; ALEXNET_ONNX_CASES is the folder.
#[test]
#[ignore = "needs the cases that scripts/onnx-cases.py writes"]
fn every_case_of_a_folder() {
    let folder = PathBuf::from(std::env::var_os("ALEXNET_ONNX_CASES").expect("ALEXNET_ONNX_CASES=DIR"));
    let cases: BTreeMap<String, Case> =
        serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let numbers = |name: &str, ending: &str| -> Vec<f64> {
        let bytes = fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
        bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
    };
    // By the prefix of the name: right, refused and wrong.
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        let kind = name.split(['-']).next().unwrap().to_string();
        let counts = counts.entry(kind).or_default();
        let model = match Model::open(folder.join(format!("{name}.onnx")), &ModelOptions::default()) {
            Ok(model) => model,
            Err(error) => {
                counts[1] += 1;
                println!("refused {name}: {error}");
                *refusals.entry(error.to_string().split(['`']).step_by(2).collect::<String>()).or_default() += 1;
                continue;
            }
        };
        let input = model.network.input();
        let (mut x, y) = (numbers(name, "x"), numbers(name, "y"));
        let first = [input.channels, input.height, input.width];
        if case.input.len() == 4 && case.input[1..] != first && case.input[1..] == [first[1], first[2], first[0]] {
            x = channels_first(&x, &case.input);
        }
        let pictures = x.len() / input.len();
        let mut outputs = [Vec::new(), Vec::new(), Vec::new()];
        for picture in x.chunks_exact(input.len()) {
            let mut activations = run(&model.network, &model.weights, picture).unwrap();
            // The graph's output is before the softmax that every network gets, or the two classes that a single output
            // becomes; or it is that of its own.
            for output in &mut outputs {
                output.extend(activations.pop().unwrap_or_else(|| picture.to_vec()));
            }
        }
        let mut expected = vec![y.clone()];
        if case.output.len() == 4 {
            expected.push(channels_first(&y, &case.output));
        }
        let pairs = outputs.iter().flat_map(|output| expected.iter().map(|e| difference(output, e)));
        let best = pairs.fold(f64::INFINITY, |a, d| if d < a { d } else { a });
        // The onnx package has this one's outputs to four decimals.
        let is_rounded = name == "node-test_averagepool_2d_ceil_last_window_starts_on_pad";
        if best < if is_rounded { 1e-3 } else { 1e-4 } {
            counts[0] += 1;
        } else {
            counts[2] += 1;
            let layers: Vec<String> = model.network.layers().iter().map(|l| format!("{:?}", l.op)).collect();
            wrong.push(format!(
                "{name}: off by {best:.1e}, {pictures} × {input} to {:?}: {} as {}",
                case.output,
                case.operators.join(" "),
                layers.join(" ")
            ));
        }
    }
    for (reason, count) in refusals {
        println!("{count:5} {reason}");
    }
    for (kind, [right, refused, wrong]) in counts {
        println!("{kind}: {right} right, {refused} refused, {wrong} wrong");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Damages the same files: numbers of the messages change, bytes are copied from place to place. Each gives an error or a
/// model within a minute. ALEXNET_ONNX_ROUNDS is the number of times that each file is damaged.
#[test]
#[ignore = "needs the cases that scripts/onnx-cases.py writes"]
fn damaged_cases_do_no_harm() {
    let folder = PathBuf::from(std::env::var_os("ALEXNET_ONNX_CASES").expect("ALEXNET_ONNX_CASES=DIR"));
    let rounds: u64 = std::env::var("ALEXNET_ONNX_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "onnx") && path.metadata().unwrap().len() < 20_000);
    files.sort();
    let mut taken = 0;
    for round in 0..rounds {
        for (i, path) in files.iter().enumerate() {
            let mut bytes = fs::read(path).unwrap();
            let mut state = (round << 32) ^ i as u64;
            let mut random = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % below.max(1)
            };
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] = bytes[at].wrapping_add([1, 255, 2, 128][random(4)]),
                    2 => bytes[at] = [0, 1, 127, 255][random(4)],
                    _ => {
                        let (from, length) = (random(bytes.len()), random(12));
                        let part = bytes[from..(from + length).min(bytes.len())].to_vec();
                        let end = (at + part.len()).min(bytes.len());
                        bytes[at..end].copy_from_slice(&part[..end - at]);
                    }
                }
            }
            let start = std::time::Instant::now();
            let opened = std::panic::catch_unwind(|| Model::from_bytes(bytes.clone(), &ModelOptions::default()));
            let Ok(opened) = opened else { panic!("{}, round {round}", path.display()) };
            assert!(start.elapsed().as_secs() < 60, "{}, round {round}: {:?}", path.display(), start.elapsed());
            if let Ok(model) = opened {
                assert_eq!(model.weights.check(&model.network).map_err(|e| e.to_string()), Ok(()));
                taken += 1;
            }
        }
    }
    println!("{} damaged files, {taken} of them networks still", rounds as usize * files.len());
}
