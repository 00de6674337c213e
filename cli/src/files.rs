//! Files that the command reads: pictures, lists of labels, NumPy arrays. Checks that outputs replace none of them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use alexnet_wgpu::{Picture, PictureError, Preprocessing, PreprocessingError};
use etcetera::BaseStrategy;

use crate::{
    failure::{Failure, chain, note},
    npy,
    pictures::is_standard_input,
};

/// The cache folder; `None` where the system has none.
pub fn cache() -> Option<PathBuf> {
    let folders = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(folders.cache_dir().join("alexnet-wgpu"))
}

/// File extensions of pictures, by which they are found in folders.
const PICTURES: [&str; 15] =
    ["avif", "bmp", "gif", "heic", "jpeg", "jpg", "jxl", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

/// Whether a file has the extension of a picture, among them formats that cannot be read.
pub fn is_picture_name(path: &Path) -> bool {
    PICTURES.contains(&ending(path).as_str())
}

/// A file's extension, in lower case.
pub fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The parts of a picture that a network sees.
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

/// Refuses what is no regular file among pictures that were found in a folder or a list: opening a pipe waits for its writer.
/// A file that cannot be looked at is left to whoever opens it.
pub fn expect_regular(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(found) if !found.is_file() => {
            Err(format!("{}: expected a picture, found something that is not a regular file", path.display()))
        }
        _ => Ok(()),
    }
}

/// A decoded picture file, or the error, with the file's name. Damage is told on standard error.
pub fn open_picture(path: &Path) -> Result<Picture, String> {
    let picture = Picture::open(path).map_err(|e| match e {
        PictureError::Read { .. } => chain(&e),
        e => named(path, &chain(&e)),
    })?;
    tell_damage(&picture, path);
    Ok(picture)
}

/// The most bytes of a picture on standard input: one more than a picture may have.
pub const STANDARD_INPUT_LIMIT: u64 = Picture::MAX_BYTES + 1;

/// The picture in these bytes, or the error, with the name they go by. Damage is told on standard error.
pub fn decode_picture(bytes: &[u8], name: &Path) -> Result<Picture, String> {
    if bytes.len() as u64 > Picture::MAX_BYTES {
        return Err(named(
            name,
            &format!("expected a picture of at most {} MiB, found more", Picture::MAX_BYTES >> 20),
        ));
    }
    let picture = Picture::decode(bytes).map_err(|e| named(name, &chain(&e)))?;
    tell_damage(&picture, name);
    Ok(picture)
}

fn tell_damage(picture: &Picture, name: &Path) {
    if let Some(damage) = picture.damage() {
        note(&named(name, &format!("{damage}: that part is missing or a guess")));
    }
}

fn named(path: &Path, reason: &str) -> String {
    format!("{}: {reason}", path.display())
}

/// The network's input for each crop of a picture file, or the error, with the file's name.
pub fn picture(path: &Path, preprocessing: &Preprocessing, crops: Crops) -> Result<Vec<f32>, String> {
    self::crops(&open_picture(path)?, path, preprocessing, crops)
}

/// The network's input for each crop of a picture, or the error, with its name.
pub fn crops(picture: &Picture, name: &Path, preprocessing: &Preprocessing, crops: Crops) -> Result<Vec<f32>, String> {
    let input = match crops {
        Crops::One => preprocessing.apply(picture),
        Crops::Ten => preprocessing.ten_crops(picture),
    };
    input.map_err(|e| {
        let hint = match e {
            PreprocessingError::Channels { .. } => " (for `alexnet features`, --input)",
            _ => "",
        };
        named(name, &format!("{}{hint}", chain(&e)))
    })
}

/// The longest text file that is read, in bytes: a list of all pictures of ImageNet has 60 MB.
const TEXT_LIMIT: usize = 1 << 28;
/// The longest file of labels that is read, in bytes.
const LABELS_LIMIT: usize = 1 << 24;

/// The first `limit` bytes of a file, whatever its length.
fn head(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64).read_to_end(&mut bytes))
        .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(bytes)
}

