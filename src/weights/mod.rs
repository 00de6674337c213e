//! Weight files: one door ([`Weights::open`]), one file of this folder a format.
//!
//! A [`Tensor`] keeps the bytes as the file has them, shared with the memory map they lie in, and turns
//! them to f32 when they are packed for a kernel: a file is never held twice.

mod affine;
mod batch_norm;
mod caffe;
mod graph;
mod map;
mod onnx;
mod safetensors;
#[cfg(not(target_arch = "wasm32"))]
mod shards;
mod torch;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use half::{bf16, f16};

use self::map::{Map, map};
pub(crate) use self::{
    batch_norm::{BatchNorm, fold},
    caffe::mean_pixel,
    graph::Graph,
};
use crate::{
    model::ModelOptions,
    network::{Network, nearest},
};

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
    /// Whole numbers of -127 to 127 times an f32 scale, one for each row of the first axis.
    I8,
}

impl DType {
    /// Bytes of one number.
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

/// A part of `bytes`; `None` where it does not lie within them.
fn part(bytes: &Bytes, range: Range<usize>) -> Option<Bytes> {
    (range.start <= range.end && range.end <= bytes.len()).then(|| bytes.slice(range))
}

/// A tensor as a file stores it: little-endian numbers, the last dimension contiguous.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Bytes,
    /// Of int8, one for each row; of the others, none.
    scales: Arc<[f32]>,
    /// What its file calls it, where the network calls it otherwise.
    alias: Option<Arc<str>>,
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there are no files in a browser"))]
    map: Map,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

impl Tensor {
    /// A tensor over the bytes of floating-point numbers; `None` where their number is not that of the shape.
    pub(crate) fn new(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        Self::with_scales(dtype, shape, bytes, Arc::default())
    }

    /// A tensor over bytes; `None` where they, or the scales of int8, are not as many as the shape says.
    fn with_scales(dtype: DType, shape: Vec<usize>, bytes: Bytes, scales: Arc<[f32]>) -> Option<Self> {
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
        let bytes = Bytes::from_owner(Floats(values));
        Self { dtype: DType::F32, shape, bytes, scales: Arc::default(), alias: None, map: None }
    }

    /// [`Weights::release`] for some of the numbers.
    pub(crate) fn release(&self, numbers: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            let size = self.dtype.size();
            map::release(map, &self.bytes[numbers.start * size..numbers.end * size]);
        }
        #[cfg(not(unix))]
        let _ = numbers;
    }

    /// The same numbers in another shape; `None` where their number is not that of the shape, or int8 has other rows.
    pub(crate) fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Option<Self> {
        let reshaped = Self::with_scales(self.dtype, shape.into(), self.bytes.clone(), self.scales.clone())?;
        Some(Self { shape: reshaped.shape, ..self.clone() })
    }

    /// The same, with the name that it has in its file, for errors. The first one stays.
    pub(crate) fn named_in_file(mut self, name: &str) -> Self {
        self.alias.get_or_insert_with(|| name.into());
        self
    }

    /// What the file calls the tensor that the network calls `name`.
    fn name_in_file(&self, name: &str) -> String {
        self.alias.as_deref().unwrap_or(name).into()
    }

    /// Which numbers there are: all of them.
    pub(crate) fn numbers(&self) -> Range<usize> {
        0..self.bytes.len() / self.dtype.size()
    }

    /// Some of the numbers as f32, if all of those are finite.
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

    /// The numbers rounded to another type, by way of f32.
    ///
    /// To int8, each row of the first axis by itself: its scale is the largest magnitude in it / 127, so that nothing is
    /// off by more than half a scale. A row with a NaN or an infinity becomes NaN.
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
            // Not `max`, which passes over a NaN.
            let largest = row.iter().map(|v| v.abs()).fold(0.0, |a: f32, v| if v > a || v.is_nan() { v } else { a });
            let scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
            // Where the scale is too small a number to divide by, so is everything in the row.
            let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
            // Rust's conversion turns a NaN to 0.
            bytes.extend(row.iter().map(|v| (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8));
            scales.push(scale);
        }
        Self { dtype: DType::I8, shape, bytes: bytes.into(), scales: scales.into(), alias: None, map: None }
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
        &self.bytes
    }

    /// What the numbers of each row of the first axis are to be multiplied by, for int8; empty for other types.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The numbers as f32, borrowed where they are stored so; f64 is rounded to nearest, int8 is multiplied by its scales.
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

    /// Some of [`Tensor::to_f32`]'s numbers.
    ///
    /// # Panics
    ///
    /// When there are not as many.
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

