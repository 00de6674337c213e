//! Fuzzing of what reads files, one target a format of weights, one for pictures, and one for the command's arrays:
//!
//! ```sh
//! cargo install cargo-fuzz
//! RUSTC_BOOTSTRAP=1 cargo fuzz run torch fuzz/corpus/torch fuzz/seeds/torch -- \
//!     -max_total_time=600 -max_len=8192 -timeout=5 -malloc_limit_mb=128
//! RUSTC_BOOTSTRAP=1 cargo fuzz run picture fuzz/corpus/picture tests/data/preprocessing/kinds -- \
//!     -max_total_time=600 -max_len=8192 -timeout=60 -malloc_limit_mb=768 -rss_limit_mb=3072
//! RUSTC_BOOTSTRAP=1 cargo fuzz run npy fuzz/corpus/npy fuzz/seeds/npy -- \
//!     -max_total_time=600 -max_len=8192 -timeout=5 -malloc_limit_mb=128
//! ```
//!
//! Seeds are small files that reach every corner (`seeds.py` writes them); what the fuzzer finds goes to `corpus`,
//! which is not kept. Eight kilobytes can hold a white page of 168 million pixels, which takes memory and time.
//!
//! The last ten minutes of each, on 2026-11-26, found nothing, in millions of runs: caffe 2.9, onnx 2.6, safetensors 1.4, torch
//! 0.7, picture 0.2, npy 11.6.

// The command is no library, and its reader of arrays needs nothing of it.
#[allow(dead_code, reason = "the command writes arrays too")]
#[path = "../../cli/src/npy.rs"]
mod npy;

use alexnet_wgpu::{DType, Model, ModelOptions, Picture, Preprocessing, Weights};

/// Reads bytes as a weight file, and every number in it. Errors are fine; panics, hangs and large allocations are not.
pub fn open(data: &[u8]) {
    if let Ok(weights) = Weights::from_bytes(data.to_vec()) {
        read(&weights);
    }
    if let Ok(model) = Model::from_bytes(data.to_vec(), &ModelOptions::default()) {
        read(&model.weights);
        assert_eq!(model.weights.check(&model.network).map_err(|e| e.to_string()), Ok(()));
        let output = model.network.output();
        let classes = if output.height * output.width == 1 { output.len() } else { 0 };
        assert_eq!(model.labels.len(), classes);
    }
}

fn read(weights: &Weights) {
    for (_, tensor) in weights {
        let count = tensor.shape().iter().product::<usize>();
        assert_eq!(tensor.to_f32().len(), count);
        assert_eq!(tensor.cast(DType::I8).to_f32().len(), count);
    }
}

/// Decodes bytes as a picture and makes a network's input of it.
pub fn picture(data: &[u8]) {
    if let Ok(picture) = Picture::decode(data) {
        assert_eq!(picture.rgb().len(), 3 * picture.width() as usize * picture.height() as usize);
        for preprocessing in [Preprocessing::torchvision(12), Preprocessing::caffe(12)] {
            assert_eq!(preprocessing.apply(&picture).map(|input| input.len()), Ok(3 * 12 * 12));
        }
    }
}

/// The shape that arrays are expected to have: large enough that most of the longest file is numbers.
const ARRAY: [usize; 3] = [3, 7, 5];

/// Reads bytes as an array of numbers.
pub fn array(data: &[u8]) {
    if let Ok(values) = npy::parse(data, &ARRAY) {
        assert_eq!(values.len(), ARRAY.iter().product::<usize>());
        assert!(values.iter().all(|value| value.is_finite()));
        assert!(data.len() <= npy::longest(&ARRAY), "what the command reads of a file is enough");
    }
}
