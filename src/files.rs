//! Files that are whole or not there: written beside their place and renamed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Has `write` fill a temporary file in the folder of `path`, and renames it to `path` when that went well.
/// Whatever stood at `path` stays untouched until then. A link stays one: the file that it leads to is written.
///
/// # Errors
///
/// The error of `write`, or of the file system.
pub fn write_atomically(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let path = target(path)?;
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a file name"));
    }
    // Not a longer name than `path`'s: file systems end them at 255 bytes.
    let count = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_file_name(format!("alexnet-{}-{count}.part", std::process::id()));
    let result = write(&temporary).and_then(|()| fs::rename(&temporary, &path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Where links lead from `path`, whether something is there or not.
fn target(path: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const MOST: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..=MOST {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its links lead around in a circle"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn names_may_be_as_long_as_file_systems_allow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{}.npy", "n".repeat(251)));
        write_atomically(&path, |path| fs::write(path, "new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn links_stay_and_what_they_lead_to_is_written() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        fs::write(at("deep/file"), "old").unwrap();
        symlink("deep/file", at("link")).unwrap();
        symlink(at("link"), at("link to it")).unwrap();
        symlink("deep/none", at("empty")).unwrap();
        for (link, file, text) in [("link to it", "deep/file", "new"), ("empty", "deep/none", "first")] {
            write_atomically(&at(link), |path| fs::write(path, text)).unwrap();
            assert_eq!(fs::read_to_string(at(file)).unwrap(), text);
            assert!(at(link).is_symlink(), "{link}");
        }
        // What fails leaves all as it was.
        write_atomically(&at("link"), |_| Err(io::Error::other("no"))).unwrap_err();
        assert_eq!(fs::read_to_string(at("deep/file")).unwrap(), "new");
        assert_eq!(fs::read_dir(at("deep")).unwrap().count(), 2);

        symlink("round", at("round")).unwrap();
        let error = write_atomically(&at("round"), |path| fs::write(path, "new")).unwrap_err();
        assert!(error.to_string().contains("circle") && at("round").is_symlink(), "{error}");
    }
}