/// How many scales int8 numbers of this shape have: one for each row of the first axis, none where there are no numbers.
fn rows(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.first().copied().unwrap_or(1) }
}

fn read<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&b| number(b)).collect()
}

/// How a weight file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// safetensors: a JSON header and the numbers.
    Safetensors,
    /// PyTorch's `torch.save` since 1.6: a zip archive.
    Torch,
    /// PyTorch's `torch.save` before 1.6: pickles one after another.
    TorchLegacy,
    /// An ONNX model: a graph with its weights.
    Onnx,
    /// A `.caffemodel`: layers with their weights.
    Caffe,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "PyTorch",
            Self::TorchLegacy => "PyTorch (legacy)",
            Self::Onnx => "ONNX",
            Self::Caffe => "Caffe",
        })
    }
}

/// What a file of tensors tells beside them.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The tensors' names in the file's order, where that is the order in which the network was written.
    pub order: Vec<String>,
    /// Which part of the file the tensors are, where it holds more.
    pub part: Option<String>,
}

/// A weight file that is read: tensors by name, or layers with their tensors.
pub(crate) enum File {
    Tensors(Format, Weights, Notes),
    Onnx(onnx::Model),
    Caffe(caffe::Net),
}

impl File {
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        match shards::index_of(path)? {
            Some(index) => shards::open(&index).map(|(format, weights, notes)| Self::Tensors(format, weights, notes)),
            None => Self::open_one(path),
        }
    }

    /// The same for weights that lie in one file.
    #[cfg(not(target_arch = "wasm32"))]
    fn open_one(path: &Path) -> Result<Self, WeightsError> {
        let (bytes, map) = map(path)?;
        if bytes.is_empty() {
            return Err(WeightsError::malformed("weight file", "at least a header, found an empty file"));
        }
        let within = |bytes: &[u8]| map.as_ref().is_some_and(|map| map.as_ptr_range().contains(&bytes.as_ptr()));
        let mut file = Self::read(bytes, Some(path))?;
        if let Self::Tensors(_, weights, _) = &mut file {
            weights.tensors.values_mut().filter(|t| within(&t.bytes)).for_each(|t| t.map = map.clone());
        }
        Ok(file)
    }

    /// Reads a file that lies in memory; `path` is where it comes from, and so where files lie that it names.
    pub fn read(bytes: Bytes, path: Option<&Path>) -> Result<Self, WeightsError> {
        if safetensors::recognise(&bytes) {
            return Ok(Self::Tensors(Format::Safetensors, safetensors::read(bytes)?, Notes::default()));
        }
        if torch::is_zip(&bytes) {
            let (weights, notes) = torch::read_zip(&bytes)?;
            return Ok(Self::Tensors(Format::Torch, weights, notes));
        }
        if torch::is_pickle(&bytes) {
            let (weights, notes) = torch::read_legacy(&bytes)?;
            return Ok(Self::Tensors(Format::TorchLegacy, weights, notes));
        }
        // Protocol buffers have no magic number: the one whose fields make sense is it.
        match (onnx::Model::read(&bytes, path), caffe::Net::read(&bytes, path)) {
            (Ok(Some(model)), _) => Ok(Self::Onnx(model)),
            (_, Ok(Some(net))) => Ok(Self::Caffe(net)),
            (Err(e), _) if onnx::begins(&bytes) => Err(e),
            (_, Err(e)) if caffe::begins(&bytes) => Err(e),
            // A header that lies about its length.
            _ if bytes.get(8) == Some(&b'{') => {
                Ok(Self::Tensors(Format::Safetensors, safetensors::read(bytes)?, Notes::default()))
            }
            _ if bytes.starts_with(&[0x1f, 0x8b]) => {
                let what = "safetensors, PyTorch, ONNX or Caffe, found a gzip archive";
                Err(WeightsError::malformed("weight file", what).advising("unpack it with gunzip or tar"))
            }
            _ => {
                let (found, advice) = match other_format(&bytes) {
                    Some(name) => (name.into(), "convert it to ONNX or safetensors with the program that wrote it"),
                    None => (describe(&bytes), "give a file of one of these, or download it again if it should be one"),
                };
                let what = format!("safetensors, PyTorch, ONNX or Caffe, found {found}");
                Err(WeightsError::malformed("weight file", what).advising(advice))
            }
        }
    }

    pub fn format(&self) -> Format {
        match self {
            Self::Tensors(format, ..) => *format,
            Self::Onnx(_) => Format::Onnx,
            Self::Caffe(_) => Format::Caffe,
        }
    }

    /// The layers, where the file says them.
    pub fn graph(&self, options: &ModelOptions) -> Option<Result<Graph, WeightsError>> {
        match self {
            Self::Tensors(..) => None,
            Self::Onnx(model) => Some(model.graph()),
            Self::Caffe(net) => Some(net.graph(options)),
        }
    }

    /// The tensors under the names that the file gives them.
    pub fn into_weights(self) -> Result<Weights, WeightsError> {
        self.into_tensors().map(|(weights, _)| weights)
    }

    /// The same, with what the file tells of them.
    pub fn into_tensors(self) -> Result<(Weights, Notes), WeightsError> {
        match self {
            Self::Tensors(_, weights, notes) => Ok((weights, notes)),
            Self::Onnx(model) => Ok((model.weights()?, Notes::default())),
            Self::Caffe(net) => Ok((net.weights()?, Notes::default())),
        }
    }
}

