//! Constants of the graph: weights, sizes and indices, which do not depend on the picture.

use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::{
    model::formats::{Budget, gather_bytes},
    weights::{DType, Tensor},
};

/// The highest rank of a constant.
pub(super) const MAX_RANK: usize = 16;

/// The type of a constant's numbers, by its code in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    BF16 = 16,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::F32,
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::Bool,
        Self::F16,
        Self::F64,
        Self::U32,
        Self::U64,
        Self::BF16,
    ];

    pub fn of(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as i64 == code)
    }

    /// The size of one number in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The type of weights stored in this type; `None` for integers.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::BF16 => Some(DType::BF16),
            Self::F64 => Some(DType::F64),
            _ => None,
        }
    }
}

/// A tensor that does not depend on the picture: little-endian numbers in row-major order.
#[derive(Clone)]
pub(super) struct Constant {
    kind: Kind,
    shape: Vec<usize>,
    bytes: Bytes,
    /// The name in the file, for error messages.
    name: Option<Arc<str>>,
}

/// The numbers of a constant.
pub(super) enum Numbers {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

impl Constant {
    /// `None` where the number of bytes does not match the shape.
    pub fn new(kind: Kind, shape: Vec<usize>, bytes: Bytes, name: Option<&str>) -> Option<Self> {
        let count = shape.iter().try_fold(kind.size(), |a, &d| a.checked_mul(d))?;
        let fits = count == bytes.len() && shape.len() <= MAX_RANK;
        fits.then(|| Self { kind, shape, bytes, name: name.map(Into::into) })
    }

    /// A vector of sizes or indices.
    pub fn ints(values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { kind: Kind::I64, shape: vec![values.len()], bytes: bytes.into(), name: None }
    }

    pub fn from_numbers(kind: Kind, shape: Vec<usize>, numbers: &Numbers, budget: &mut Budget) -> Result<Self, String> {
        let floats: Vec<f64>;
        let ints: Vec<i64>;
        let len = match numbers {
            Numbers::Floats(values) => values.len(),
            Numbers::Ints(values) => values.len(),
        };
        budget.take(len.saturating_mul(kind.size()))?;
        let (f, i): (&[f64], &[i64]) = match (numbers, kind.dtype()) {
            (Numbers::Floats(values), Some(_)) => (values, &[]),
            (Numbers::Ints(values), None) => (&[], values),
            (Numbers::Ints(values), Some(_)) => {
                floats = values.iter().map(|&v| v as f64).collect();
                (&floats, &[])
            }
            // Towards zero; a Boolean is true for any number but zero.
            (Numbers::Floats(values), None) => {
                let whole = |&v: &f64| if kind == Kind::Bool { i64::from(v != 0.0) } else { v as i64 };
                ints = values.iter().map(whole).collect();
                (&[], &ints)
            }
        };
        let bytes: Vec<u8> = match kind {
            Kind::F32 => f.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
            Kind::F64 => f.iter().flat_map(|&v| v.to_le_bytes()).collect(),
            Kind::F16 => f.iter().flat_map(|&v| f16::from_f64(v).to_le_bytes()).collect(),
            Kind::BF16 => f.iter().flat_map(|&v| bf16::from_f64(v).to_le_bytes()).collect(),
            Kind::Bool => i.iter().map(|&v| u8::from(v != 0)).collect(),
            Kind::U8 | Kind::I8 => i.iter().map(|&v| v as u8).collect(),
            Kind::U16 | Kind::I16 => i.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect(),
            Kind::U32 | Kind::I32 => i.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
            Kind::U64 | Kind::I64 => i.iter().flat_map(|&v| v.to_le_bytes()).collect(),
        };
        let shown = shape.clone();
        Self::new(kind, shape, bytes.into(), None).ok_or_else(|| format!("as many numbers as {shown:?} takes"))
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.kind.size()
    }

    /// The constant as weights over the same bytes.
    pub fn tensor(&self) -> Result<Tensor, String> {
        let dtype = self.kind.dtype().ok_or_else(|| format!("floating-point numbers, found {:?}", self.kind))?;
        let tensor =
            Tensor::new(dtype, self.shape.clone(), self.bytes.clone()).ok_or("as many numbers as its shape")?;
        Ok(match &self.name {
            Some(name) => tensor.named_in_file(name),
            None => tensor,
        })
    }

