//! The index on disk: a safetensors file with the vectors in f16, the names, sizes and times of the files, and in its metadata
//! which features these are.

use std::{
    array::from_fn,
    borrow::Cow,
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use alexnet_wgpu::{FeatureSpec, Model, NetworkError, Preprocessing, Weights, write_atomically};
use half::{f16, slice::HalfFloatSliceExt};
use safetensors::{Dtype, SafeTensors, View, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::folder::{Name, Stamp};
use crate::failure::Failure;

/// The metadata's key.
const KEY: &str = "alexnet.index";
const VERSION: u64 = 1;

/// The SHA-256 of names, shapes and bytes of weights, in hexadecimal.
pub fn weights_hash(weights: &Weights) -> String {
    let mut hash = Sha256::new();
    for (name, tensor) in weights {
        hash.update(name);
        hash.update(format!("{:?}", tensor.shape()));
        hash.update(tensor.bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which features an index holds. Only vectors of the same features can be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    spec: FeatureSpec,
    preprocessing: Preprocessing,
    /// The SHA-256 of the weights.
    weights: String,
    /// The length of a vector.
    pub dims: usize,
}

impl Features {
    /// The features of a model.
    pub fn new(spec: &FeatureSpec, model: &Model) -> Result<Self, NetworkError> {
        let weights = weights_hash(&model.weights);
        let dims = spec.dims(&model.network)?;
        Ok(Self { spec: spec.clone(), preprocessing: model.preprocessing, weights, dims })
    }

    fn describe(&self) -> String {
        let layers = self.spec.layers.iter().map(|pooled| format!("{} of {}", pooled.pooling, pooled.layer));
        let root = if self.spec.root { ", square roots" } else { "" };
        let [height, width] = self.preprocessing.crop;
        let weights = self.weights.get(..8).unwrap_or(&self.weights);
        format!(
            "{} in {} bands{root}, {} numbers, pictures of {width}×{height}, weights {weights}",
            layers.collect::<Vec<_>>().join(" + "),
            self.spec.bands,
            self.dims
        )
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u64,
    /// The version of the command that could not read the unreadable pictures.
    command: String,
    #[serde(flatten)]
    features: Features,
}

/// The vectors of a folder's pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    pub names: Vec<Name>,
    pub stamps: Vec<Stamp>,
    /// A row per picture.
    pub vectors: Vec<f32>,
    /// Files that are no pictures, which need no second look until they change.
    pub unreadable: Vec<Unreadable>,
}

/// A file that cannot be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    pub name: Name,
    pub stamp: Stamp,
    pub reason: String,
}

/// The place of a folder's index, where none is given.
pub fn usual_place(folder: &Path) -> PathBuf {
    folder.join(".alexnet-index.safetensors")
}

impl Index {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn push(&mut self, name: Name, stamp: Stamp, vector: &[f32]) {
        self.names.push(name);
        self.stamps.push(stamp);
        self.vectors.extend_from_slice(vector);
    }

    /// The vector of a picture.
    pub fn vector(&self, row: usize) -> &[f32] {
        let dims = self.vectors.len() / self.len().max(1);
        &self.vectors[row * dims..(row + 1) * dims]
    }

    /// The rows of `keep`, in that order, without the unreadable files.
    pub fn select(&self, keep: impl IntoIterator<Item = usize>) -> Self {
        let mut selected = Self::default();
        for row in keep {
            selected.push(self.names[row].clone(), self.stamps[row], self.vector(row));
        }
        selected
    }

    /// The same files in the order of their names.
    pub fn sorted(&self) -> Self {
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.sort_by(|&a, &b| self.names[a].cmp(&self.names[b]));
        let mut sorted = self.select(rows);
        sorted.unreadable = self.unreadable.clone();
        sorted.unreadable.sort_by(|a, b| a.name.cmp(&b.name));
        sorted
    }

    /// Reads the index at `path`; `None` where there is no file.
    pub fn read(path: &Path, features: &Features) -> Result<Option<Self>, Failure> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::run(format!("cannot read {}: {error}", path.display()))),
        };
        let read = Self::parse(&bytes, features);
        read.map(Some).map_err(|reason| Failure::run(format!("{}: {reason}", path.display())))
    }

    fn parse(bytes: &[u8], features: &Features) -> Result<Self, String> {
        const AGAIN: &str = "make it again with `alexnet index --rebuild`";
        let damaged = |reason: &str| format!("expected a whole index, found a damaged one ({reason}): {AGAIN}");
        let foreign = |found: &str| {
            format!("expected an index as `alexnet index` writes it, found {found}: give another file as --index")
        };
        // Eight bytes with the header's length, then a brace.
        if !matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..]) {
            return Err(if bytes.is_empty() { damaged("an empty file") } else { foreign("something else") });
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header = header.ok_or_else(|| foreign("another safetensors file"))?;
        // The version goes first: a newer one may have anything else.
        let value: serde_json::Value = serde_json::from_str(header).map_err(|e| damaged(&e.to_string()))?;
        match value["version"].as_u64() {
            Some(VERSION) => {}
            Some(version) => {
                let what = if version > VERSION { "update this command, or " } else { "" };
                return Err(format!("expected an index of version {VERSION}, found version {version}: {what}{AGAIN}"));
            }
            None => return Err(damaged("no version")),
        }
        let found: Header = serde_json::from_value(value).map_err(|e| damaged(&e.to_string()))?;
        if found.features != *features {
            let [expected, found] = [features, &found.features].map(Features::describe);
            return Err(format!("expected the features {expected}, found {found}: {AGAIN}"));
        }
        let tables = Tables { file: &file };
        let (names, stamps) = tables.files("").map_err(|e| damaged(&e))?;
        let (bad, bad_stamps) = tables.files("unreadable.").map_err(|e| damaged(&e))?;
        let reasons = tables.texts("unreadable.reasons").map_err(|e| damaged(&e))?;
        let mut order: Vec<&Name> = names.iter().chain(&bad).collect();
        order.sort_unstable();
        if !order.iter().all(|name| name.is_valid()) || order.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(damaged("names that no folder has"));
        }
        if reasons.len() != bad.len() {
            return Err(damaged("tables of different lengths"));
        }
        let view = tables.get("vectors", Dtype::F16).map_err(|e| damaged(&e))?;
        if *view.shape() != [names.len(), features.dims] {
            return Err(damaged(&format!("{} pictures, and vectors of shape {:?}", names.len(), view.shape())));
        }
        let vectors = vectors(view.data(), features.dims).ok_or_else(|| damaged("vectors that are not of length 1"))?;
        let mut unreadable = Vec::new();
        // A newer version may read more.
        if found.command == env!("CARGO_PKG_VERSION") {
            for ((name, stamp), reason) in bad.into_iter().zip(bad_stamps).zip(reasons) {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                unreadable.push(Unreadable { name, stamp, reason });
            }
        }
        Ok(Self { names, stamps, vectors, unreadable })
    }

    /// Writes the index: the file at `path` is whole, or as it was.
    pub fn write(&self, path: &Path, features: &Features) -> Result<(), Failure> {
        let cannot = |error: &dyn std::fmt::Display| {
            let hint = "where the folder is read-only, give a place with --index";
            Failure::run(format!("cannot write {}: {error} ({hint})", path.display()))
        };
        let command = env!("CARGO_PKG_VERSION").into();
        let header = serde_json::to_string(&Header { version: VERSION, command, features: features.clone() })?;
        let mut halves = vec![f16::ZERO; self.vectors.len()];
        halves.convert_from_f32_slice(&self.vectors);
        let data = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let vectors = Part { dtype: Dtype::F16, shape: vec![self.len(), features.dims], data };
        let bad = &self.unreadable;
        let mut tensors = vec![
            ("vectors", vectors),
            ("names", Part::texts(self.names.iter().map(|name| &name.0[..]))),
            ("unreadable.names", Part::texts(bad.iter().map(|bad| &bad.name.0[..]))),
            ("unreadable.reasons", Part::texts(bad.iter().map(|bad| bad.reason.as_bytes()))),
        ];
        for (sizes, times, stamps) in [
            ("sizes", "modified", self.stamps.clone()),
            ("unreadable.sizes", "unreadable.modified", bad.iter().map(|bad| bad.stamp).collect()),
        ] {
            let (size, time) = (|stamp: &Stamp| stamp.size.to_le_bytes(), |stamp: &Stamp| stamp.modified.to_le_bytes());
            let part = |dtype, data| Part { dtype, shape: vec![stamps.len()], data };
            tensors.push((sizes, part(Dtype::U64, stamps.iter().flat_map(size).collect())));
            tensors.push((times, part(Dtype::I64, stamps.iter().flat_map(time).collect())));
        }
        let metadata = HashMap::from([(KEY.to_string(), header)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| cannot(&e))?;
        write_atomically(path, |file| file.write_all(&bytes)).map_err(|e| cannot(&e))
    }
}

