//! safetensors, through the crate of that name: its header check is the format's own.
//!
//! The format has no quantised numbers. An int8 tensor `NAME` is written as I8 with its scales beside it: `NAME.scale`, F32, one
//! for each row of the first axis.

use std::collections::{BTreeMap, BTreeSet};
#[cfg(not(target_arch = "wasm32"))]
use std::{borrow::Cow, collections::HashMap};

use safetensors::{Dtype, SafeTensors};

use bytes::Bytes;

use super::{DType, Tensor, Weights, WeightsError, part, rows};

/// Whether a file begins as safetensors do: the length of the header in eight bytes, then its brace. No other
/// format has four zeros before a brace there.
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
            // Batch normalisation counts its batches in an integer that nothing needs.
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

/// Where the scales of the int8 tensor `name` stand.
fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

fn read_scales(file: &SafeTensors<'_>, tensor: &str, expected: usize) -> Result<Vec<f32>, WeightsError> {
    let fail = |found: String| WeightsError::Scales { tensor: tensor.into(), expected, found };
    let view = file.tensor(&scale_name(tensor)).map_err(|_| fail("no such tensor".into()))?;
    if view.dtype() != Dtype::F32 || view.shape() != [expected] {
        return Err(fail(format!("{:?} of shape {:?}", view.dtype(), view.shape())));
    }
    let scales = super::read(view.data(), f32::from_le_bytes);
    match scales.iter().position(|scale| !scale.is_finite()) {
        Some(row) => Err(fail(format!("{} for row {row}", scales[row]))),
        None => Ok(scales),
    }
}

/// What is written under one name.
#[cfg(not(target_arch = "wasm32"))]
struct Entry<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

#[cfg(not(target_arch = "wasm32"))]
impl safetensors::View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn write(weights: &Weights, path: &std::path::Path) -> Result<(), WeightsError> {
    use std::{fs, io};

    let fail = |source| WeightsError::Write { path: path.into(), source };
    let mut entries = BTreeMap::new();
    for (name, tensor) in &weights.tensors {
        let dtype = match tensor.dtype {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I8 => {
                let bytes: Vec<u8> = tensor.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
                let scales = Entry { dtype: Dtype::F32, shape: vec![tensor.scales.len()], bytes: bytes.into() };
                let name = scale_name(name);
                if weights.tensors.contains_key(&name) {
                    return Err(fail(io::Error::other(format!("`{name}` is the name of a tensor and of scales"))));
                }
                entries.insert(name, scales);
                Dtype::I8
            }
        };
        let entry = Entry { dtype, shape: tensor.shape.clone(), bytes: tensor.bytes().into() };
        entries.insert(name.clone(), entry);
    }
    let metadata: HashMap<String, String> = weights.metadata.clone().into_iter().collect();
    crate::files::write_atomically(path, |temporary| {
        // The crate makes files that only their owner may read; a new file's permissions are what the user set.
        let permissions = fs::File::create(temporary)?.metadata()?.permissions();
        safetensors::serialize_to_file(entries, Some(metadata), temporary).map_err(io::Error::other)?;
        fs::set_permissions(temporary, permissions)
    })
    .map_err(fail)
}