    pub fn numbers(&self, budget: &mut Budget) -> Result<Numbers, String> {
        budget.take(self.bytes.len())?;
        Ok(match self.kind {
            Kind::F32 => Numbers::Floats(read(&self.bytes, |b| f64::from(f32::from_le_bytes(b)))),
            Kind::F64 => Numbers::Floats(read(&self.bytes, f64::from_le_bytes)),
            Kind::F16 => Numbers::Floats(read(&self.bytes, |b| f16::from_le_bytes(b).to_f64())),
            Kind::BF16 => Numbers::Floats(read(&self.bytes, |b| bf16::from_le_bytes(b).to_f64())),
            Kind::Bool => Numbers::Ints(read(&self.bytes, |[b]: [u8; 1]| i64::from(b != 0))),
            Kind::U8 => Numbers::Ints(read(&self.bytes, |[b]: [u8; 1]| i64::from(b))),
            Kind::I8 => Numbers::Ints(read(&self.bytes, |b| i64::from(i8::from_le_bytes(b)))),
            Kind::U16 => Numbers::Ints(read(&self.bytes, |b| i64::from(u16::from_le_bytes(b)))),
            Kind::I16 => Numbers::Ints(read(&self.bytes, |b| i64::from(i16::from_le_bytes(b)))),
            Kind::U32 => Numbers::Ints(read(&self.bytes, |b| i64::from(u32::from_le_bytes(b)))),
            Kind::I32 => Numbers::Ints(read(&self.bytes, |b| i64::from(i32::from_le_bytes(b)))),
            Kind::U64 | Kind::I64 => Numbers::Ints(read(&self.bytes, i64::from_le_bytes)),
        })
    }

    /// The elements as floating-point numbers.
    pub fn floats(&self, budget: &mut Budget) -> Result<Vec<f64>, String> {
        match self.numbers(budget)? {
            Numbers::Floats(values) => Ok(values),
            Numbers::Ints(_) => Err(format!("floating-point numbers, found {:?}", self.kind)),
        }
    }

    /// The elements as sizes, axes or indices.
    pub fn to_ints(&self, budget: &mut Budget) -> Result<Vec<i64>, String> {
        match self.numbers(budget)? {
            Numbers::Ints(values) => Ok(values),
            Numbers::Floats(_) => Err(format!("whole numbers, found {:?}", self.kind)),
        }
    }

    /// The only element, whatever the shape; `None` where there are several.
    pub fn scalar(&self) -> Option<f64> {
        if self.len() != 1 {
            return None;
        }
        match self.numbers(&mut Budget::new(0)).ok()? {
            Numbers::Floats(values) => values.first().copied(),
            Numbers::Ints(values) => values.first().map(|&v| v as f64),
        }
    }

    /// The same numbers in another shape.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, String> {
        let expected = || format!("a shape of {} numbers, found {shape:?}", self.len());
        let name = self.name.as_deref();
        Self::new(self.kind, shape.clone(), self.bytes.clone(), name).ok_or_else(expected)
    }

    /// A strided view of the numbers, copied where it is not contiguous.
    pub fn strided(
        &self,
        shape: Vec<usize>,
        strides: &[usize],
        offset: usize,
        budget: &mut Budget,
    ) -> Result<Self, String> {
        let bytes = gather_bytes(self.kind.size(), &shape, strides, offset, &self.bytes, budget)?;
        Ok(Self { kind: self.kind, shape, bytes, name: self.name.clone() })
    }

    /// The strides, in numbers.
    pub fn strides(&self) -> Vec<usize> {
        strides(&self.shape)
    }

    /// The slices at `indices` of an axis, concatenated.
    pub fn take(&self, axis: usize, indices: &[usize], budget: &mut Budget) -> Result<Self, String> {
        let size = self.shape.get(axis).copied().ok_or("an axis that is there")?;
        let inner = self.shape[axis + 1..].iter().product::<usize>() * self.kind.size();
        let outer = self.shape[..axis].iter().product::<usize>();
        let total = outer.checked_mul(inner).and_then(|n| n.checked_mul(indices.len()));
        budget.take(total.ok_or("tensors in proportion to the file")?)?;
        let mut bytes = Vec::with_capacity(outer * inner * indices.len());
        for o in 0..outer {
            for &i in indices {
                let start = (o * size + i) * inner;
                bytes.extend_from_slice(self.bytes.get(start..start + inner).ok_or("an index that is there")?);
            }
        }
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        Self::new(self.kind, shape, bytes.into(), None).ok_or_else(|| "a shape that fits".into())
    }

    /// The concatenation of the parts along an axis.
    pub fn concat(parts: &[&Self], axis: usize, budget: &mut Budget) -> Result<Self, String> {
        let first = parts.first().ok_or("something to join")?;
        let mut shape = first.shape.clone();
        let alike = |part: &&&Self| {
            part.kind == first.kind
                && part.shape.len() == shape.len()
                && (0..shape.len()).all(|i| i == axis || part.shape[i] == shape[i])
        };
        if axis >= shape.len() || !parts.iter().all(|part| alike(&part)) {
            return Err("parts of one type and of shapes that differ in one axis".into());
        }
        let total = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.bytes.len()));
        budget.take(total.ok_or("tensors in proportion to the file")?)?;
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let outer = first.shape[..axis].iter().product::<usize>();
        let mut bytes = Vec::new();
        for o in 0..outer {
            for part in parts {
                let chunk = part.bytes.len() / outer.max(1);
                bytes.extend_from_slice(&part.bytes[o * chunk..(o + 1) * chunk]);
            }
        }
        Self::new(first.kind, shape, bytes.into(), None).ok_or_else(|| "a shape that fits".into())
    }
}

/// The strides of a contiguous array, in numbers.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

fn read<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&b| number(b)).collect()
}
