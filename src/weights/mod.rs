//! Weight files: one door ([`Weights::open`]), one file of this folder a format.
//!
//! A [`Tensor`] keeps the bytes as the file has them, shared with the memory map they lie in, and turns
//! them to f32 when they are packed for a kernel: a file is never held twice.

mod safetensors;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use half::{bf16, f16};

use crate::network::{Network, nearest};

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    BF16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

impl DType {
    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// Bytes that somebody owns: a memory map, a buffer, the program itself.
#[derive(Clone)]
pub(crate) struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    pub(crate) fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let len = owner.as_ref().len();
        Self { owner: Arc::new(owner), range: 0..len }
    }

    /// A part of these bytes; `None` where it does not lie within them.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        (start <= end && end <= self.range.end).then(|| Self { owner: self.owner.clone(), range: start..end })
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

/// A tensor as a file stores it: little-endian numbers, the last dimension contiguous.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

impl Tensor {
    /// A tensor over bytes; `None` where their number is not that of the shape.
    pub(crate) fn new(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        let count = shape.iter().try_fold(dtype.size(), |a, &d| a.checked_mul(d))?;
        (count == bytes.as_ref().len()).then_some(Self { dtype, shape, bytes })
    }

    /// A tensor of f32 numbers, the last dimension contiguous.
    ///
    /// # Panics
    ///
    /// When `values` does not hold as many numbers as `shape` says.
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        struct Floats(Vec<f32>);
        impl AsRef<[u8]> for Floats {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a shape and its numbers");
        Self { dtype: DType::F32, shape, bytes: Bytes::new(Floats(values)) }
    }

    /// How the numbers are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers as the file stores them, little-endian.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The numbers as f32, borrowed where they are stored so; f64 is rounded to nearest.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        let bytes = self.bytes();
        match self.dtype {
            DType::F32 if cfg!(target_endian = "little") => match bytemuck::try_cast_slice(bytes) {
                Ok(values) => Cow::Borrowed(values),
                Err(_) => Cow::Owned(read(bytes, f32::from_le_bytes)),
            },
            DType::F32 => Cow::Owned(read(bytes, f32::from_le_bytes)),
            DType::F16 => Cow::Owned(read(bytes, |b| f16::from_le_bytes(b).to_f32())),
            DType::BF16 => Cow::Owned(read(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            DType::F64 => Cow::Owned(read(bytes, |b| f64::from_le_bytes(b) as f32)),
        }
    }
}

fn read<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&b| number(b)).collect()
}

/// Named tensors, and the notes that came with them.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Notes of the file by key.
    pub metadata: BTreeMap<String, String>,
}

