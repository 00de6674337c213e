//! What the command reads: pictures, lists of labels, NumPy's arrays; and that its outputs replace none of it.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{Picture, PictureError, Preprocessing};
use etcetera::BaseStrategy;

use crate::{
    failure::{Failure, chain, complain},
    npy,
};

/// The folder for what can be made or fetched again; none where the system names no such folder.
pub fn cache() -> Option<PathBuf> {
    let folders = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(folders.cache_dir().join("alexnet-wgpu"))
}

/// What stands behind the last dot of a file's name, in lower case.
pub fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Which parts of a picture a network sees.
#[derive(Clone, Copy, Debug)]
pub enum Crops {
    One,
    Ten,
}

impl Crops {
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Ten => 10,
        }
    }
}

/// The network's input for each crop of a picture file, or why there is none, with the file's name.
pub fn picture(path: &Path, preprocessing: &Preprocessing, crops: Crops) -> Result<Vec<f32>, String> {
    let named = |reason: String| format!("{}: {reason}", path.display());
    let picture = Picture::open(path).map_err(|e| match e {
        PictureError::Read { .. } => chain(&e),
        e => named(chain(&e)),
    })?;
    if let Some(damage) = picture.damage() {
        complain(&named(format!("{damage}: what is shown of it is missing or a guess")));
    }
    let input = match crops {
        Crops::One => preprocessing.apply(&picture),
        Crops::Ten => preprocessing.ten_crops(&picture),
    };
    input.map_err(|e| named(chain(&e)))
}

/// The longest text file that is read, in bytes: a list of all of ImageNet's pictures has 60 MB.
const TEXT_LIMIT: usize = 1 << 28;
/// The longest file of labels that is read, in bytes.
const LABELS_LIMIT: usize = 1 << 24;

/// The first `limit` bytes of a file, whatever its length.
fn head(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64).read_to_end(&mut bytes))
        .map_err(|e| Failure::run(format!("cannot read {}: {e}", path.display())))?;
    Ok(bytes)
}

/// The lines of a file of labels, without blank ones at its end: editors leave them there.
pub fn labels(path: &Path) -> Result<Vec<String>, Failure> {
    let mut labels = lines_within(path, LABELS_LIMIT, "labels")?;
    let count = labels.iter().rposition(|label| !label.is_empty()).map_or(0, |last| last + 1);
    labels.truncate(count);
    Ok(labels)
}

/// The longest file of JSON that is read, in bytes: a few numbers.
const JSON_LIMIT: usize = 1 << 16;

/// The longest file of a network's layers, in bytes: a hundred of them take 20 kB.
const NETWORK_LIMIT: usize = 1 << 20;

/// The longest picture of means that is read, in bytes: one of 3×256×256 takes 0.8 MB.
const MEANS_LIMIT: usize = 1 << 26;

/// The bytes of Caffe's picture of means.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    head(path, MEANS_LIMIT)
}

/// The text of a file of a network's layers.
pub fn network(path: &Path) -> Result<String, Failure> {
    Ok(lines_within(path, NETWORK_LIMIT, "a network")?.join("\n"))
}

/// The text of a file of JSON.
pub fn json(path: &Path) -> Result<String, Failure> {
    Ok(lines_within(path, JSON_LIMIT, "JSON")?.join("\n"))
}

/// The lines of a list of pictures.
pub fn lines_of(path: &Path) -> Result<Vec<String>, Failure> {
    lines_within(path, TEXT_LIMIT, "pictures")
}

fn lines_within(path: &Path, limit: usize, what: &str) -> Result<Vec<String>, Failure> {
    let bytes = head(path, limit + 1)?;
    if bytes.len() > limit {
        let (limit, path) = (
            if limit < 1 << 20 { format!("{} KiB", limit >> 10) } else { format!("{} MiB", limit >> 20) },
            path.display(),
        );
        return Err(Failure::run(format!("{path}: expected {what} of at most {limit}, found more")));
    }
    lines(&bytes).map_err(|line| {
        let path = path.display();
        Failure::run(format!("{path}: line {line} is not UTF-8: save the {what} as UTF-8"))
    })
}

/// The lines of a text, or the number of the first that is not UTF-8.
fn lines(text: &[u8]) -> Result<Vec<String>, usize> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() {
        return Ok(vec![]);
    }
    let line = |(number, line): (usize, &[u8])| {
        let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| number)?;
        Ok(line.trim_end().to_string())
    };
    (1..).zip(text.split(|&byte| byte == b'\n')).map(line).collect()
}

/// Refuses an output in place of a file that the same command reads, by whatever path: the output would be lost to it, or it to
/// the output.
pub fn keep_apart(output: &Path, inputs: impl IntoIterator<Item = PathBuf>) -> Result<(), Failure> {
    match inputs.into_iter().find(|input| is_same_file(input, output)) {
        Some(input) => {
            let (input, output) = (input.display(), output.display());
            Err(Failure::usage(format!(
                "expected an output beside the inputs, found {output}, which is the input {input}"
            )))
        }
        None => Ok(()),
    }
}

/// Whether both paths lead to one regular file: links, hard ones too, are followed.
fn is_same_file(a: &Path, b: &Path) -> bool {
    // Asked first, since to open a pipe waits for who writes to it.
    a.is_file() && b.is_file() && same_file::is_same_file(a, b).unwrap_or(false)
}

/// Whether standard output goes there.
pub fn is_standard_output(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
        matches!((file(path), file(Path::new("/dev/stdout"))), (Ok(a), Ok(b)) if a == b)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Reads an array of `shape` from a .npy file: no more of it than such an array takes.
pub fn read_npy(path: &Path, shape: &[usize]) -> Result<Vec<f32>, Failure> {
    let bytes = head(path, npy::longest(shape))?;
    npy::parse(&bytes, shape).map_err(|e| Failure::run(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn lines_are_labels() {
        assert_eq!(lines(b"\xEF\xBB\xBFa\r\nb \n\nc\n").unwrap(), ["a", "b", "", "c"]);
        assert_eq!(lines(b"a\nb").unwrap(), ["a", "b"]);
        assert!(lines(b"").unwrap().is_empty());
        assert_eq!(lines(b"a\nb\xFF\n"), Err(2));
    }
}
