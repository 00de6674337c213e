//! A tensor as a file stores it.

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use half::{bf16, f16};

use super::{WeightsError, map::Map};

/// The type of a tensor's numbers.
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
    /// Integers of -127 to 127 times an f32 scale, one scale per row of the first axis.
    I8,
}

impl DType {
    /// The size of one number in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::I8 => 1,
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
            Self::I8 => "int8",
        })
    }
}

/// A part of `bytes`; `None` where it is out of range.
pub(crate) fn part(bytes: &Bytes, range: Range<usize>) -> Option<Bytes> {
    (range.start <= range.end && range.end <= bytes.len()).then(|| bytes.slice(range))
}

/// A tensor as a file stores it: little-endian numbers, the last dimension contiguous.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Bytes,
    /// One per row for int8; empty for the other types.
    pub(crate) scales: Arc<[f32]>,
    /// Its name in the file, where the network's name differs.
    pub(crate) alias: Option<Arc<str>>,
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there are no files in a browser"))]
    pub(crate) map: Map,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

impl Tensor {
    /// A tensor over the bytes of floating-point numbers; `None` where their count does not match the shape.
    pub(crate) fn new(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        Self::with_scales(dtype, shape, bytes, Arc::default())
    }

    /// A tensor over bytes; `None` where the count of bytes, or of int8 scales, does not match the shape.
    pub(crate) fn with_scales(dtype: DType, shape: Vec<usize>, bytes: Bytes, scales: Arc<[f32]>) -> Option<Self> {
        let count = shape.iter().try_fold(dtype.size(), |a, &d| a.checked_mul(d))?;
        let rows = if dtype == DType::I8 { rows(&shape) } else { 0 };
        (count == bytes.len() && rows == scales.len()).then_some(Self {
            dtype,
            shape,
            bytes,
            scales,
            alias: None,
            map: None,
        })
    }

    /// A tensor of f32 numbers in row-major order.
    ///
    /// # Panics
    ///
    /// Panics if the number of `values` does not match `shape`.
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        struct Floats(Vec<f32>);
        impl AsRef<[u8]> for Floats {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a shape and its numbers");
        let bytes = Bytes::from_owner(Floats(values));
        Self { dtype: DType::F32, shape, bytes, scales: Arc::default(), alias: None, map: None }
    }

    /// [`Weights::release`] for some of the numbers.
    pub(crate) fn release(&self, numbers: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            let size = self.dtype.size();
            super::map::release(map, &self.bytes[numbers.start * size..numbers.end * size]);
        }
        #[cfg(not(unix))]
        let _ = numbers;
    }

    /// The same numbers in another shape; `None` where the count does not match, or where int8 rows would differ.
    pub(crate) fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Option<Self> {
        let reshaped = Self::with_scales(self.dtype, shape.into(), self.bytes.clone(), self.scales.clone())?;
        Some(Self { shape: reshaped.shape, ..self.clone() })
    }

    /// The same tensor with its name in the file, for error messages. The first such name is kept.
    pub(crate) fn named_in_file(mut self, name: &str) -> Self {
        self.alias.get_or_insert_with(|| name.into());
        self
    }

    /// The name in the file of the tensor that the network calls `name`.
    pub(crate) fn name_in_file(&self, name: &str) -> String {
        self.alias.as_deref().unwrap_or(name).into()
    }

    /// The range of all numbers.
    pub(crate) fn numbers(&self) -> Range<usize> {
        0..self.bytes.len() / self.dtype.size()
    }

    /// A range of the numbers as f32, or an error where one is not finite.
    pub(crate) fn finite(&self, name: &str, numbers: Range<usize>) -> Result<Cow<'_, [f32]>, WeightsError> {
        let first = numbers.start;
        let values = self.range_to_f32(numbers);
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => {
                Err(WeightsError::NotFinite { tensor: self.name_in_file(name), index: first + i, value: values[i] })
            }
            None => Ok(values),
        }
    }

    /// The numbers rounded to another type, through f32.
    ///
    /// For int8, each row of the first axis is scaled separately: its scale is its largest magnitude / 127, so that no number
    /// is off by more than half a scale. A row with a NaN or an infinity becomes NaN.
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype {
            return self.clone();
        }
        let values = self.to_f32();
        let bytes: Vec<u8> = match dtype {
            DType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            DType::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
            DType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::F64 => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
            DType::I8 => return Self { alias: self.alias.clone(), ..Self::quantised(self.shape.clone(), &values) },
        };
        let (shape, alias) = (self.shape.clone(), self.alias.clone());
        Self { dtype, shape, bytes: bytes.into(), scales: Arc::default(), alias, map: None }
    }

    fn quantised(shape: Vec<usize>, values: &[f32]) -> Self {
        let rows = rows(&shape);
        let columns = values.len().checked_div(rows).unwrap_or(0);
        let mut bytes = Vec::with_capacity(values.len());
        let mut scales = Vec::with_capacity(rows);
        for row in (0..rows).map(|row| &values[row * columns..][..columns]) {
            // Not `max`, which ignores NaN.
            let largest = row.iter().map(|v| v.abs()).fold(0.0, |a: f32, v| if v > a || v.is_nan() { v } else { a });
            let scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
            // Where the scale is too small to divide by, so is every number of the row.
            let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
            // Rust's conversion turns NaN into 0.
            bytes.extend(row.iter().map(|v| (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8));
            scales.push(scale);
        }
        Self { dtype: DType::I8, shape, bytes: bytes.into(), scales: scales.into(), alias: None, map: None }
    }

    /// The type of the numbers.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers as stored, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The factor for the numbers of each row of the first axis, for int8; empty for other types.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The numbers as f32, borrowed where they are stored as f32. f64 is rounded to nearest; int8 is multiplied by its
    /// scales.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        self.range_to_f32(self.numbers())
    }

    /// The numbers as f64; int8 is multiplied by its scales.
    pub(crate) fn to_f64(&self) -> Vec<f64> {
        match self.dtype {
            DType::F64 => self.bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            _ => self.to_f32().iter().copied().map(f64::from).collect(),
        }
    }

    /// A range of the numbers of [`Tensor::to_f32`].
    ///
    /// # Panics
    ///
    /// Panics if the range is out of bounds.
    pub(crate) fn range_to_f32(&self, numbers: Range<usize>) -> Cow<'_, [f32]> {
        let bytes = &self.bytes()[numbers.start * self.dtype.size()..numbers.end * self.dtype.size()];
        match self.dtype {
            DType::F32 if cfg!(target_endian = "little") => match bytemuck::try_cast_slice(bytes) {
                Ok(values) => Cow::Borrowed(values),
                Err(_) => Cow::Owned(read(bytes, f32::from_le_bytes)),
            },
            DType::F32 => Cow::Owned(read(bytes, f32::from_le_bytes)),
            DType::F16 => Cow::Owned(read(bytes, |b| f16::from_le_bytes(b).to_f32())),
            DType::BF16 => Cow::Owned(read(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            DType::F64 => Cow::Owned(read(bytes, |b| f64::from_le_bytes(b) as f32)),
            DType::I8 => {
                let columns = self.bytes.len().checked_div(self.scales.len()).unwrap_or(0).max(1);
                let scales = numbers.map(|i| self.scales[i / columns]);
                Cow::Owned(bytes.iter().zip(scales).map(|(&b, scale)| f32::from(b as i8) * scale).collect())
            }
        }
    }
}

/// The number of scales for int8 numbers of this shape: one per row of the first axis, none where there are no numbers.
pub(crate) fn rows(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.first().copied().unwrap_or(1) }
}

pub(crate) fn read<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&b| number(b)).collect()
}
