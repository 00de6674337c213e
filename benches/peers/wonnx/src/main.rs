//! wonnx as a worker of measure.py: `peer-wonnx FOLDER BATCH`.

#[path = "../../protocol.rs"]
mod protocol;

use std::{collections::HashMap, time::Instant};

use pollster::block_on;

fn main() {
    let folder = std::env::args().nth(1).expect("expected a folder");
    let pictures = protocol::read_f32s(&format!("{folder}/input.bin"));
    let start = Instant::now();
    let session = block_on(wonnx::Session::from_path(format!("{folder}/wonnx.onnx"))).expect("no session");
    let run = || {
        let inputs = HashMap::from([("input".to_string(), pictures.as_slice().into())]);
        let outputs = block_on(session.run(&inputs)).expect("no result");
        let output = outputs.into_values().next().expect("no output");
        output.try_into().expect("expected f32")
    };
    protocol::serve("wonnx 0.5.1", None, start, run);
}