/// Vectors of f16 numbers, in little-endian bytes, as f32. `None` where one is not of length 1 up to its rounding, or of zeros.
fn vectors(bytes: &[u8], dims: usize) -> Option<Vec<f32>> {
    let halves: Vec<f16> = bytes.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half)).collect();
    let mut floats = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut floats);
    for vector in floats.chunks_exact_mut(dims.max(1)) {
        let norm = vector.as_chunks::<8>().0.iter().fold([0.0_f32; 8], |sums, x| from_fn(|i| sums[i] + x[i] * x[i]));
        let rest: f32 = vector.as_chunks::<8>().1.iter().map(|x| x * x).sum();
        let norm = (norm.iter().sum::<f32>() + rest).sqrt();
        if (0.99..1.01).contains(&norm) {
            vector.iter_mut().for_each(|x| *x /= norm);
        } else if norm != 0.0 {
            return None;
        }
    }
    Some(floats)
}

/// The tensors of an index.
struct Tables<'a> {
    file: &'a SafeTensors<'a>,
}

impl<'a> Tables<'a> {
    fn get(&self, name: &str, dtype: Dtype) -> Result<TensorView<'a>, String> {
        match self.file.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view),
            Ok(view) => Err(format!("{name} of type {:?}", view.dtype())),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Texts that each end with a zero.
    fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, String> {
        match self.get(name, Dtype::U8)?.data() {
            [] => Ok(vec![]),
            [texts @ .., 0] => Ok(texts.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()),
            _ => Err(format!("{name} without an end")),
        }
    }

    /// Names with their stamps.
    fn files(&self, prefix: &str) -> Result<(Vec<Name>, Vec<Stamp>), String> {
        let numbers = |name: &str, dtype| {
            let view = self.get(&format!("{prefix}{name}"), dtype)?;
            Ok::<_, String>(view.data().as_chunks().0.to_vec())
        };
        let (sizes, times) = (numbers("sizes", Dtype::U64)?, numbers("modified", Dtype::I64)?);
        let names: Vec<Name> = self.texts(&format!("{prefix}names"))?.into_iter().map(Name).collect();
        if [sizes.len(), times.len()] != [names.len(); 2] {
            return Err("tables of different lengths".into());
        }
        let stamp = |(size, time)| Stamp { size: u64::from_le_bytes(size), modified: i64::from_le_bytes(time) };
        Ok((names, sizes.into_iter().zip(times).map(stamp).collect()))
    }
}

