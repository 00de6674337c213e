//! Named tensors, as files store them.
//!
//! A [`Tensor`] keeps the bytes as stored, shared with the memory map, and converts them to f32 when they are packed for a
//! kernel: a file is never held twice.

mod error;
pub(crate) mod map;
pub mod splitmix;
mod tensor;

use std::collections::{BTreeMap, btree_map};

pub use error::WeightsError;
pub use tensor::{DType, Tensor};
pub(crate) use tensor::{part, read, rows};

use crate::text::nearest;

/// Named tensors, in the order of their names, and the metadata of their file.
///
/// ```
/// use alexnet_wgpu::{Tensor, Weights};
///
/// let mut weights = Weights::from_iter([("fc8.bias", Tensor::from_f32([2], vec![0.5, -0.5]))]);
/// weights.insert("fc8.weight", Tensor::from_f32([2, 1], vec![1.0, 2.0]));
/// for (name, tensor) in &weights {
///     println!("{name}: {} {:?}", tensor.dtype(), tensor.shape());
/// }
/// assert_eq!(weights.get("fc8.bias").map(|bias| bias.to_f32().into_owned()), Some(vec![0.5, -0.5]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Weights {
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// The file's metadata, by key.
    pub metadata: BTreeMap<String, String>,
}

/// Tensors without metadata.
impl<N: Into<String>> FromIterator<(N, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (N, Tensor)>>(tensors: I) -> Self {
        let mut weights = Self::default();
        weights.extend(tensors);
        weights
    }
}

impl<N: Into<String>> Extend<(N, Tensor)> for Weights {
    fn extend<I: IntoIterator<Item = (N, Tensor)>>(&mut self, tensors: I) {
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)));
    }
}

impl IntoIterator for Weights {
    type Item = (String, Tensor);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.tensors.into_iter())
    }
}

impl<'a> IntoIterator for &'a Weights {
    type Item = (&'a str, &'a Tensor);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Weights {
    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensors with their names, sorted by name.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.tensors.iter())
    }

    /// The tensors with their names, sorted by name, to be replaced in place.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Tensor)> {
        self.tensors.iter_mut().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor called `name`; `None` where there is none. [`Weights::tensor`] returns an error instead.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensor called `name`, to be replaced in place; `None` where there is none.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.tensors.get_mut(name)
    }

    /// Adds a tensor, and returns the one that had this name before.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.tensors.insert(name.into(), tensor)
    }

    /// Removes a tensor and returns it; `None` where there was none of this name.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

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

/// An iterator over the tensors of [`Weights`], sorted by name.
#[derive(Clone, Debug)]
pub struct Iter<'a>(btree_map::Iter<'a, String, Tensor>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Tensor);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, tensor)| (name.as_str(), tensor))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// An iterator that takes the tensors out of [`Weights`], sorted by name.
#[derive(Debug)]
pub struct IntoIter(btree_map::IntoIter<String, Tensor>);

impl Iterator for IntoIter {
    type Item = (String, Tensor);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

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