/// Other programs' formats by their first bytes.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    const FORMATS: [(usize, &[u8], &str); 6] = [
        (0, b"\x89HDF", "an HDF5 file, as Keras writes them"),
        (0, b"\x93NUMPY", "an array of NumPy"),
        (4, b"TFL3", "a TensorFlow Lite model"),
        (0, b"GGUF", "a GGUF file"),
        (0, b"\x12\x01\0\0\0\0\0\0", "an MXNet file"),
        (0, b"name: \"", "a description of a network as text, without weights"),
    ];
    let begins = |&&(at, magic, _): &&(usize, &[u8], &str)| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    FORMATS.iter().find(begins).map(|(_, _, name)| *name)
}

/// What the first bytes look like, for a message.
fn describe(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(40)];
    match std::str::from_utf8(start) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
            format!("the text {text:?} (a web page or a pointer in place of the file?)")
        }
        _ => format!("the bytes {}", start.iter().take(8).map(|b| format!("{b:02x} ")).collect::<String>().trim_end()),
    }
}

/// A text of a file, short enough for a message.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// How many bytes of tensors may be made, rather than borrowed, for one file. Views of a few bytes can be
/// unfolded to any size; no real file needs more than a few times its own.
struct Budget(usize);

impl Budget {
    /// For a file of `len` bytes.
    fn new(len: usize) -> Self {
        Self(len.saturating_mul(8).max(1 << 20))
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(bytes).ok_or("tensors in proportion to the file, found far larger ones")?;
        Ok(())
    }
}

/// Copies a strided view (sizes, strides and offset in numbers) to a tensor whose last dimension is contiguous;
/// a view that is contiguous already is borrowed.
fn gather(
    dtype: DType,
    shape: Vec<usize>,
    strides: &[usize],
    offset: usize,
    source: &Bytes,
    budget: &mut Budget,
) -> Result<Tensor, String> {
    let bytes = gather_bytes(dtype.size(), &shape, strides, offset, source, budget)?;
    Tensor::new(dtype, shape, bytes).ok_or_else(|| OUTSIDE.into())
}

const OUTSIDE: &str = "a view that lies within its numbers";