impl Weights {
    /// Reads a weight file; the format is recognised from its first bytes. The file is mapped into memory,
    /// and must not be changed by another program while it is in use.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when the file cannot be read or is not what its header says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let fail = |source| WeightsError::Read { path: path.into(), source };
        let file = std::fs::File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(fail(std::io::Error::other("not a regular file")));
        }
        if metadata.len() == 0 {
            return Err(WeightsError::Format {
                format: "weight file",
                what: "at least a header, found an empty file".into(),
            });
        }
        // SAFETY: the map is only read, and lives as long as the tensors that point into it. Another program
        // that shortens the file meanwhile is the documented risk of every memory-mapped reader.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
        Self::from_owner(Bytes::new(map))
    }

    /// Reads weights that lie in memory already.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when the bytes are not what their header says.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, WeightsError> {
        Self::from_owner(Bytes::new(bytes))
    }

    fn from_owner(bytes: Bytes) -> Result<Self, WeightsError> {
        safetensors::read(bytes)
    }

    /// Writes safetensors: the tensors as they are, and the metadata.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Write`] when the file cannot be written; it is complete or not there at all.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), WeightsError> {
        safetensors::write(self, path.as_ref())
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Missing`] with the nearest name that is there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, WeightsError> {
        self.tensors.get(name).ok_or_else(|| WeightsError::Missing {
            tensor: name.into(),
            nearest: nearest(name, self.tensors.keys().map(String::as_str)).unwrap_or("nothing").into(),
        })
    }

    /// Checks that these are exactly the tensors that `network` learns, each of its shape.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] names the first tensor that is missing, wrongly shaped or not of this network.
    pub fn check(&self, network: &Network) -> Result<(), WeightsError> {
        for (name, expected) in network.parameters() {
            let tensor = self.tensor(&name)?;
            if tensor.shape != expected {
                return Err(WeightsError::Shape { tensor: name, expected, found: tensor.shape.clone() });
            }
        }
        let known: std::collections::BTreeSet<String> = network.parameters().map(|(n, _)| n).collect();
        match self.tensors.keys().find(|n| !known.contains(*n)) {
            Some(extra) => Err(WeightsError::Extra { tensor: extra.clone(), network: network.name().into() }),
            None => Ok(()),
        }
    }

    /// Reproducible random weights for `network`, without a file: tensor i (weight and bias of each layer in
    /// order) is drawn from [`splitmix::uniform`] with seed `seed + i`; weights within √(6 / fan-in) (He et
    /// al. 2015), biases within 0.1.
    pub fn random(network: &Network, seed: u64) -> Self {
        let mut tensors = BTreeMap::new();
        for (i, (name, shape)) in network.parameters().enumerate() {
            let count = shape.iter().product();
            let bound = match shape[1..].iter().product::<usize>() {
                1 if shape.len() == 1 => 0.1,
                fan_in => (6.0 / fan_in as f64).sqrt() as f32,
            };
            let values = splitmix::uniform(seed.wrapping_add(i as u64), count, bound);
            tensors.insert(name, Tensor::from_f32(shape, values));
        }
        Self { tensors, metadata: BTreeMap::new() }
    }
}

/// Reproducible random numbers: SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
/// generators"), the same in every language.
pub mod splitmix {
    /// `n` numbers in ±`bound`: the top 24 bits of each output on a grid of 2⁻²³, times `bound`.
    pub fn uniform(seed: u64, n: usize, bound: f32) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0) * bound
        };
        (0..n).map(next).collect()
    }
}

/// A weight file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("cannot read weights from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not what their header says, or of no known format.
    #[error("not a usable {format}: expected {what}; download or convert the file again")]
    Format {
        /// The format.
        format: &'static str,
        /// What was expected and found.
        what: String,
    },
    /// A tensor's numbers are of a kind that is not read.
    #[error("tensor `{tensor}`: expected f16, bf16, f32 or f64, found {found}: convert the file first")]
    DType {
        /// The tensor.
        tensor: String,
        /// Its kind.
        found: String,
    },
    /// A tensor is not there.
    #[error("tensor `{tensor}` is missing, the nearest name is `{nearest}`: is this the right file for the network?")]
    Missing {
        /// The tensor.
        tensor: String,
        /// The closest name that is there.
        nearest: String,
    },
    /// A tensor that the network does not have.
    #[error("tensor `{tensor}` has no place in network `{network}`: is this the right file for the network?")]
    Extra {
        /// The tensor.
        tensor: String,
        /// The network.
        network: String,
    },
    /// A tensor has another shape.
    #[error("tensor `{tensor}`: expected shape {expected:?}, found {found:?}: choose the network that fits the file")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    #[error(
        "tensor `{tensor}`: expected finite numbers, found {value} at {index}: the file is damaged or training diverged"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Flat position.
        index: usize,
        /// The number.
        value: f32,
    },
    /// No network with these tensors is known.
    #[error("no network recognised: {0}; name it with --network or in the file's metadata")]
    Unrecognised(String),
    /// A note in the file's metadata cannot be understood.
    #[error("metadata `{key}`: expected {expected}, found `{found}`")]
    Metadata {
        /// The key.
        key: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The number of labels is not that of the classes.
    #[error("expected {expected} labels, one a class, found {found}: give the list that the network was trained with")]
    Labels {
        /// Classes of the network.
        expected: usize,
        /// Labels given.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_is_the_standard_generator() {
        // First output for seed 0 is 0xE220A8397B1DCDAF (Vigna's splitmix64.c).
        let expected = (0xE220_A839_7B1D_CDAFu64 >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0;
        assert_eq!(splitmix::uniform(0, 1, 1.0), [expected]);
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
            let padded = Bytes::new([vec![0], bytes].concat());
            let bytes = padded.slice(1..padded.as_ref().len()).unwrap();
            let tensor = Tensor::new(dtype, vec![2, 2], bytes).unwrap();
            let last = if dtype == DType::BF16 { 65536.0 } else { 65504.0 };
            assert_eq!(*tensor.to_f32(), [1.5, -2.0, 0.0, last], "{dtype}");
        }
    }
}
