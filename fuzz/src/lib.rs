//! Fuzzing of the readers of weight files, one target a format:
//!
//! ```sh
//! cargo install cargo-fuzz
//! RUSTC_BOOTSTRAP=1 cargo fuzz run torch fuzz/corpus/torch fuzz/seeds/torch -- \
//!     -max_total_time=600 -max_len=8192 -timeout=5 -malloc_limit_mb=128
//! ```
//!
//! Seeds are small files that reach every corner (`seeds.py` writes them); what the fuzzer finds goes to `corpus`,
//! which is not kept.

use alexnet_wgpu::{Model, ModelOptions, Weights};

/// Reads bytes as a weight file, and every number in it. Errors are fine; panics, hangs and large allocations are not.
pub fn open(data: &[u8]) {
    if let Ok(weights) = Weights::from_bytes(data.to_vec()) {
        read(&weights);
    }
    if let Ok(model) = Model::from_bytes(data.to_vec(), &ModelOptions::default()) {
        read(&model.weights);
        assert_eq!(model.weights.check(&model.network).map_err(|e| e.to_string()), Ok(()));
        assert_eq!(model.labels.len(), model.network.output().len());
    }
}

fn read(weights: &Weights) {
    for tensor in weights.tensors.values() {
        assert_eq!(tensor.to_f32().len(), tensor.shape().iter().product::<usize>());
    }
}
