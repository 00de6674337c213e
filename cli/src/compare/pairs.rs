//! Which files are compared: two, or those of two folders that have the same names.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Two files to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name within the folders, with `/` between its parts; of two files, that of the second.
    pub name: String,
    /// The file of the first folder, if it has one.
    pub expected: Option<PathBuf>,
    /// The file of the second folder, if it has one.
    pub actual: Option<PathBuf>,
}

/// The pairs of two files or two folders, by name.
pub fn of(expected: &Path, actual: &Path) -> Result<Vec<Pair>, Failure> {
    match [expected, actual].map(Path::is_dir) {
        [false, false] => {
            let name = actual.file_name().unwrap_or(actual.as_os_str()).to_string_lossy().into_owned();
            Ok(vec![Pair { name, expected: Some(expected.into()), actual: Some(actual.into()) }])
        }
        [true, true] => {
            let [expected_names, actual_names] = [names(expected)?, names(actual)?];
            let all: BTreeSet<&PathBuf> = expected_names.union(&actual_names).collect();
            if all.is_empty() {
                let [expected, actual] = [expected, actual].map(Path::display);
                return Err(Failure::run(format!("expected pictures in {expected} and {actual}, found none")));
            }
            let pair = |name: &PathBuf| Pair {
                name: name.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/"),
                expected: expected_names.contains(name).then(|| expected.join(name)),
                actual: actual_names.contains(name).then(|| actual.join(name)),
            };
            Ok(all.into_iter().map(pair).collect())
        }
        [folder, _] => {
            let kind = |folder| if folder { "a folder" } else { "no folder" };
            let (expected, actual) = (expected.display(), actual.display());
            Err(Failure::usage(format!(
                "expected two pictures or two folders, found {expected} ({}) and {actual} ({})",
                kind(folder),
                kind(!folder)
            )))
        }
    }
}

/// The pictures in `folder` and the folders in it, relative to it. Hidden ones are left out.
fn names(folder: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut names = BTreeSet::new();
    let mut left = vec![PathBuf::new()];
    while let Some(part) = left.pop() {
        let here = folder.join(&part);
        let cannot = |error: io::Error| Failure::run(format!("cannot read {}: {error}", here.display()));
        for entry in std::fs::read_dir(&here).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let (path, full) = (part.join(&name), here.join(&name));
            // A link to a folder may lead back to this one.
            if full.is_dir() && !full.is_symlink() {
                left.push(path);
            } else if crate::files::is_picture_name(&path) {
                names.insert(path);
            }
        }
    }
    Ok(names)
}
