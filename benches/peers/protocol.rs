//! What a worker tells measure.py, see worker.py.

use std::{io, time::Instant};

/// A file of little-endian f32.
pub fn read_f32s(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}; model.py writes it"));
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Runs once and says so, then once for each line read. `start`: before the network was made.
pub fn serve(peer: &str, adapter: Option<&str>, start: Instant, mut run: impl FnMut() -> Vec<f32>) {
    let output = run();
    let first_ms = start.elapsed().as_secs_f64() * 1e3;
    println!("{}", serde_json::json!({ "peer": peer, "adapter": adapter, "first_ms": first_ms, "output": output }));
    for _ in io::stdin().lines() {
        let start = Instant::now();
        run();
        println!("{}", serde_json::json!({ "ms": start.elapsed().as_secs_f64() * 1e3 }));
    }
}