/// [`gather`] for numbers of `size` bytes.
fn gather_bytes(
    size: usize,
    shape: &[usize],
    strides: &[usize],
    offset: usize,
    source: &Bytes,
    budget: &mut Budget,
) -> Result<Bytes, String> {
    let count = shape.iter().try_fold(size, |a, &d| a.checked_mul(d)).ok_or(OUTSIDE)?;
    let mut contiguous = true;
    let (mut last, mut step) = (offset, 1usize);
    for (&n, &stride) in shape.iter().zip(strides).rev() {
        contiguous &= n <= 1 || stride == step;
        last = n.saturating_sub(1).checked_mul(stride).and_then(|d| last.checked_add(d)).ok_or(OUTSIDE)?;
        step = step.saturating_mul(n);
    }
    if count == 0 {
        return Ok(Bytes::new());
    }
    let end = last.checked_add(1).and_then(|n| n.checked_mul(size)).filter(|&n| n <= source.len()).ok_or(OUTSIDE)?;
    if contiguous {
        return part(source, offset * size..end).ok_or_else(|| OUTSIDE.into());
    }
    budget.take(count)?;
    let mut bytes = Vec::with_capacity(count);
    // Walks the dimensions but the last like an odometer.
    let (inner, inner_stride) = (shape[shape.len() - 1], strides[shape.len() - 1]);
    let mut index = vec![0; shape.len() - 1];
    let mut start = offset;
    loop {
        for i in 0..inner {
            let at = (start + i * inner_stride) * size;
            bytes.extend_from_slice(&source[at..at + size]);
        }
        let mut axis = index.len();
        loop {
            if axis == 0 {
                return Ok(bytes.into());
            }
            axis -= 1;
            index[axis] += 1;
            start += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            start -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
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
    /// Reads a weight file; the format is recognised from its first bytes ([`Format`] lists them). The tensors
    /// keep the names they have in the file.
    ///
    /// # The file must stay as it is
    ///
    /// Files of more than 8 MiB are mapped into memory and read when their numbers are needed, as long as the tensors live.
    /// Another program that writes into such a file changes the numbers. One that **truncates** it, or a disk that fails, ends
    /// this process: on Unix with the signal `SIGBUS`, on Windows (where a mapped file cannot be truncated) with an exception. To
    /// replace a weight file in use, write another one and rename it, as [`Weights::save`] does.
    ///
    /// Smaller files are copied, and on Linux files of a network or user-space file system (NFS, SMB, FUSE, 9P, …) of up to 2 GiB
    /// too: they may change once this has returned. To copy any other file, read it and call [`Weights::from_bytes`].
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when the file cannot be read or is not what its header says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        File::open(path.as_ref())?.into_weights()
    }

    /// Reads weights that lie in memory already.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when the bytes are not what their header says.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, WeightsError> {
        File::read(Bytes::from_owner(bytes), None)?.into_weights()
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

    /// The same with every number rounded to another type. Numbers beyond f16's 65504 become infinite there. To int8, only
    /// the weights of convolutions and fully connected layers (`NAME.weight`, a row for each output); biases become f32.
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
    /// [`WeightsError::Missing`] with the nearest name that is there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, WeightsError> {
        self.tensors.get(name).ok_or_else(|| WeightsError::Missing {
            tensor: name.into(),
            nearest: nearest(name, self.tensors.keys().map(String::as_str)).unwrap_or("nothing").into(),
        })
    }

    /// Lets go of the memory that the tensors take, where they lie in a mapped file: they are read from it again when they
    /// are needed again.
    pub(crate) fn release(&self) {
        for tensor in self.tensors.values() {
            tensor.release(tensor.numbers());
        }
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
                let (tensor, found) = (tensor.name_in_file(&name), tensor.shape.clone());
                return Err(WeightsError::Shape { tensor, expected, found });
            }
        }
        let known: std::collections::BTreeSet<String> = network.parameters().map(|(n, _)| n).collect();
        let extra = self.tensors.iter().filter(|(name, _)| !known.contains(*name));
        match WeightsError::extra(extra.map(|(name, tensor)| tensor.name_in_file(name)), network.name()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Checks that every number is finite. Reads all of them.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NotFinite`] with the first that is not.
    pub fn check_finite(&self) -> Result<(), WeightsError> {
        self.tensors.iter().try_for_each(|(name, tensor)| tensor.finite(name, tensor.numbers()).map(drop))
    }

    /// Reproducible random weights for `network`, without a file: tensor i (weight and bias of each layer in
    /// order) is drawn from [`splitmix::uniform`] with seed `seed + i`; weights within √(6 / fan-in) (He et
    /// al. 2015), biases within 0.1, the scales and variances of batch normalisations within 0.1 of 1.
    pub fn random(network: &Network, seed: u64) -> Self {
        let mut tensors = BTreeMap::new();
        for (i, (name, shape)) in network.parameters().enumerate() {
            let count = shape.iter().product();
            let bound = match shape[1..].iter().product::<usize>() {
                1 if shape.len() == 1 => 0.1,
                fan_in => (6.0 / fan_in as f64).sqrt() as f32,
            };
            let mut values = splitmix::uniform(seed.wrapping_add(i as u64), count, bound);
            if name.ends_with(".running_var") || shape.len() == 1 && name.ends_with(".weight") {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
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
    #[error("not a usable {format}: expected {what}; {advice}")]
    Format {
        /// The format.
        format: &'static str,
        /// What was expected and found.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// A pickle asks for something that is not a tensor.
    #[error(
        "the pickle asks for `{global}`, which is no tensor (nothing was executed): if you trust its author, save \
         `model.state_dict()` with the program that wrote it"
    )]
    Global {
        /// Module and name.
        global: String,
    },
    /// A graph's node that cannot be run as a layer of a sequential network.
    #[error("node `{node}`: operator {operator} expected {what}; only sequential convolutional networks can be run")]
    Operator {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// What was expected and found.
        what: String,
    },
    /// A graph's node whose operator no layer computes.
    #[error(
        "node `{node}`: no layer computes operator {operator}{others}; docs/networks.md lists those that are: export the \
         network with them alone"
    )]
    UnknownOperator {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// The other such operators of the graph, in words that follow a comma; nothing where there are none.
        others: String,
    },
    /// A tensor's numbers are of a kind that is not read.
    #[error(
        "tensor `{tensor}`: expected f16, bf16, f32 or f64, found {found}: save it as one of these, or leave it out where it is \
         no weight"
    )]
    DType {
        /// The tensor.
        tensor: String,
        /// Its kind.
        found: String,
    },
    /// An int8 tensor lacks scales that fit it.
    #[error(
        "tensor `{tensor}` is int8: expected {expected} finite f32 numbers in `{tensor}.scale`, one for each row, found \
         {found}: convert the original file again"
    )]
    Scales {
        /// The tensor.
        tensor: String,
        /// Its rows.
        expected: usize,
        /// What is there.
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
    #[error(
        "tensor `{tensor}` has no place in network `{network}`{others}: save the weights without it, or choose the network that \
         has it"
    )]
    Extra {
        /// The tensor.
        tensor: String,
        /// More such tensors, in words that follow a comma; nothing where there are none.
        others: String,
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
    /// The layers that a file speaks of do not fit together.
    #[error("the file's network cannot be run: {0}")]
    Network(#[from] crate::NetworkError),
    /// A batch normalisation that cannot be computed with the layer before it.
    #[error(
        "batch normalisation `{layer}`: expected {what}: export the network to ONNX, which says how its layers follow each other"
    )]
    BatchNorm {
        /// The layer.
        layer: String,
        /// What was expected and found.
        what: String,
    },
    /// No network with these tensors is known.
    #[error(
        "no network recognised: {0}; tensors do not tell how layers follow each other: give any other network than an AlexNet as \
         JSON, or take an ONNX or Caffe file of it"
    )]
    Unrecognised(String),
    /// A note in the file's metadata cannot be understood.
    #[error(
        "metadata `{key}`: expected {expected}, found `{found}`{reason}: correct the note in the file, convert the original again, or \
         give the {key} yourself"
    )]
    Metadata {
        /// The key.
        key: String,
        /// What may stand there.
        expected: String,
        /// What stands there, or its beginning.
        found: String,
        /// What is wrong with it, in parentheses after a space; nothing where that is plain.
        reason: String,
    },
    /// The preprocessing does not make the network's input of a picture.
    #[error("the preprocessing ({origin}) does not fit the network: {error}; give another in its place")]
    Preprocessing {
        /// Where it comes from.
        origin: String,
        /// What does not fit.
        #[source]
        error: crate::PreprocessingError,
    },
    /// The network's output is too long for a list of classes.
    #[error(
        "expected a network that ends in maps or a vector of at most {} classes, found an output of {output}: export the \
         network with its classifier",
        crate::Model::MAX_CLASSES
    )]
    Classes {
        /// The output's shape.
        output: crate::Shape,
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

impl WeightsError {
    /// What is usually to be done about a file that is not what it should be.
    pub(crate) fn malformed(format: &'static str, what: impl Into<String>) -> Self {
        Self::Format { format, what: what.into(), advice: "download or convert the file again" }
    }

    /// The same, where something better is to be done.
    pub(crate) fn advising(self, advice: &'static str) -> Self {
        match self {
            Self::Format { format, what, .. } => Self::Format { format, what, advice },
            other => other,
        }
    }

    /// That these tensors are not the network's; `None` where there are none.
    pub(crate) fn extra(mut names: impl Iterator<Item = String>, network: &str) -> Option<Self> {
        let tensor = clip(&names.next()?);
        let named: Vec<String> = names.by_ref().take(3).map(|name| format!("`{}`", clip(&name))).collect();
        let more = match names.count() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let others = if named.is_empty() { String::new() } else { format!(", nor have {}{more}", named.join(", ")) };
        Some(Self::Extra { tensor, others, network: network.into() })
    }
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

    /// Reading some numbers of a mapped file brings back what lies around them.
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
        // kB of the file that are in this process's memory.
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
        // But for the header's pages.
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
