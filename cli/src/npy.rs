//! NumPy array files. A module of its own, so that fuzz/ can build it too.

use std::io::{self, Write};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read; NumPy writes 128 bytes for arrays of plain numbers.
const HEADER_LIMIT: usize = 1 << 16;

/// The number of bytes that are enough to read an array of `shape`, or to refuse the file.
pub fn longest(shape: &[usize]) -> usize {
    // Magic, version and the header's length take 12 bytes at most.
    12 + HEADER_LIMIT + 4 * shape.iter().product::<usize>() + 1
}

/// Reads an array of little-endian f32 as written by `numpy.save` (`numpy.lib.format`, versions 1 to 3). Its shape must be
/// `shape` up to dimensions of 1, or rows × columns × channels where `shape` is channels × rows × columns. Its numbers must
/// be finite.
pub fn parse(bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>, String> {
    let unreadable = || "expected a .npy file as numpy.save writes it, found something else".to_string();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(unreadable)?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(unreadable()),
    };
    let (header, data) = rest.split_at_checked(length).filter(|_| length <= HEADER_LIMIT).ok_or_else(unreadable)?;
    let header = std::str::from_utf8(header).map_err(|_| unreadable())?;
    let array = Header::parse(header).ok_or_else(unreadable)?;

    if array.descr != "<f4" {
        return Err(format!("expected numbers of type '<f4' (little-endian float32), found '{}'", array.descr));
    }
    let long = |shape: &[usize]| shape.iter().copied().filter(|&side| side != 1).collect::<Vec<_>>();
    // The usual layout of pictures, and of the inputs of Keras and TensorFlow.
    let turned =
        matches!(*shape, [c, h, w] if long(&array.shape) != long(shape) && long(&array.shape) == long(&[h, w, c]));
    if long(&array.shape) != long(shape) && !turned {
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
        None if turned => {
            let (channels, plane) = (shape[0], shape[1] * shape[2]);
            Ok((0..values.len()).map(|i| values[i % plane * channels + i / plane]).collect())
        }
        None => Ok(values),
    }
}

/// The content of the Python dictionary at the start of a .npy file.
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
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

/// Writes the start of a .npy file, which the bytes of as many little-endian f32 follow as `shape` has, in row-major order.
pub fn write_header(out: &mut impl Write, shape: &[usize]) -> io::Result<()> {
    out.write_all(&header("<f4", shape))
}

/// Writes `values` as a .npy file in row-major order.
pub fn write(out: &mut impl Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    write_header(out, shape)?;
    values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

/// Writes texts, as code points, as a .npy file of one dimension: each takes the length of the longest.
pub fn write_texts(out: &mut impl Write, texts: &[Vec<u32>]) -> io::Result<()> {
    // NumPy has no texts of length 0.
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0).max(1);
    out.write_all(&header(&format!("<U{longest}"), &[texts.len()]))?;
    for text in texts {
        let padded = text.iter().copied().chain(std::iter::repeat(0)).take(longest);
        let bytes: Vec<u8> = padded.flat_map(u32::to_le_bytes).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// The start of a .npy file.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sides = match shape {
        [side] => format!("{side},"),
        sides => sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}");
    // Magic, version and length take 10 bytes, the newline one; NumPy aligns the numbers to 64.
    let length = (10 + dictionary.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes()].concat();
    bytes.extend(format!("{dictionary:<width$}\n", width = length - 1).bytes());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// An array as written by NumPy 1 and 2: the header padded to 128 bytes in total.
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
        assert_eq!(parse(&file, &[1, 2, 3]).unwrap(), data);
        // Version 2 has four bytes of length.
        let second = [b"\x93NUMPY\x02\x00\x76\x00\x00\x00", &file[10..]].concat();
        assert_eq!(parse(&second, &[1, 2, 3]).unwrap(), data);
    }

    #[test]
    fn arrays_of_other_dimensions_are_read() {
        let data: Vec<f32> = (0..24u8).map(f32::from).collect();
        for shape in ["(1, 2, 3, 4)", "(2, 3, 4, 1)"] {
            assert_eq!(parse(&numpy("<f4", "False", shape, &data), &[2, 3, 4]).unwrap(), data, "{shape}");
        }
        assert_eq!(parse(&numpy("<f4", "False", "(24,)", &data), &[24, 1, 1]).unwrap(), data);
        // Rows, columns and channels: the first numbers are those of the first pixel.
        for shape in ["(3, 4, 2)", "(1, 3, 4, 2)"] {
            let turned = parse(&numpy("<f4", "False", shape, &data), &[2, 3, 4]).unwrap();
            let channel = |c: u8| (0..12u8).map(move |i| f32::from(2 * i + c));
            assert_eq!(turned, channel(0).chain(channel(1)).collect::<Vec<_>>(), "{shape}");
        }
        let error = parse(&numpy("<f4", "False", "(4, 3, 2)", &data), &[2, 3, 4]).unwrap_err();
        assert!(error.contains("found [4, 3, 2]"), "{error}");
    }

    #[test]
    fn what_is_written_is_as_numpy_writes_it() {
        let cases: [(&[usize], &str); 3] = [(&[1, 2, 3], "(1, 2, 3)"), (&[6], "(6,)"), (&[], "()")];
        for (shape, text) in cases {
            let values = vec![0.5; shape.iter().product()];
            let mut bytes = Vec::new();
            write(&mut bytes, shape, &values).unwrap();
            assert_eq!(bytes, numpy("<f4", "False", text, &values));
        }
    }

    #[test]
    fn texts_are_as_numpy_writes_them() {
        let mut bytes = Vec::new();
        write_texts(&mut bytes, &[vec![97, 0xDCFF], vec![98]]).unwrap();
        assert_eq!(bytes[..128], numpy("<U2", "False", "(2,)", &[])[..]);
        assert_eq!(bytes[128..], [97, 0, 0, 0, 0xFF, 0xDC, 0, 0, 98, 0, 0, 0, 0, 0, 0, 0]);
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
            let error = parse(&bytes, &[1, 2, 3]).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        for shape in [&huge, "(18446744073709551616,)"] {
            assert!(parse(&numpy("<f4", "False", shape, &data), &[1, 2, 3]).is_err());
        }
        // The longest header that is read, and a longer one.
        let long = |length: usize| {
            let mut header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }".to_vec();
            header.resize(length, b' ');
            [b"\x93NUMPY\x02\x00", &(length as u32).to_le_bytes()[..], &header, &[0; 4]].concat()
        };
        assert_eq!(long(HEADER_LIMIT).len(), longest(&[1]) - 1);
        assert_eq!(parse(&long(HEADER_LIMIT), &[1]), Ok(vec![0.0]));
        assert!(parse(&long(HEADER_LIMIT + 1), &[1]).is_err());
        let error = parse(&numpy("<f4", "False", "(1,)", &[f32::NAN]), &[1]).unwrap_err();
        assert!(error.contains("found NaN at 0"), "{error}");
    }
}
