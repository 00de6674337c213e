//! Weight files: one entry point ([`Weights::open`]), one module per format.

mod affine;
mod batch_norm;
#[cfg(feature = "caffe")]
mod caffe;
mod graph;
#[cfg(feature = "onnx")]
mod onnx;
mod safetensors;
#[cfg(not(target_arch = "wasm32"))]
mod shards;
#[cfg(feature = "torch")]
mod torch;

use std::{collections::BTreeMap, fmt, path::Path};

use bytes::Bytes;

#[cfg(feature = "caffe")]
pub(crate) use self::caffe::mean_pixel;
pub(crate) use self::{
    batch_norm::{BatchNorm, fold, fold_factors},
    graph::Graph,
};
#[cfg(not(target_arch = "wasm32"))]
use crate::weights::map::map;
use crate::{
    model::ModelOptions,
    network::Network,
    weights::{DType, Tensor, Weights, WeightsError, part, splitmix},
};

/// The format of a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// safetensors: a JSON header and the numbers.
    Safetensors,
    /// PyTorch's `torch.save` since 1.6: a zip archive.
    Torch,
    /// PyTorch's `torch.save` before 1.6: a sequence of pickles.
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

/// Information about tensors from their file.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The tensors' names in the file's order, where that is the order of the network's definition.
    pub order: Vec<String>,
    /// The part of the file with the tensors, where the file holds more.
    pub part: Option<String>,
}

/// The content of a weight file: tensors by name, or layers with their tensors.
pub(crate) enum File {
    Tensors(Format, Weights, Notes),
    #[cfg(feature = "onnx")]
    Onnx(onnx::Model),
    #[cfg(feature = "caffe")]
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

    /// Opens weights in a single file.
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

    /// Reads a file from memory; `path` is its origin, and the base of the files that it names.
    pub fn read(bytes: Bytes, path: Option<&Path>) -> Result<Self, WeightsError> {
        if safetensors::recognise(&bytes) {
            return Ok(Self::Tensors(Format::Safetensors, safetensors::read(bytes)?, Notes::default()));
        }
        #[cfg(feature = "torch")]
        if torch::is_zip(&bytes) {
            let (weights, notes) = torch::read_zip(&bytes)?;
            return Ok(Self::Tensors(Format::Torch, weights, notes));
        }
        #[cfg(feature = "torch")]
        if torch::is_pickle(&bytes) {
            let (weights, notes) = torch::read_legacy(&bytes)?;
            return Ok(Self::Tensors(Format::TorchLegacy, weights, notes));
        }
        if let Some(file) = Self::read_message(&bytes, path)? {
            return Ok(file);
        }
        // A header with a wrong length.
        if bytes.get(8) == Some(&b'{') {
            return Ok(Self::Tensors(Format::Safetensors, safetensors::read(bytes)?, Notes::default()));
        }
        let (found, advice) = if bytes.starts_with(&[0x1f, 0x8b]) {
            ("a gzip archive".into(), "unpack it with gunzip or tar")
        } else if is_mean_image(&bytes) {
            ("a mean image of Caffe".into(), "give it as the preprocessing of the .caffemodel that goes with it")
        } else if let Some(name) = other_format(&bytes) {
            (name.into(), "convert it to ONNX or safetensors with the program that wrote it")
        } else {
            (describe(&bytes), "give a file of one of these, or download it again if it should be one")
        };
        Err(WeightsError::malformed("weight file", format!("{FORMATS}, found {found}")).advising(advice))
    }

    /// The same for ONNX and Caffe. Protocol buffers have no magic number: the format is the one whose fields make sense.
    #[cfg_attr(not(any(feature = "onnx", feature = "caffe")), expect(unused_variables, unused_mut))]
    fn read_message(bytes: &Bytes, path: Option<&Path>) -> Result<Option<Self>, WeightsError> {
        let mut damaged = None;
        #[cfg(feature = "onnx")]
        match onnx::Model::read(bytes, path) {
            Ok(Some(model)) => return Ok(Some(Self::Onnx(model))),
            Err(e) if onnx::begins(bytes) => damaged = Some(e),
            _ => {}
        }
        #[cfg(feature = "caffe")]
        match caffe::Net::read(bytes, path) {
            Ok(Some(net)) => return Ok(Some(Self::Caffe(net))),
            Err(e) if caffe::begins(bytes) => damaged = damaged.or(Some(e)),
            _ => {}
        }
        damaged.map_or(Ok(None), Err)
    }

    pub fn format(&self) -> Format {
        match self {
            Self::Tensors(format, ..) => *format,
            #[cfg(feature = "onnx")]
            Self::Onnx(_) => Format::Onnx,
            #[cfg(feature = "caffe")]
            Self::Caffe(_) => Format::Caffe,
        }
    }

