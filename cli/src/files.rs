//! What the command reads and writes: pictures, lists of labels, NumPy's arrays.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use alexnet_wgpu::{Picture, PictureError, Preprocessing};
use etcetera::BaseStrategy;

use crate::failure::{Failure, chain};

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

/// The lines of a list of pictures.
pub fn lines_of(path: &Path) -> Result<Vec<String>, Failure> {
    lines_within(path, TEXT_LIMIT, "pictures")
}

fn lines_within(path: &Path, limit: usize, what: &str) -> Result<Vec<String>, Failure> {
    let bytes = head(path, limit + 1)?;
    if bytes.len() > limit {
        let limit = limit >> 20;
        return Err(Failure::run(format!("{}: expected {what} of at most {limit} MiB, found more", path.display())));
    }
    lines(&bytes).map_err(|line| {
        let path = path.display();
        Failure::run(format!("{path}: line {line} is not UTF-8: save the {what} as UTF-8, one a line"))
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

const NPY_MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read; NumPy writes 128 bytes for every array of plain numbers.
const NPY_HEADER_LIMIT: usize = 1 << 16;

/// Reads an array of little-endian f32 from a .npy file (NumPy's `lib.format`, versions 1 to 3): one of `shape`,
/// and of finite numbers.
pub fn read_npy(path: &Path, shape: &[usize]) -> Result<Vec<f32>, Failure> {
    let count: usize = shape.iter().product();
    let bytes = head(path, NPY_HEADER_LIMIT + 4 * count + 1)?;
    parse_npy(&bytes, shape).map_err(|e| Failure::run(format!("{}: {e}", path.display())))
}

fn parse_npy(bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>, String> {
    let unreadable = || "expected a .npy file as numpy.save writes it, found something else".to_string();
    let rest = bytes.strip_prefix(NPY_MAGIC).ok_or_else(unreadable)?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(unreadable()),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(unreadable)?;
    let header = std::str::from_utf8(header).map_err(|_| unreadable())?;
    let array = NpyHeader::parse(header).ok_or_else(unreadable)?;

    if array.descr != "<f4" {
        return Err(format!("expected numbers of type '<f4' (little-endian float32), found '{}'", array.descr));
    }
    if array.shape != shape {
        return Err(format!("expected an array of shape {shape:?} (channels, rows, columns), found {:?}", array.shape));
    }
    if array.fortran_order {
        return Err("expected C order, found Fortran order: save numpy.ascontiguousarray of it".into());
    }
    let expected = 4 * shape.iter().product::<usize>();
    if data.len() != expected {
        let found = if data.len() < expected { data.len().to_string() } else { "more".into() };
        return Err(format!("expected {expected} bytes of numbers, found {found}: the file is damaged"));
    }
    let (numbers, _) = data.as_chunks::<4>();
    let values: Vec<f32> = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!("expected finite numbers, found {} at {index}", values[index])),
        None => Ok(values),
    }
}

/// What the Python dictionary at the head of a .npy file says.
struct NpyHeader<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> NpyHeader<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let value = |key: &str| Some(header.split_once(&format!("'{key}':"))?.1.trim_start());
        let (descr, _) = value("descr")?.strip_prefix('\'')?.split_once('\'')?;
        let fortran_order = value("fortran_order")?.starts_with("True");
        let (shape, _) = value("shape")?.strip_prefix('(')?.split_once(')')?;
        let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
        let shape = sides.map(|side| side.parse().ok()).collect::<Option<_>>()?;
        Some(Self { descr, fortran_order, shape })
    }
}

/// Writes `values` as a .npy file, the last dimension contiguous.
pub fn write_npy(path: &Path, shape: &[usize], values: &[f32]) -> io::Result<()> {
    let sides = match shape {
        [side] => format!("{side},"),
        sides => sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    // Magic, version and length take 10 bytes, the newline one; NumPy aligns the numbers to 64.
    let length = (10 + dictionary.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = [NPY_MAGIC, &[1, 0], &(length as u16).to_le_bytes()].concat();
    bytes.extend(format!("{dictionary:<width$}\n", width = length - 1).bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let mut file = File::create(path)?;
    file.write_all(&bytes)
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

    /// An array as NumPy 1 and 2 write it: the header padded to 128 bytes in all.
    fn numpy(descr: &str, order: &str, shape: &str, data: &[f32]) -> Vec<u8> {
        let dictionary = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(format!("{dictionary:<117}\n").bytes());
        bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
        bytes
    }

    #[test]
    fn arrays_of_numpy_are_read() {
        let data = [1.0, -2.5, 3.0, 4.0, 5.0, 6.0];
        let file = numpy("<f4", "False", "(1, 2, 3)", &data);
        assert_eq!(file.len(), 128 + 24);
        assert_eq!(parse_npy(&file, &[1, 2, 3]).unwrap(), data);
        // Version 2 has four bytes of length.
        let second = [b"\x93NUMPY\x02\x00\x76\x00\x00\x00", &file[10..]].concat();
        assert_eq!(parse_npy(&second, &[1, 2, 3]).unwrap(), data);
    }

    #[test]
    fn what_is_written_is_as_numpy_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let cases: [(&[usize], &str); 3] = [(&[1, 2, 3], "(1, 2, 3)"), (&[6], "(6,)"), (&[], "()")];
        for (shape, text) in cases {
            let values = vec![0.5; shape.iter().product()];
            write_npy(&path, shape, &values).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), numpy("<f4", "False", text, &values));
        }
    }

    #[test]
    fn hostile_arrays_are_errors() {
        let data = [0.0; 6];
        let good = numpy("<f4", "False", "(1, 2, 3)", &data);
        let huge = format!("({0}, {0}, {0})", u64::MAX);
        let nested = format!("{}1{}", "(".repeat(80), ")".repeat(20));
        let cases: [(Vec<u8>, &str); 12] = [
            (vec![], "as numpy.save writes it"),
            (good[..9].to_vec(), "as numpy.save writes it"),
            (good[..100].to_vec(), "as numpy.save writes it"),
            ([b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", &good[10..]].concat(), "as numpy.save writes it"),
            (numpy("<f4", "False", &nested, &data), "as numpy.save writes it"),
            (numpy("<f4", "False", "(-1, 2, 3)", &data), "as numpy.save writes it"),
            (numpy("<f8", "False", "(1, 2, 3)", &data), "found '<f8'"),
            (numpy(">f4", "False", "(1, 2, 3)", &data), "found '>f4'"),
            (numpy("<f4", "True", "(1, 2, 3)", &data), "Fortran order"),
            (
                numpy("<f4", "False", "(3, 2, 1)", &data),
                "of shape [1, 2, 3] (channels, rows, columns), found [3, 2, 1]",
            ),
            (good[..150].to_vec(), "expected 24 bytes of numbers, found 22"),
            ([&good[..], &[0]].concat(), "found more"),
        ];
        for (bytes, message) in cases {
            let error = parse_npy(&bytes, &[1, 2, 3]).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        for shape in [&huge, "(18446744073709551616,)"] {
            assert!(parse_npy(&numpy("<f4", "False", shape, &data), &[1, 2, 3]).is_err());
        }
        let error = parse_npy(&numpy("<f4", "False", "(1,)", &[f32::NAN]), &[1]).unwrap_err();
        assert!(error.contains("found NaN at 0"), "{error}");
    }
}
