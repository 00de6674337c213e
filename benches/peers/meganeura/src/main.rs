//! meganeura (WGSL through Blade) as a worker of measure.py: `peer-meganeura FOLDER BATCH`.
//!
//! With `step` after that, each run is a training step, with SGD without momentum. Its times are not those of the same
//! computation: meganeura's gradient of max pooling is an average pooling's.

#[path = "../../protocol.rs"]
mod protocol;

use std::time::Instant;

use meganeura::{Graph, NodeId, Session, build_inference_session, build_session};

/// Outputs, inputs, side of the input, kernel, stride, padding, whether a pooling layer follows: CONVS of model.py.
const CONVS: [(u32, u32, u32, u32, u32, u32, bool); 5] = [
    (96, 3, 227, 11, 4, 0, true),
    (256, 96, 27, 5, 1, 2, true),
    (384, 256, 13, 3, 1, 1, false),
    (384, 384, 13, 3, 1, 1, false),
    (256, 384, 13, 3, 1, 1, true),
];

/// Outputs, inputs: LINEARS of model.py.
const LINEARS: [(usize, usize); 3] = [(4096, 9216), (4096, 4096), (1000, 4096)];

/// The network up to its logits.
fn logits(g: &mut Graph, batch: u32) -> NodeId {
    let mut x = g.input("image", &[(batch * 3 * 227 * 227) as usize]);
    for (index, (outputs, inputs, side, kernel, stride, padding, pool)) in CONVS.into_iter().enumerate() {
        let weight = g.parameter(&format!("conv{index}.weight"), &[(outputs * inputs * kernel * kernel) as usize]);
        let bias = g.parameter(&format!("conv{index}.bias"), &[outputs as usize]);
        x = g.conv2d(x, weight, batch, inputs, side, side, outputs, kernel, kernel, stride, padding);
        let side = (side + 2 * padding - kernel) / stride + 1;
        x = g.add_per_channel(x, bias, outputs, side * side);
        x = g.relu(x);
        if pool {
            x = g.max_pool_2d(x, batch, outputs, side, side, 3, 3, 2, 0);
        }
    }
    x = g.reshape(x, &[batch as usize, LINEARS[0].1]);
    for (index, (outputs, inputs)) in LINEARS.into_iter().enumerate() {
        let weight = g.parameter(&format!("linear{index}.weight"), &[inputs, outputs]);
        let bias = g.parameter(&format!("linear{index}.bias"), &[outputs]);
        let product = g.matmul(x, weight);
        x = g.bias_add(product, bias);
        if index < 2 {
            x = g.relu(x);
        }
    }
    x
}

/// Gives the session model.py's weights.
fn fill(session: &mut Session, mut numbers: &[f32]) {
    let mut take = |count: usize| {
        let (taken, rest) = numbers.split_at(count);
        numbers = rest;
        taken
    };
    for (index, (outputs, inputs, _, kernel, ..)) in CONVS.into_iter().enumerate() {
        session.set_parameter(&format!("conv{index}.weight"), take((outputs * inputs * kernel * kernel) as usize));
        session.set_parameter(&format!("conv{index}.bias"), take(outputs as usize));
    }
    for (index, (outputs, inputs)) in LINEARS.into_iter().enumerate() {
        let weight = take(outputs * inputs);
        // Inputs × outputs, as meganeura wants them.
        let columns: Vec<f32> = (0..inputs).flat_map(|i| (0..outputs).map(move |o| weight[o * inputs + i])).collect();
        session.set_parameter(&format!("linear{index}.weight"), &columns);
        session.set_parameter(&format!("linear{index}.bias"), take(outputs));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (batch, trains) = match arguments.as_slice() {
        [_, _, batch] => (batch, false),
        [_, _, batch, step] if step == "step" => (batch, true),
        _ => panic!("expected a folder and a batch"),
    };
    let batch: usize = batch.parse().expect("expected a number of pictures");
    let pictures = protocol::read_f32s(&format!("{}/input.bin", arguments[1]));
    let weights = protocol::read_f32s(&format!("{}/weights.bin", arguments[1]));
    let start = Instant::now();
    let mut g = Graph::new();
    let logits = logits(&mut g, batch as u32);
    let mut session = if trains {
        let labels = g.input("labels", &[batch, 1000]);
        let loss = g.cross_entropy_loss(logits, labels);
        g.set_outputs(vec![loss]);
        build_session(&g)
    } else {
        let probabilities = g.softmax(logits);
        g.set_outputs(vec![probabilities]);
        build_inference_session(&g)
    };
    fill(&mut session, &weights);
    drop(weights);
    if trains {
        let mut labels = vec![0.0; batch * 1000];
        (0..batch).for_each(|image| labels[image * 1000 + image * 37 % 1000] = 1.0);
        session.set_input("labels", &labels);
        session.set_learning_rate(0.01);
    }
    let adapter = session.device_information().device_name.clone();
    let run = || {
        session.set_input("image", &pictures);
        session.step();
        session.wait();
        if trains { vec![session.read_loss()] } else { session.read_output(batch * 1000) }
    };
    protocol::serve("meganeura 0.3.0", Some(&adapter), start, run);
}