    /// The layers, where the file contains them.
    pub fn graph(&self, options: &ModelOptions) -> Option<Result<Graph, WeightsError>> {
        match self {
            Self::Tensors(..) => None,
            #[cfg(feature = "onnx")]
            Self::Onnx(model) => Some(model.graph()),
            #[cfg(feature = "caffe")]
            Self::Caffe(net) => Some(net.graph(options)),
        }
    }

    /// The tensors under their names in the file.
    pub fn into_weights(self) -> Result<Weights, WeightsError> {
        self.into_tensors().map(|(weights, _)| weights)
    }

    /// The same, with the file's information about them.
    pub fn into_tensors(self) -> Result<(Weights, Notes), WeightsError> {
        match self {
            Self::Tensors(_, weights, notes) => Ok((weights, notes)),
            #[cfg(feature = "onnx")]
            Self::Onnx(model) => Ok((model.weights()?, Notes::default())),
            #[cfg(feature = "caffe")]
            Self::Caffe(net) => Ok((net.weights()?, Notes::default())),
        }
    }
}

#[cfg(feature = "caffe")]
use caffe::is_mean_image;

#[cfg(not(feature = "caffe"))]
fn is_mean_image(_: &[u8]) -> bool {
    false
}

/// The supported formats, for error messages.
const FORMATS: &str = if cfg!(all(feature = "torch", feature = "onnx", feature = "caffe")) {
    "safetensors, PyTorch, ONNX or Caffe"
} else {
    "a format that this program was built with (safetensors, and PyTorch, ONNX and Caffe by features)"
};

/// The name of an unsupported format, from its first bytes.
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

/// A description of the first bytes, for error messages.
fn describe(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(40)];
    match std::str::from_utf8(start) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
            format!("the text {text:?} (a web page or a pointer in place of the file?)")
        }
        _ => format!("the bytes {}", start.iter().take(8).map(|b| format!("{b:02x} ")).collect::<String>().trim_end()),
    }
}

/// The remaining bytes of tensors that may be created, rather than borrowed, for one file. Views of a few bytes can be
/// expanded to any size; no real file needs more than a few times its own.
struct Budget(usize);

impl Budget {
    /// The budget for a file of `len` bytes.
    fn new(len: usize) -> Self {
        Self(len.saturating_mul(8).max(1 << 20))
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(bytes).ok_or("tensors in proportion to the file, found far larger ones")?;
        Ok(())
    }
}

/// Copies a strided view (sizes, strides and offset in numbers) to a contiguous tensor; a view that is contiguous already is
/// borrowed.
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
    // Steps through all dimensions but the last, like an odometer.
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

/// Reading and writing of files.
impl Weights {
    /// Reads a weight file. The format is detected from its first bytes (see [`Format`]). The tensors keep their names in the
    /// file.
    ///
    /// # The file must stay as it is
    ///
    /// Files of more than 8 MiB are mapped into memory and read when their numbers are needed, as long as the tensors live.
    /// If another program writes to such a file, the numbers change. If it **truncates** the file, or if a disk fails, this
    /// process ends: on Unix with the signal `SIGBUS`, on Windows (where a mapped file cannot be truncated) with an
    /// exception. To replace a weight file in use, write a new file and rename it, as [`Weights::save`] does.
    ///
    /// Smaller files are copied and may change after this returns. So are files of up to 2 GiB on network and user-space file
    /// systems on Linux (NFS, SMB, FUSE, 9P, …). To copy any other file, read it and call [`Weights::from_bytes`].
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the file cannot be read or contradicts its header.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        File::open(path.as_ref())?.into_weights()
    }

    /// Reads weights from memory.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if the bytes contradict their header.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, WeightsError> {
        File::read(Bytes::from_owner(bytes), None)?.into_weights()
    }

    /// Writes a safetensors file with the tensors, unconverted, and the metadata.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Write`] if the file cannot be written. A partial file is never left behind.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), WeightsError> {
        safetensors::write(self, path.as_ref())
    }
}

/// Checks against networks, and random weights.
impl Weights {
    /// Returns the tensors of `network` out of these, each with its shape. What else is here is left out.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] names the first tensor that is missing or has another shape.
    pub fn of_network(&self, network: &Network) -> Result<Self, WeightsError> {
        let mut weights = Self::default();
        for (name, _) in network.parameters() {
            let tensor = self.tensor(&name)?.clone();
            weights.insert(name, tensor);
        }
        weights.check(network)?;
        Ok(weights)
    }

    /// Checks that these are exactly the tensors of `network`, each with its shape.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] names the first tensor that is missing, has another shape or does not belong to the network.
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

    /// Reproducible random weights for `network`. Tensor i (weight and bias of each layer in order) is drawn from
    /// [`splitmix::uniform`] with seed `seed + i`: weights within √(6 / fan-in) (He et al. 2015), biases within 0.1, the
    /// scales and variances of batch normalisations within 0.1 of 1.
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
