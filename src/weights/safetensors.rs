//! safetensors, through the crate of that name: its header check is the format's own.

use std::collections::{BTreeMap, HashMap};

use safetensors::{Dtype, SafeTensors};

use bytes::Bytes;

use super::{DType, Tensor, Weights, WeightsError, part};

/// Whether a file begins as safetensors do: the length of the header in eight bytes, then its brace. No other
/// format has four zeros before a brace there.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

pub(super) fn read(bytes: Bytes) -> Result<Weights, WeightsError> {
    let format = |e: safetensors::SafeTensorError| WeightsError::Format {
        format: "safetensors file",
        what: format!("a whole header and the tensors it names, found {e}"),
    };
    let data: &[u8] = &bytes;
    let (_, header) = SafeTensors::read_metadata(data).map_err(format)?;
    let file = SafeTensors::deserialize(data).map_err(format)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            other => {
                return Err(WeightsError::DType { tensor: name.into(), found: format!("{other:?}").to_lowercase() });
            }
        };
        let start = view.data().as_ptr() as usize - data.as_ptr() as usize;
        let tensor = part(&bytes, start..start + view.data().len())
            .and_then(|part| Tensor::new(dtype, view.shape().to_vec(), part))
            .ok_or_else(|| WeightsError::Format {
                format: "safetensors file",
                what: format!("as many bytes as `{name}`'s shape {:?} takes", view.shape()),
            })?;
        tensors.insert(name.to_string(), tensor);
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Weights { tensors, metadata })
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn write(weights: &Weights, path: &std::path::Path) -> Result<(), WeightsError> {
    struct View<'a>(&'a Tensor);
    impl safetensors::View for View<'_> {
        fn dtype(&self) -> Dtype {
            match self.0.dtype {
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                DType::F32 => Dtype::F32,
                DType::F64 => Dtype::F64,
            }
        }
        fn shape(&self) -> &[usize] {
            &self.0.shape
        }
        fn data(&self) -> std::borrow::Cow<'_, [u8]> {
            self.0.bytes().into()
        }
        fn data_len(&self) -> usize {
            self.0.bytes().len()
        }
    }
    let fail = |source| WeightsError::Write { path: path.into(), source };
    let views = weights.tensors.iter().map(|(name, tensor)| (name.as_str(), View(tensor)));
    let metadata: HashMap<String, String> = weights.metadata.clone().into_iter().collect();
    crate::files::write_atomically(path, |temporary| {
        safetensors::serialize_to_file(views, Some(metadata), temporary).map_err(std::io::Error::other)
    })
    .map_err(fail)
}
