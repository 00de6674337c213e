//! Files of a folder against what the tool that wrote them says.

use std::{collections::BTreeMap, fs, path::PathBuf};

use alexnet_wgpu::{Model, ModelOptions, reference::run};

/// What cases.json says of a case.
#[derive(serde::Deserialize)]
struct Case {
    input: Vec<usize>,
    output: Vec<usize>,
    operators: Vec<String>,
}

/// N×H×W×C as N×C×H×W.
fn channels_first(values: &[f64], dims: &[usize]) -> Vec<f64> {
    let [_, h, w, c] = *dims else { panic!("four dimensions") };
    let plane = h * w * c;
    let at = |i: usize| values[i / plane * plane + i % (h * w) * c + i % plane / (h * w)];
    (0..values.len()).map(at).collect()
}

/// The largest difference, as a part of the largest number.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(1e-3, |a: f64, v| a.max(v.abs()));
    let pairs = found.iter().zip(expected);
    // Not `max`, which passes over a NaN.
    pairs.map(|(f, e)| (f - e).abs() / largest).fold(0.0, |a, d| if d <= a { a } else { d })
}

/// `scripts/onnx-cases.py DIR` writes the cases; ALEXNET_ONNX_CASES=DIR says where.
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
    // By the beginning of the name: right, refused and wrong.
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
        let mut outputs = [Vec::new(), Vec::new()];
        for picture in x.chunks_exact(input.len()) {
            let mut activations = run(&model.network, &model.weights, picture).unwrap();
            // The graph's output comes before the softmax that every network gets, or is its own.
            outputs[0].extend(activations.pop().unwrap());
            outputs[1].extend(activations.pop().unwrap_or_else(|| picture.to_vec()));
        }
        let mut expected = vec![y.clone()];
        if case.output.len() == 4 {
            expected.push(channels_first(&y, &case.output));
        }
        let pairs = outputs.iter().flat_map(|output| expected.iter().map(|e| difference(output, e)));
        let best = pairs.fold(f64::INFINITY, |a, d| if d < a { d } else { a });
        if best < 1e-4 {
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
