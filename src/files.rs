//! Files that are whole or not there: written beside their place and renamed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Has `write` fill a temporary file in the folder of `path`, and renames it to `path` when that went well.
/// Whatever stood at `path` stays untouched until then.
///
/// # Errors
///
/// The error of `write`, or of the file system.
pub fn write_atomically(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "expected a file name"))?;
    let mut temporary_name = name.to_os_string();
    temporary_name.push(format!(".{}.part", std::process::id()));
    let temporary: PathBuf = path.with_file_name(temporary_name);
    let result = write(&temporary).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}
