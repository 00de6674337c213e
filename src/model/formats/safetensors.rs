//! safetensors files, read by the `safetensors` crate, whose header check is the format's own.
//!
//! The format has no quantised numbers. An int8 tensor `NAME` is written as I8 with its scales in `NAME.scale`, F32, one per
//! row of the first axis.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
#[cfg(not(target_arch = "wasm32"))]
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use crate::weights::{self, DType, Tensor, Weights, WeightsError, part, rows};

/// Whether a file begins like safetensors: eight bytes with the header's length, then a brace. No other format has four zeros
/// before a brace there.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

pub(super) fn read(bytes: Bytes) -> Result<Weights, WeightsError> {
    let format = |e: safetensors::SafeTensorError| {
        WeightsError::malformed("safetensors file", format!("a whole header and the tensors it names, found {e}"))
    };
    let data: &[u8] = &bytes;
    let (_, header) = SafeTensors::read_metadata(data).map_err(format)?;
    let file = SafeTensors::deserialize(data).map_err(format)?;
    let mut tensors = BTreeMap::new();
    let mut scales = BTreeSet::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::I8 => DType::I8,
            // A counter of batches in batch normalisation, not needed for inference.
            _ if name.ends_with("num_batches_tracked") => continue,
            other => {
                return Err(WeightsError::DType { tensor: name.into(), found: format!("{other:?}").to_lowercase() });
            }
        };
        let of_rows = match dtype {
            DType::I8 => {
                scales.insert(scale_name(name));
                read_scales(&file, name, rows(view.shape()))?
            }
            _ => Vec::new(),
        };
        let start = view.data().as_ptr() as usize - data.as_ptr() as usize;
        let tensor = part(&bytes, start..start + view.data().len())
            .and_then(|part| Tensor::with_scales(dtype, view.shape().to_vec(), part, of_rows.into()))
            .ok_or_else(|| {
                let what = format!("as many bytes as `{name}`'s shape {:?} takes", view.shape());
                WeightsError::malformed("safetensors file", what)
            })?;
        tensors.insert(name.to_string(), tensor);
    }
    tensors.retain(|name, _| !scales.contains(name));
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Weights { tensors, metadata })
}

/// The name of the tensor with the scales of the int8 tensor `name`.
fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

fn read_scales(file: &SafeTensors<'_>, tensor: &str, expected: usize) -> Result<Vec<f32>, WeightsError> {
    let fail = |found: String| WeightsError::Scales { tensor: tensor.into(), expected, found };
    let view = file.tensor(&scale_name(tensor)).map_err(|_| fail("no such tensor".into()))?;
    if view.dtype() != Dtype::F32 || view.shape() != [expected] {
        return Err(fail(format!("{:?} of shape {:?}", view.dtype(), view.shape())));
    }
    let scales = weights::read(view.data(), f32::from_le_bytes);
    match scales.iter().position(|scale| !scale.is_finite()) {
        Some(row) => Err(fail(format!("{} for row {row}", scales[row]))),
        None => Ok(scales),
    }
}

/// The header of a file, with sorted names, so that equal weights give equal bytes.
#[cfg(not(target_arch = "wasm32"))]
#[derive(serde::Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: Metadata,
}

/// The longest header in bytes that readers accept, including this crate's.
#[cfg(not(target_arch = "wasm32"))]
const LONGEST_HEADER: usize = 100_000_000;

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn write(weights: &Weights, path: &std::path::Path) -> Result<(), WeightsError> {
    use std::io::{self, Write};

    let fail = |source| WeightsError::Write { path: path.into(), source };
    let refuse = |reason: String| fail(io::Error::new(io::ErrorKind::InvalidInput, reason));
    let scales: BTreeMap<String, (&[f32], Vec<u8>)> = weights
        .tensors
        .iter()
        .filter(|(_, tensor)| tensor.dtype == DType::I8)
        .map(|(name, tensor)| {
            let bytes = tensor.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            (scale_name(name), (&*tensor.scales, bytes))
        })
        .collect();
    let mut entries = Vec::new();
    for (name, (numbers, bytes)) in &scales {
        if weights.tensors.contains_key(name) {
            return Err(refuse(format!("`{name}` is the name of a tensor and of scales")));
        }
        entries.push((Dtype::F32, name.clone(), vec![numbers.len()], bytes.as_slice()));
    }
    for (name, tensor) in &weights.tensors {
        if name == "__metadata__" {
            return Err(refuse(format!("the format has no tensor called `{name}`")));
        }
        let dtype = match tensor.dtype {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I8 => Dtype::I8,
        };
        entries.push((dtype, name.clone(), tensor.shape.clone(), tensor.bytes()));
    }
    // The largest types first, so that all are aligned.
    entries.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));

    let mut end = 0;
    let (tensors, data): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .map(|(dtype, name, shape, bytes)| {
            let start = end;
            end += bytes.len();
            ((name, TensorInfo { dtype, shape, data_offsets: (start, end) }), bytes)
        })
        .unzip();
    let tensors = Metadata::new(None, tensors).map_err(|e| fail(io::Error::other(e)))?;
    let header = serde_json::to_vec(&Header { metadata: &weights.metadata, tensors });
    let mut header = header.map_err(|e| fail(io::Error::other(e)))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > LONGEST_HEADER {
        return Err(refuse(format!(
            "expected names and notes of at most {LONGEST_HEADER} bytes, found {}",
            header.len()
        )));
    }
    crate::files::write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        data.iter().try_for_each(|bytes| file.write_all(bytes))
    })
    .map_err(fail)
}
