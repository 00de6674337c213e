//! Golden files.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use alexnet_wgpu::{
    CompareError, Comparer, Comparison, Gpu, GpuError, GpuOptions, Picture, PictureError, write_atomically,
};

use crate::{heat_map, write_png};

/// The largest LPIPS that passes by default.
pub const LPIPS: f32 = 0.02;
/// The largest value of the map of distances that passes by default.
pub const LOCAL: f32 = 0.3;

/// A golden file, and how alike a picture must be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Snapshot<'a> {
    golden: PathBuf,
    lpips: f32,
    local: f32,
    comparer: Option<&'a Comparer>,
    update: Update,
}

/// What to do with golden files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// Nothing.
    #[default]
    Never,
    /// Replace those of pictures that fail.
    Failing,
    /// Replace all.
    All,
}

impl Update {
    /// Reads the environment variable `UPDATE_SNAPSHOTS`: `1` and `true` update what fails, `force` all.
    pub fn from_env() -> Self {
        match env::var("UPDATE_SNAPSHOTS").as_deref() {
            Ok("1" | "true") => Self::Failing,
            Ok("force") => Self::All,
            _ => Self::Never,
        }
    }
}

impl<'a> Snapshot<'a> {
    /// A golden file, a PNG; updated as `UPDATE_SNAPSHOTS` says.
    pub fn new(golden: impl Into<PathBuf>) -> Self {
        Self { golden: golden.into(), lpips: LPIPS, local: LOCAL, comparer: None, update: Update::from_env() }
    }

    /// Sets the largest LPIPS that passes.
    pub fn lpips(mut self, most: f32) -> Self {
        self.lpips = most;
        self
    }

    /// Sets the largest value of the map of distances that passes.
    pub fn local(mut self, most: f32) -> Self {
        self.local = most;
        self
    }

    /// Compares on the device of `comparer`. By default, one adapter is opened for all tests of a program: the best one, or
    /// that of the environment variable `WGPU_ADAPTER_NAME`.
    pub fn comparer(mut self, comparer: &'a Comparer) -> Self {
        self.comparer = Some(comparer);
        self
    }

    /// Sets what happens to the golden file.
    pub fn update(mut self, update: Update) -> Self {
        self.update = update;
        self
    }

    /// Compares a picture with the golden file.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]. Files beside the golden one then show the picture (`.new.png`) and where it differs (`.diff.png`).
    pub fn check(&self, picture: &Picture) -> Result<(), SnapshotError> {
        let [new, diff] = ["new.png", "diff.png"].map(|ending| self.golden.with_extension(ending));
        let failed = match self.compare(picture) {
            Ok(()) if self.update != Update::All => None,
            Ok(()) => Some(None),
            Err(error @ (SnapshotError::Compare { .. } | SnapshotError::Gpu(_))) if !is_size(&error) => {
                return Err(error);
            }
            Err(error) => Some(Some(error)),
        };
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(written(path, error)),
            _ => Ok(()),
        };
        match failed {
            Some(Some(error)) if self.update == Update::Never => {
                write(&new, |file| write_png(picture.rgb(), [picture.width(), picture.height()], file))?;
                match &error {
                    SnapshotError::Different { comparison, .. } => {
                        if let Some(map) = &comparison.map {
                            write(&diff, |file| heat_map::write(map, file))?;
                        }
                    }
                    _ => remove(&diff)?,
                }
                Err(error)
            }
            Some(_) => {
                write(&self.golden, |file| write_png(picture.rgb(), [picture.width(), picture.height()], file))?;
                remove(&new)?;
                remove(&diff)
            }
            None => {
                remove(&new)?;
                remove(&diff)
            }
        }
    }

    fn compare(&self, picture: &Picture) -> Result<(), SnapshotError> {
        let golden = || self.golden.clone();
        if !self.golden.exists() {
            return Err(SnapshotError::Missing { golden: golden() });
        }
        let expected =
            Picture::open(&self.golden).map_err(|error| SnapshotError::Golden { golden: golden(), error })?;
        let comparer = match self.comparer {
            Some(comparer) => comparer,
            None => own_comparer()?,
        };
        let comparison = comparer
            .compare_blocking(&expected, picture)
            .map_err(|error| SnapshotError::Compare { golden: golden(), error: error.into() })?;
        if comparison.lpips <= self.lpips && comparison.largest <= self.local {
            return Ok(());
        }
        let thresholds = [self.lpips, self.local];
        Err(SnapshotError::Different { golden: golden(), thresholds, comparison: Box::new(comparison) })
    }
}

