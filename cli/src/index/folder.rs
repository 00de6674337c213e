//! The pictures of a folder, with the times and sizes by which changed files are recognised.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use crate::{
    failure::Failure,
    files,
    pictures::{Walk, walk},
};

/// A file below a folder: the bytes of its path relative to the folder, with `/` between the parts. On Unix any bytes, elsewhere
/// UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The name of a relative path; `None` for one that cannot be kept.
    pub fn of(relative: &Path) -> Option<Self> {
        let mut name = Vec::new();
        for part in relative {
            if !name.is_empty() {
                name.push(b'/');
            }
            if cfg!(not(unix)) {
                part.to_str()?;
            }
            name.extend_from_slice(part.as_encoded_bytes());
        }
        Some(Self(name))
    }

    /// The path below `folder`.
    pub fn path(&self, folder: &Path) -> PathBuf {
        #[cfg(unix)]
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&self.0);
        #[cfg(not(unix))]
        let name = &*String::from_utf8_lossy(&self.0);
        folder.join(name)
    }

    /// Whether this is a path below a folder, as [`Name::of`] makes it.
    pub fn is_valid(&self) -> bool {
        let part = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        self.0.split(|&byte| byte == b'/').all(part) && (cfg!(unix) || str::from_utf8(&self.0).is_ok())
    }

    /// Whether this is in the folder of that name, at any depth. The empty name is that of the whole folder.
    pub fn is_in(&self, folder: &Self) -> bool {
        folder.0.is_empty() || self.0.strip_prefix(&folder.0[..]).is_some_and(|rest| rest.starts_with(b"/"))
    }
}

/// What tells a changed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970; 0 where the file system has no times.
    pub modified: i64,
}

impl Stamp {
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = path.metadata()?;
        let modified = metadata.modified().ok().map(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        });
        Ok(Self { size: metadata.len(), modified: modified.unwrap_or(0) })
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The pictures, sorted by name.
    pub pictures: Vec<(Name, Stamp)>,
    /// Folders and files that could not be looked at, with the reason.
    pub errors: Vec<(PathBuf, String)>,
    /// The folders among these.
    pub unread: Vec<Name>,
}

/// Lists the pictures in `folder` and the folders in it, by their extensions.
pub fn pictures(folder: &Path) -> Result<Found, Failure> {
    // An error here is not one of many.
    std::fs::read_dir(folder).map_err(|e| Failure::run(format!("cannot read {}: {e}", folder.display())))?;
    let mut found = Found::default();
    let name = |path: &Path| path.strip_prefix(folder).ok().and_then(Name::of);
    let Walk { files, errors } = walk(folder, files::is_picture_name);
    found.unread.extend(errors.iter().filter_map(|(path, _)| name(path)));
    found.errors = errors;
    for path in files {
        if let Err(reason) = files::expect_regular(&path) {
            found.errors.push((path, reason));
            continue;
        }
        match (Stamp::of(&path), name(&path)) {
            (Ok(stamp), Some(name)) => found.pictures.push((name, stamp)),
            (Ok(_), None) => {
                let reason = format!("{}: expected a name in Unicode, which the index can keep", path.display());
                found.errors.push((path, reason));
            }
            (Err(e), _) => {
                let reason = format!("cannot read {}: {e}", path.display());
                found.errors.push((path, reason));
            }
        }
    }
    found.pictures.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn names_are_paths_below_a_folder() {
        let name = Name::of(Path::new("a/b c.png")).unwrap();
        assert_eq!(name.0, b"a/b c.png");
        assert_eq!(name.path(Path::new("top")), Path::new("top/a/b c.png"));
        for (text, valid) in
            [("a", true), ("a/b", true), ("", false), ("/a", false), ("a/../b", false), ("a//b", false), ("a\0", false)]
        {
            assert_eq!(Name(text.into()).is_valid(), valid, "{text}");
        }
        for (folder, inside) in [("a", true), ("", true), ("a/b", false), ("b", false)] {
            assert_eq!(name.is_in(&Name(folder.into())), inside, "{folder}");
        }
    }
}
