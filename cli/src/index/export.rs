//! Names and vectors for NumPy.

use std::path::Path;

use alexnet_wgpu::write_atomically;
use rawzip::ZipArchiveWriter;

use super::file::Index;
use crate::{failure::Failure, npy, npz};

/// Writes `names` (Unicode) and `vectors` (float32, a row per name).
pub fn npz(path: &Path, index: &Index, dims: usize) -> Result<(), Failure> {
    let written = write_atomically(path, |file| {
        let mut archive = ZipArchiveWriter::new(file);
        npz::add_names(&mut archive, index.names.iter().map(|name| &name.0[..]))?;
        npz::add(&mut archive, "vectors", |mut out| npy::write(&mut out, &[index.len(), dims], &index.vectors))?;
        archive.finish().map(drop).map_err(std::io::Error::other)
    });
    written.map_err(|e| Failure::cannot_write(path, e))
}
