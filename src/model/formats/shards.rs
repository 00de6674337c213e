//! Weights in several files, with a JSON index of the tensors' files (`model.safetensors.index.json`), as written by Hugging
//! Face's libraries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::{File, Format, Notes};
use crate::weights::{Weights, WeightsError};

const FORMAT: &str = "index of weight files";

/// The longest index that is read, in bytes; that of a thousand tensors has 0.1 MB.
const MAX_INDEX: u64 = 16 << 20;

/// The content of an index; its `metadata` is not needed.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn malformed(what: impl Into<String>) -> WeightsError {
    WeightsError::malformed(FORMAT, what).advising("download all of its files into one folder")
}

/// The index for a path: the file itself, or the index next to a part of the weights.
pub(super) fn index_of(path: &Path) -> Result<Option<PathBuf>, WeightsError> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    if name.ends_with(".index.json") {
        return Ok(Some(path.into()));
    }
    let Some(Part { whole, number, of }) = Part::of(name) else { return Ok(None) };
    let index = path.with_file_name(format!("{whole}.index.json"));
    if !path.is_file() || of < 2 {
        return Ok(None);
    }
    if !index.is_file() {
        let index = index.display();
        return Err(malformed(format!("{index} beside part {number} of {of} of the weights, found none")));
    }
    Ok(Some(index))
}

/// The name of a part: `model-00001-of-00002.safetensors`.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    whole: String,
    number: u32,
    of: u32,
}

impl Part {
    fn of(name: &str) -> Option<Self> {
        let (stem, ending) = name.rsplit_once('.')?;
        let (stem, of) = stem.rsplit_once("-of-")?;
        let (stem, number) = stem.rsplit_once('-')?;
        let counted = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        Some(Self { whole: format!("{stem}.{ending}"), number: counted(number)?, of: counted(of)? })
    }
}

/// Reads all tensors of an index.
pub(super) fn open(path: &Path) -> Result<(Format, Weights, Notes), WeightsError> {
    let fail = |source| WeightsError::Read { path: path.into(), source };
    let len = fs::metadata(path).map_err(fail)?.len();
    if len > MAX_INDEX {
        return Err(malformed(format!("an index of at most {MAX_INDEX} bytes, found {len}")));
    }
    let index = serde_json::from_slice(&fs::read(path).map_err(fail)?);
    let Index { weight_map } =
        index.map_err(|e| malformed(format!("JSON with a `weight_map` from tensors to files: {e}")))?;
    let files: BTreeSet<&String> = weight_map.values().collect();
    let mut format = Format::Safetensors;
    let mut weights = Weights::default();
    let mut order = Vec::new();
    for name in &files {
        let file = File::open_one(&beside(path, name)?)?;
        format = file.format();
        let (part, notes) = file.into_tensors()?;
        order.extend(notes.order);
        for (key, note) in part.metadata {
            weights.metadata.entry(key).or_insert(note);
        }
        weights.tensors.extend(part.tensors.into_iter().filter(|(tensor, _)| weight_map.get(tensor) == Some(*name)));
    }
    let missing = weight_map.iter().find(|(tensor, _)| {
        // Counters of batch normalisation are never loaded.
        !weights.tensors.contains_key(*tensor) && !tensor.ends_with("num_batches_tracked")
    });
    if let Some((tensor, file)) = missing {
        return Err(malformed(format!("tensor `{tensor:.80}` in {file:.80}, where the index says that it is")));
    }
    let part = (files.len() > 1).then(|| format!("those of {} files", files.len()));
    Ok((format, weights, Notes { order, part }))
}

/// The file `name` in the folder of `index`. Where the index is a symbolic link, the folder of its target counts too.
fn beside(index: &Path, name: &str) -> Result<PathBuf, WeightsError> {
    let plain = matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    if !plain {
        return Err(malformed(format!("files in the index's own folder, found `{name:.80}`")));
    }
    let path = index.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    let real = index.canonicalize().map_err(|source| WeightsError::Read { path: index.into(), source })?;
    let real = real.with_file_name(name);
    if real.exists() { Ok(real) } else { Err(malformed(format!("{} beside the index, found none", path.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let part = Part { whole: "model.safetensors".into(), number: 1, of: 2 };
        assert_eq!(Part::of("model-00001-of-00002.safetensors"), Some(part));
        for other in ["model.safetensors", "a-of-b.pth", "1-of-2.pth", "model-x-of-2.pth", "model-1-of-.pth"] {
            assert_eq!(Part::of(other), None, "{other}");
        }
    }
}
