//! Fuzzing of what reads files, one target a format of weights, and one for pictures:
//!
//! ```sh
//! cargo install cargo-fuzz
//! RUSTC_BOOTSTRAP=1 cargo fuzz run torch fuzz/corpus/torch fuzz/seeds/torch -- \
//!     -max_total_time=600 -max_len=8192 -timeout=5 -malloc_limit_mb=128
//! RUSTC_BOOTSTRAP=1 cargo fuzz run picture fuzz/corpus/picture tests/data/preprocessing/kinds -- \
//!     -max_total_time=600 -max_len=8192 -timeout=60 -malloc_limit_mb=768 -rss_limit_mb=3072
//! ```
//!
//! Seeds are small files that reach every corner (`seeds.py` writes them); what the fuzzer finds goes to `corpus`,
//! which is not kept. Eight kilobytes can hold a white page of 168 million pixels, which takes memory and time.

use alexnet_wgpu::{DType, Model, ModelOptions, Picture, Preprocessing, Weights};

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