fn is_size(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Compare { error, .. } if matches!(**error, CompareError::Size { .. }))
}

/// A comparer for all tests of a program.
fn own_comparer() -> Result<&'static Comparer, SnapshotError> {
    static COMPARER: OnceLock<Result<Comparer, String>> = OnceLock::new();
    let open = || {
        let options = GpuOptions::default().adapter(env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty()));
        let gpu = Gpu::open_blocking(&options).map_err(|e: GpuError| e.to_string())?;
        Comparer::new(&gpu).map_err(|e| e.to_string())
    };
    COMPARER.get_or_init(open).as_ref().map_err(|reason| SnapshotError::Gpu(reason.clone()))
}

fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), SnapshotError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| write_atomically(path, |file| content(file))).map_err(|error| written(path, error))
}

fn written(path: &Path, error: io::Error) -> SnapshotError {
    SnapshotError::Write { path: path.into(), error }
}

/// A value rounded up to four digits: the threshold that would have admitted it.
pub fn admitting(value: f32) -> f32 {
    if value <= 0.0 {
        return 0.0;
    }
    let unit = 10f64.powi(f64::from(value).log10().floor() as i32 - 3);
    let up = (f64::from(value) / unit).ceil() * unit;
    // As it is printed and read again.
    format!("{up:.9}").parse().map_or(value, |up: f32| up.max(value))
}

/// A picture that does not look like its golden file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The picture looks different.
    #[error(
        "the picture differs from {}: LPIPS {:.5} (at most {}), the largest value of the map {:.4} (at most {}); lpips = {}, \
         local = {} would pass; see {} and {}, and update it with UPDATE_SNAPSHOTS=1",
        golden.display(), comparison.lpips, thresholds[0], comparison.largest, thresholds[1], admitting(comparison.lpips),
        admitting(comparison.largest), golden.with_extension("new.png").display(),
        golden.with_extension("diff.png").display()
    )]
    Different {
        /// The golden file.
        golden: PathBuf,
        /// The largest LPIPS and the largest value of the map that pass.
        thresholds: [f32; 2],
        /// What was found.
        comparison: Box<Comparison>,
    },
    /// There is no golden file.
    #[error("there is no {}: the picture is in {}; accept it with UPDATE_SNAPSHOTS=1", golden.display(), golden.with_extension("new.png").display())]
    Missing {
        /// The golden file.
        golden: PathBuf,
    },
    /// The golden file cannot be read.
    #[error("{}: {error}", golden.display())]
    Golden {
        /// The golden file.
        golden: PathBuf,
        /// The reason.
        error: PictureError,
    },
    /// The pictures cannot be compared.
    #[error("{}: {error}", golden.display())]
    Compare {
        /// The golden file.
        golden: PathBuf,
        /// The reason.
        error: Box<CompareError>,
    },
    /// There is no adapter to compare on.
    #[error("{0}")]
    Gpu(String),
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_told_admits_the_value() {
        for value in [1e-7, 0.00012345, 0.0281474, 0.1, 0.99999, 1.2345678] {
            let told: f32 = format!("{}", admitting(value)).parse().expect("a number");
            assert!(told >= value && told <= value * 1.01 + 1e-9, "{value}: {told}");
        }
        assert_eq!(admitting(0.0), 0.0);
    }
}
