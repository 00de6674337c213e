//! Formatting of numbers and names.

use std::path::Path;

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in MB, or in kB below one MB.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The bytes of a file's name in hexadecimal, where it is not UTF-8 and so cannot be JSON text.
pub fn name_hex(path: &Path) -> Option<String> {
    let name = path.as_os_str();
    name.to_str().is_none().then(|| hex(name.as_encoded_bytes()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a file's name from [`name_hex`], or from its text.
pub fn name_bytes(text: &str, hex: Option<&str>) -> Option<Vec<u8>> {
    let Some(hex) = hex.filter(|hex| !hex.is_empty()) else { return Some(text.into()) };
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// A part of a whole in percent, in the usual precision of accuracies.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1500, 244_408_911].map(megabytes), ["0.0 kB", "1.5 kB", "244.4 MB"]);
        assert_eq!(percent(8784, 10_000), "87.84 %");
    }

    #[test]
    fn names() {
        assert_eq!(name_hex(Path::new("a.png")), None);
        assert_eq!(name_bytes("a.png", None), Some(b"a.png".to_vec()));
        assert_eq!(name_bytes("a.png", Some("")), Some(b"a.png".to_vec()));
        #[cfg(unix)]
        {
            use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
            let hex = name_hex(Path::new(OsStr::from_bytes(b"a\xFF.png")));
            assert_eq!(hex.as_deref(), Some("61ff2e706e67"));
            assert_eq!(name_bytes("a\u{fffd}.png", hex.as_deref()), Some(b"a\xFF.png".to_vec()));
        }
        assert_eq!(name_bytes("a", Some("6")), None);
        assert_eq!(name_bytes("a", Some("zz")), None);
    }
}