/// A tensor to be written.
struct Part {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Part {
    /// Texts that each end with a zero, which none of them has.
    fn texts<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let data: Vec<u8> = texts.flat_map(|text| text.iter().copied().filter(|&byte| byte != 0).chain([0])).collect();
        Self { dtype: Dtype::U8, shape: vec![data.len()], data }
    }
}

impl View for Part {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn damaged_files_are_errors() {
        let model = FeatureSpec::imagenet_model().unwrap();
        let mut features = Features::new(&FeatureSpec::default(), &model).unwrap();
        features.dims = 3;
        let name = |text: &str| Name(text.into());
        let stamp = |size| Stamp { size, modified: -5 };
        let mut index = Index::default();
        index.push(name("b/a.png"), stamp(7), &[0.0, 1.0, 0.0]);
        index.push(name("a.png"), stamp(u64::MAX), &[0.6, 0.0, 0.8]);
        index.push(name("black.png"), stamp(0), &[0.0; 3]);
        let reason = "expected a picture".into();
        index.unreadable.push(Unreadable { name: name("c.png"), stamp: stamp(1), reason });
        let file = tempfile::NamedTempFile::new().unwrap();
        index.write(file.path(), &features).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let read = Index::parse(&bytes, &features).unwrap();
        assert_eq!((&read.names, &read.stamps, &read.unreadable), (&index.names, &index.stamps, &index.unreadable));
        assert!(read.vectors.iter().zip(&index.vectors).all(|(a, b)| (a - b).abs() < 1e-3), "{:?}", read.vectors);
        assert_eq!(read.sorted().names, ["a.png", "b/a.png", "black.png"].map(name));

        for end in 0..bytes.len() {
            Index::parse(&bytes[..end], &features).unwrap_err();
        }
        // Any byte may be any other: an error or other numbers, and no panic.
        let mut refused = 0;
        for at in 0..bytes.len() {
            for value in [0, 1, b'9', 0x7F, 0xFF] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                refused += usize::from(Index::parse(&bytes, &features).is_err());
            }
        }
        assert!(refused > bytes.len(), "{refused} of {}", 5 * bytes.len());
    }
}
