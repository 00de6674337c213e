//! Names and vectors for NumPy: a .npz file, which is a zip of .npy files.

use std::{
    io::{self, Write},
    path::Path,
};

use alexnet_wgpu::write_atomically;
use rawzip::ZipArchiveWriter;

use super::{file::Index, folder::Name};
use crate::{failure::Failure, npy};

/// Writes `names` (Unicode) and `vectors` (float32, a row per name).
pub fn npz(path: &Path, index: &Index, dims: usize) -> Result<(), Failure> {
    let (mut names, mut vectors) = (Vec::new(), Vec::new());
    let texts: Vec<Vec<u32>> = index.names.iter().map(code_points).collect();
    let written = npy::write_texts(&mut names, &texts)
        .and_then(|()| npy::write(&mut vectors, &[index.len(), dims], &index.vectors))
        .and_then(|()| {
            write_atomically(path, |file| {
                let mut archive = ZipArchiveWriter::new(file);
                for (name, bytes) in [("names.npy", &names), ("vectors.npy", &vectors)] {
                    // Stored without compression, as numpy.savez does.
                    let (mut entry, config) = archive.new_file(name).start().map_err(io::Error::other)?;
                    let mut writer = config.wrap(&mut entry);
                    writer.write_all(bytes)?;
                    let (_, sums) = writer.finish().map_err(io::Error::other)?;
                    entry.finish(sums).map_err(io::Error::other)?;
                }
                archive.finish().map(drop).map_err(io::Error::other)
            })
        });
    written.map_err(|e: io::Error| Failure::run(format!("cannot write {}: {e}", path.display())))
}

/// A name as Python has it: bytes that are not UTF-8 as the lone surrogates U+DC80 to U+DCFF (`os.fsdecode`).
fn code_points(name: &Name) -> Vec<u32> {
    let mut points = Vec::new();
    for chunk in name.0.utf8_chunks() {
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
        assert_eq!(code_points(&Name(b"a\xC3\xA9/\xFF".to_vec())), [97, 0xE9, 47, 0xDCFF]);
    }
}
