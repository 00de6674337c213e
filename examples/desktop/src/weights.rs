//! Where weights come from: the embedded model, a file, and what the `alexnet` command has fetched.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{Model, ModelOptions, WeightsError};
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

/// The endings of weight files' names.
pub const EXTENSIONS: [&str; 5] = ["safetensors", "pth", "pt", "onnx", "caffemodel"];

/// Where weights come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The library's own ten-class model.
    #[default]
    Embedded,
    /// The library's convolutions trained on ImageNet, which give no classes.
    ImageNet,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open(&self) -> Result<Model, WeightsError> {
        match self {
            Self::Embedded => Model::embedded(),
            Self::ImageNet => Model::imagenet_trunk(),
            Self::File(path) => Model::open(path, &ModelOptions::default()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("Fashion-MNIST (embedded)"),
            Self::ImageNet => f.write_str("ImageNet, features only (embedded)"),
            Self::File(path) => f.write_str(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy()),
        }
    }
}

/// Whether a file's name is that of weights.
pub fn is_weights(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    EXTENSIONS.iter().any(|known| extension == *known)
}

/// The weight files in `folder`, by name; none where there is no such folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_weights(path) && path.is_file()).collect();
    files.sort();
    files
}

/// Where `alexnet fetch` puts what it fetches: `alexnet-wgpu` in the platform's folder for caches.
pub fn cache_folder() -> Option<PathBuf> {
    let strategy = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(strategy.cache_dir().join("alexnet-wgpu"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_weight_files_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.pth", "a.ONNX", "a.onnx.part", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder.pth")).unwrap();
        let names: Vec<_> = files(folder.path()).iter().map(|p| Source::File(p.clone()).to_string()).collect();
        assert_eq!(names, ["a.ONNX", "b.pth"]);
        assert!(files(&folder.path().join("missing")).is_empty());
    }
}
