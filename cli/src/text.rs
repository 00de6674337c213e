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
    let hex = || name.as_encoded_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    name.to_str().is_none().then(hex)
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
}
