//! The roofline of a layer: its arithmetic and memory traffic against the adapter's peak rates.

use alexnet_wgpu::{Layer, Network, Op, Precision, Roofline};
use serde::Serialize;

/// A layer's utilisation of an adapter.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Rates {
    pub gflops: f64,
    pub gbps: f64,
    /// From 0 to 1, of the binding limit: arithmetic or memory.
    pub share_of_roofline: f64,
}

impl Rates {
    /// For the layer `name`, which takes `ms` milliseconds per batch.
    pub fn new(
        network: &Network,
        name: &str,
        batch: usize,
        precision: Precision,
        ms: f64,
        roofline: &Roofline,
    ) -> Self {
        let Ok(layer) = network.layer(name) else { return Self::default() };
        if ms <= 0.0 {
            return Self::default();
        }
        let operations = 2.0 * layer.multiply_adds() as f64 * batch as f64;
        let bytes = bytes(layer, batch, precision) as f64;
        Self {
            gflops: operations / (ms * 1e6),
            gbps: bytes / (ms * 1e6),
            share_of_roofline: roofline.share(operations, bytes, ms / 1e3),
        }
    }
}

/// The least bytes that a layer reads and writes: input, weights and output, once each.
fn bytes(layer: &Layer, batch: usize, precision: Precision) -> u64 {
    let activations = 4 * (layer.input.len() + layer.output.len()) * batch;
    let weight = match layer.op {
        Op::Linear(_) => precision.bytes(),
        _ => 4,
    };
    let numbers = |(_, shape): (String, Vec<usize>)| shape.iter().product::<usize>();
    (activations + weight * layer.parameters().map(numbers).sum::<usize>()) as u64
}
