//! A folder with a folder of pictures for each class.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alexnet_wgpu::train::shuffled;

use crate::pictures;

/// One of so many pictures of a class is held back.
const HELD: usize = 5;

/// A picture and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub path: PathBuf,
    pub class: usize,
}

/// The pictures of a folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The names of the classes' folders, sorted.
    pub labels: Vec<String>,
    pub training: Vec<Labelled>,
    /// A fifth of each class, to measure how good the network is on pictures that it never saw.
    pub held: Vec<Labelled>,
}

impl Found {
    /// Looks into the folders of `folder`. The same pictures are always held back.
    pub fn find(folder: &Path) -> Result<Self, String> {
        let name = folder.display();
        let entries = fs::read_dir(folder).map_err(|e| format!("cannot read {name}: {e}"))?;
        let is_hidden = |path: &Path| path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".");
        let paths = entries.flatten().map(|entry| entry.path());
        let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir() && !is_hidden(path)).collect();
        folders.sort();
        let mut found = Self::default();
        for folder in folders {
            let files = pictures::files(&folder);
            if files.is_empty() {
                continue;
            }
            let class = found.labels.len();
            found.labels.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
            let mut is_held = vec![false; files.len()];
            shuffled(files.len(), class as u64).into_iter().take(files.len() / HELD).for_each(|at| is_held[at] = true);
            for (path, is_held) in files.into_iter().zip(is_held) {
                let to = if is_held { &mut found.held } else { &mut found.training };
                to.push(Labelled { path, class });
            }
        }
        match found.labels.len() {
            0 => Err(format!("{name}: expected a folder of pictures for each class, found none")),
            1 => Err(format!("{name}: expected at least two folders of pictures, one for each class, found one")),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn folders_are_classes_and_a_fifth_of_each_is_held_back() {
        let folder = tempfile::tempdir().unwrap();
        for (class, count) in [("b", 10), ("a", 4), ("empty", 0), (".hidden", 3)] {
            let class = folder.path().join(class);
            fs::create_dir(&class).unwrap();
            (0..count).for_each(|at| fs::write(class.join(format!("{at}.png")), "").unwrap());
        }
        fs::write(folder.path().join("a").join("notes.txt"), "").unwrap();
        let found = Found::find(folder.path()).unwrap();
        assert_eq!(found.labels, ["a", "b"]);
        assert_eq!([found.training.len(), found.held.len()], [12, 2]);
        assert!(found.held.iter().all(|picture| picture.class == 1 && !found.training.contains(picture)));
        assert_eq!(Found::find(folder.path()).unwrap().held, found.held);
    }

    #[test]
    fn one_class_or_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Found::find(folder.path()).unwrap_err().contains("found none"));
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a").join("1.png"), "").unwrap();
        assert!(Found::find(folder.path()).unwrap_err().contains("found one"));
        assert!(Found::find(&folder.path().join("nowhere")).unwrap_err().contains("cannot read"));
    }
}
