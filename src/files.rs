//! Atomic output files: complete or not there.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Writes a file atomically: `write` fills a temporary file in the folder of `path`, which then replaces the file at
/// `path`. Until then the old file stays untouched.
///
/// - A symbolic link stays: its target is replaced, or created.
/// - The new file keeps the permissions of the old one, and its owner and group as far as the user may set them.
/// - A character device, a pipe and an open file (`/dev/stdout`) are written to directly, since there is nothing to
///   replace. They may receive partial output when `write` fails.
///
/// # Errors
///
/// The error of `write` or of the file system; [`io::ErrorKind::InvalidInput`] where `path` is a folder, a socket or a
/// block device.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (path, replaced) = match place(path)? {
        // Pipes and devices cannot be written in another way. An open file may have been given with `>>`.
        Place::Existing => return write(&mut OpenOptions::new().append(true).open(path)?),
        Place::File(path, replaced) => (path, replaced),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A short name, since file systems limit names to 255 bytes.
    let mut builder = tempfile::Builder::new();
    builder.prefix("alexnet-").suffix(".part");
    // Opened here, to get the permissions of an ordinary new file.
    let mut file = builder.make_in(folder, |path| OpenOptions::new().write(true).create_new(true).open(path))?;
    if let Some(replaced) = replaced {
        keep_access(file.as_file(), &replaced)?;
    }
    write(file.as_file_mut())?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

/// The destination of an output.
enum Place {
    /// The existing file, written in place.
    Existing,
    /// A new file at this path, which replaces the existing one.
    File(PathBuf, Option<Metadata>),
}

fn place(path: &Path) -> io::Result<Place> {
    let refused = |what: &str| {
        let message = format!("expected a file, a character device or a pipe, found {what}: give another path");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    };
    let (target, open) = follow(path)?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => refused("a folder"),
        Ok(metadata) if open || is_stream(&metadata) => Ok(Place::Existing),
        Ok(metadata) if metadata.is_file() => Ok(Place::File(target, Some(metadata))),
        Ok(_) => refused("a socket or a block device"),
        Err(_) if target.file_name().is_none() => refused("no file name"),
        Err(_) => Ok(Place::File(target, None)),
    }
}

/// Follows the symbolic links from `path`, whether a file is there or not. Also returns whether one of the links stands
/// for a file that a program has open.
fn follow(path: &Path) -> io::Result<(PathBuf, bool)> {
    // The same as Linux.
    const MOST: usize = 40;
    let mut path = path.to_path_buf();
    let mut open = false;
    for _ in 0..=MOST {
        open |= cfg!(unix) && (path.starts_with("/dev/fd") || path.starts_with("/proc"));
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok((path, open)),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its links lead around in a circle"))
}

/// Whether the file takes bytes and keeps none.
fn is_stream(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        kind.is_fifo() || kind.is_char_device()
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Gives `file` the access rights of the file that it replaces.
fn keep_access(file: &File, replaced: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (replaced.uid(), replaced.gid()) {
            // Only root can give files to other users; anyone can give them to one of their own groups.
            let _ = fchown(file, Some(replaced.uid()), Some(replaced.gid()))
                .or_else(|_| fchown(file, None, Some(replaced.gid())));
        }
        let mut mode = replaced.mode() & 0o777;
        if file.metadata()?.gid() != replaced.gid() {
            // A different group gets the rights of all others.
            mode = (mode & 0o707) | ((mode & 0o007) << 3);
        }
        if made.mode() & 0o777 != mode {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
    }
    #[cfg(not(unix))]
    let _ = (file, replaced);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::io::Write;

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        write_atomically(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn names_may_be_as_long_as_file_systems_allow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{}.npy", "n".repeat(251)));
        write(&path, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Several programs, or threads, may write to one folder and even to one file.
    #[test]
    fn writers_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let texts: Vec<String> = (0..8).map(|i| i.to_string().repeat(100_000)).collect();
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| (0..20).for_each(|_| write(&path, text).unwrap()));
            }
        });
        let found = fs::read_to_string(&path).unwrap();
        assert!(texts.contains(&found), "a mixture of {} bytes", found.len());
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
            write(&at(link), text).unwrap();
            assert_eq!(fs::read_to_string(at(file)).unwrap(), text);
            assert!(at(link).is_symlink(), "{link}");
        }
        // A failure leaves everything as it was.
        write_atomically(&at("link"), |_| Err(io::Error::other("no"))).unwrap_err();
        assert_eq!(fs::read_to_string(at("deep/file")).unwrap(), "new");
        assert_eq!(fs::read_dir(at("deep")).unwrap().count(), 2);

        symlink("round", at("round")).unwrap();
        let error = write(&at("round"), "new").unwrap_err();
        assert!(error.to_string().contains("circle") && at("round").is_symlink(), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn permissions_and_owners_stay() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for mode in [0o600, 0o640, 0o666, 0o444, 0o755] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            // Only root can set this up.
            let given = chown(&path, Some(12345), Some(54321)).is_ok();
            let before = fs::metadata(&path).unwrap();
            write(&path, "new").unwrap();
            let after = fs::metadata(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(
                (after.mode(), after.uid(), after.gid()),
                (before.mode(), before.uid(), before.gid()),
                "{given}"
            );
            assert_ne!(after.ino(), before.ino(), "another file in its place");
            fs::remove_file(&path).unwrap();
        }
        // The setuid bit is dropped: it must not apply to a new program.
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_written_into_or_refused() {
        use std::{
            os::unix::{
                fs::{FileTypeExt, symlink},
                net::UnixListener,
            },
            process::Command,
        };

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        symlink("pipe", at("link to pipe")).unwrap();
        for name in ["pipe", "link to pipe"] {
            let reader = std::thread::spawn({
                let pipe = at("pipe");
                move || fs::read_to_string(pipe).unwrap()
            });
            write(&at(name), "through").unwrap();
            assert_eq!(reader.join().unwrap(), "through");
            assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
        }

        // A device of the test's own: replacing a device of the system would take it from everyone. Only root can make
        // one, and not everywhere.
        let null = |name: &str| {
            let made = Command::new("mknod").arg(at(name)).args(["c", "1", "3"]).output();
            made.is_ok_and(|made| made.status.success()) && OpenOptions::new().append(true).open(at(name)).is_ok()
        };
        if null("device") {
            symlink("device", at("link to device")).unwrap();
            for name in ["device", "link to device"] {
                write(&at(name), "away").unwrap();
                assert!(fs::metadata(at("device")).unwrap().file_type().is_char_device());
            }
        }

        let _listener = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, found) in [("socket", "found a socket"), ("folder", "found a folder")] {
            let error = write(&at(name), "no").unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains(found), "{error}");
        }
        assert!(fs::metadata(at("socket")).unwrap().file_type().is_socket());
        let parts = fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
        assert_eq!(parts.count(), 0);
    }

    /// `/dev/stdout` of a program whose output is redirected to a file.
    #[test]
    #[cfg(target_os = "linux")]
    fn an_open_file_is_written_into() {
        use std::os::fd::AsRawFd;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut open = File::create(&path).unwrap();
        open.write_all(b"first ").unwrap();
        for name in ["/dev/fd", "/proc/self/fd"] {
            write(&Path::new(name).join(open.as_raw_fd().to_string()), "then ").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"first then then ");
    }
}
