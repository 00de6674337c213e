//! Named tensors, as files store them.
//!
//! A [`Tensor`] keeps the bytes as stored, shared with the memory map, and converts them to f32 when they are packed for a
//! kernel: a file is never held twice.

mod error;
pub(crate) mod map;
pub mod splitmix;
mod tensor;

use std::collections::BTreeMap;

pub use error::WeightsError;
pub use tensor::{DType, Tensor};
pub(crate) use tensor::{part, read, rows};

use crate::text::nearest;

/// Named tensors, and the metadata of their file.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The file's metadata, by key.
    pub metadata: BTreeMap<String, String>,
}

impl Weights {
    /// The same weights with every number rounded to another type. Numbers beyond f16's 65504 become infinite there. Only the
    /// weights of convolutions and fully connected layers (`NAME.weight`, one row per output) become int8; biases then become
    /// f32.
    pub fn cast(&self, dtype: DType) -> Self {
        let of = |name: &str, tensor: &Tensor| match dtype {
            DType::I8 if !name.ends_with(".weight") || tensor.shape.len() < 2 => DType::F32,
            dtype => dtype,
        };
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.cast(of(name, tensor)))).collect();
        Self { tensors, metadata: self.metadata.clone() }
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Missing`] with the nearest existing name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, WeightsError> {
        self.tensors.get(name).ok_or_else(|| WeightsError::Missing {
            tensor: name.into(),
            nearest: nearest(name, self.tensors.keys().map(String::as_str)).unwrap_or("nothing").into(),
        })
    }

    /// Releases the memory of tensors in a mapped file. They are read from it again when needed.
    pub(crate) fn release(&self) {
        for tensor in self.tensors.values() {
            tensor.release(tensor.numbers());
        }
    }

    /// Checks that every number is finite. Reads all of them.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NotFinite`] with the first that is not finite.
    pub fn check_finite(&self) -> Result<(), WeightsError> {
        self.tensors.iter().try_for_each(|(name, tensor)| tensor.finite(name, tensor.numbers()).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn splitmix_is_the_standard_generator() {
        // First output for seed 0 is 0xE220A8397B1DCDAF (Vigna's splitmix64.c).
        let expected = (0xE220_A839_7B1D_CDAFu64 >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0;
        assert_eq!(splitmix::uniform(0, 1, 1.0), [expected]);
    }

    /// Reading some numbers of a mapped file brings back the pages around them.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_released_block_by_block_is_not_in_memory() {
        use ::safetensors::tensor::{Dtype, TensorView, serialize_to_file};

        let (block, blocks) = (100_000, 40);
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = vec![1; 4 * block * blocks];
        let view = TensorView::new(Dtype::F32, vec![block * blocks], &bytes).unwrap();
        serialize_to_file([("x", view)], None, file.path()).unwrap();
        let weights = Weights::open(file.path()).unwrap();
        let tensor = weights.tensor("x").unwrap();
        // kB of the file in this process's memory.
        let resident = || -> usize {
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let map = maps.split_once(file.path().to_str().unwrap()).expect("the file is mapped").1;
            let kb = map.split_once("Rss:").and_then(|(_, rss)| rss.split_whitespace().next());
            kb.unwrap().parse().unwrap()
        };
        for numbers in (0..blocks).map(|i| i * block..(i + 1) * block) {
            tensor.finite("x", numbers.clone()).unwrap();
            assert!(resident() * 1024 >= 4 * block, "what was read is in memory: {} kB", resident());
            tensor.release(numbers);
        }
        // Except for the header's pages.
        assert!(resident() <= 64, "{} kB", resident());
    }

    #[test]
    fn every_dtype_reads_as_f32() {
        let values = [1.5f32, -2.0, 0.0, 65504.0];
        let cases: [(DType, Vec<u8>); 4] = [
            (DType::F16, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()),
            (DType::BF16, [1.5f32, -2.0, 0.0, 65536.0].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect()),
            (DType::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            (DType::F64, values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect()),
        ];
        for (dtype, bytes) in cases {
            // At an odd address, where f32 cannot be borrowed.
            let bytes = Bytes::from([vec![0], bytes].concat()).slice(1..);
            let tensor = Tensor::new(dtype, vec![2, 2], bytes).unwrap();
            let last = if dtype == DType::BF16 { 65536.0 } else { 65504.0 };
            assert_eq!(*tensor.to_f32(), [1.5, -2.0, 0.0, last], "{dtype}");
        }
    }
}