/// The names in a list, each with `end` after it; `-` is standard input. Blank lines are empty names, and carriage returns are
/// left out of lines. Names are bytes, except on Windows, where they are UTF-8.
pub fn list(path: &Path, end: u8) -> Result<Vec<PathBuf>, Failure> {
    let bytes = if is_standard_input(path) {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(TEXT_LIMIT as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| Failure::run(format!("cannot read standard input: {e}")))?;
        bytes
    } else {
        head(path, TEXT_LIMIT + 1).map_err(Failure::run)?
    };
    if bytes.len() > TEXT_LIMIT {
        let limit = TEXT_LIMIT >> 20;
        return Err(Failure::run(named(path, &format!("expected a list of at most {limit} MiB, found more"))));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let name = |name: &[u8]| {
        let name = if end == b'\n' { name.strip_suffix(b"\r").unwrap_or(name) } else { name };
        #[cfg(unix)]
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name).to_os_string();
        #[cfg(not(unix))]
        let name = std::ffi::OsString::from(String::from_utf8_lossy(name).into_owned());
        PathBuf::from(name)
    };
    Ok(bytes.split(|&byte| byte == end).map(name).collect())
}

/// The lines of a file of labels, without blank lines at its end, which editors leave there.
pub fn labels(path: &Path) -> Result<Vec<String>, Failure> {
    let mut labels = lines_within(path, LABELS_LIMIT, "labels")?;
    let count = labels.iter().rposition(|label| !label.is_empty()).map_or(0, |last| last + 1);
    labels.truncate(count);
    Ok(labels)
}

/// The longest JSON file that is read, in bytes: it holds a few numbers.
const JSON_LIMIT: usize = 1 << 16;

/// The longest network file that is read, in bytes: a hundred layers take 20 kB.
const NETWORK_LIMIT: usize = 1 << 20;

/// The longest mean image that is read, in bytes: one of 3×256×256 takes 0.8 MB.
const MEANS_LIMIT: usize = 1 << 26;

/// The bytes of a Caffe mean image.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    head(path, MEANS_LIMIT).map_err(Failure::run)
}

/// The text of a network file.
pub fn network(path: &Path) -> Result<String, Failure> {
    Ok(lines_within(path, NETWORK_LIMIT, "a network")?.join("\n"))
}

/// The text of a JSON file.
pub fn json(path: &Path) -> Result<String, Failure> {
    Ok(lines_within(path, JSON_LIMIT, "JSON")?.join("\n"))
}

fn lines_within(path: &Path, limit: usize, what: &str) -> Result<Vec<String>, Failure> {
    let bytes = head(path, limit + 1).map_err(Failure::run)?;
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

/// The lines of a text, or the number of the first one that is not UTF-8.
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

/// Refuses an output that would replace a file read by the same command, by whatever path.
pub fn keep_apart(output: &Path, inputs: impl IntoIterator<Item = PathBuf>) -> Result<(), Failure> {
    if !output.exists() {
        return Ok(());
    }
    match inputs.into_iter().find(|input| is_same_file(input, output)) {
        Some(input) => {
            let (input, output) = (input.display(), output.display());
            Err(Failure::usage(format!(
                "expected an output other than the inputs, found {output}, which is the input {input}"
            )))
        }
        None => Ok(()),
    }
}

/// Whether both paths lead to one regular file; symbolic and hard links are followed.
fn is_same_file(a: &Path, b: &Path) -> bool {
    // Checked first, since opening a pipe waits for a writer.
    a.is_file() && b.is_file() && same_file::is_same_file(a, b).unwrap_or(false)
}

/// Whether the path leads to standard output.
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

/// Reads an array of `shape` from a .npy file, and no more bytes than such an array takes.
pub fn read_npy(path: &Path, shape: &[usize]) -> Result<Vec<f32>, String> {
    let bytes = head(path, npy::longest(shape))?;
    npy::parse(&bytes, shape).map_err(|e| named(path, &e))
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
