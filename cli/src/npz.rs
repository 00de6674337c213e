//! NumPy's .npz files: zips of .npy files.

use std::io::{self, Write};

use rawzip::{ZipArchiveWriter, path::EntryPath};

use crate::npy;

/// Adds an array, which `write` writes as a .npy file.
pub fn add<W: Write>(
    archive: &mut ZipArchiveWriter<W>,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = format!("{name}.npy");
    // rawzip takes what is before a colon for a drive of Windows, and leaves it out.
    let path = if file.is_ascii() { EntryPath::verbatim(file.into_bytes()) } else { EntryPath::conformant(file) };
    // Stored without compression, as numpy.savez does.
    let (mut entry, config) = archive.new_file(path).start().map_err(io::Error::other)?;
    let mut out = config.wrap(&mut entry);
    write(&mut out)?;
    let (_, sums) = out.finish().map_err(io::Error::other)?;
    entry.finish(sums).map(drop).map_err(io::Error::other)
}

/// Adds `names`, an array of texts.
pub fn add_names<'n, W: Write>(
    archive: &mut ZipArchiveWriter<W>,
    names: impl Iterator<Item = &'n [u8]>,
) -> io::Result<()> {
    let names: Vec<Vec<u32>> = names.map(code_points).collect();
    add(archive, "names", |mut out| npy::write_texts(&mut out, &names))
}

/// A name as Python has it: bytes that are not UTF-8 as the lone surrogates U+DC80 to U+DCFF (`os.fsdecode`).
fn code_points(name: &[u8]) -> Vec<u32> {
    let mut points = Vec::new();
    for chunk in name.utf8_chunks() {
        points.extend(chunk.valid().chars().map(u32::from));
        points.extend(chunk.invalid().iter().map(|&byte| 0xDC00 + u32::from(byte)));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_python() {
        assert_eq!(code_points(b"a\xC3\xA9/\xFF"), [97, 0xE9, 47, 0xDCFF]);
    }
}
