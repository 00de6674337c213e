//! The pictures of a training: those that are trained on, and those that are held back.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    eval::{Labelled, find, folders},
    failure::{Failure, note},
};

/// The labelled pictures.
pub struct Data {
    pub labels: Vec<String>,
    pub training: Vec<Labelled>,
    /// Held back.
    pub held: Vec<Labelled>,
}

impl Data {
    /// The pictures in the class folders of `folder`. `val` is a folder of the same classes, or the share that is held back.
    pub fn find(folder: &Path, val: &str) -> Result<Self, Failure> {
        let fail = |e: io::Error| Failure::run(format!("cannot read {}: {e}", folder.display()));
        let labels = folders(folder).map_err(fail)?;
        if labels.is_empty() {
            return Err(Failure::run(format!(
                "{}: expected a folder of pictures for each class, found no folders",
                folder.display()
            )));
        }
        let all = find(folder, &labels, &[])?;
        let (training, held) = match val.parse::<f64>() {
            Ok(share) if (0.0..1.0).contains(&share) => {
                all.into_iter().partition(|picture| !is_held(&picture.path, share))
            }
            Ok(share) => {
                return Err(Failure::usage(format!("expected a share of at least 0 and less than 1, found {share}")));
            }
            Err(_) => (all, find(Path::new(val), &labels, &[])?),
        };
        let data = Self { labels, training, held };
        data.check()?;
        Ok(data)
    }

    fn check(&self) -> Result<(), Failure> {
        let counts = self.counts();
        if self.labels.len() < 2 {
            return Err(Failure::run(format!(
                "expected at least two classes to tell apart, found one, {}: make a folder for each class",
                self.labels.first().map_or("", String::as_str)
            )));
        }
        let empty: Vec<&str> = self
            .labels
            .iter()
            .zip(&counts)
            .filter(|(_, count)| **count == 0)
            .map(|(label, _)| label.as_str())
            .collect();
        if !empty.is_empty() {
            note(&format!(
                "no pictures to train on in {}: the model will not know {}",
                empty.join(", "),
                match empty.len() {
                    1 => "it",
                    _ => "them",
                }
            ));
        }
        Ok(())
    }

    /// The number of pictures of each class that are trained on.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        self.training.iter().for_each(|picture| counts[picture.class] += 1);
        counts
    }

    /// Says what was found.
    pub fn describe(&self, json: bool) -> Result<(), Failure> {
        let same = self.on_both_sides();
        let (training, held, classes) = (self.training.len(), self.held.len(), self.labels.len());
        if json {
            let found = serde_json::json!({
                "classes": self.labels, "training": training, "held_back": held, "on_both_sides": same,
            });
            writeln!(io::stdout(), "{found}").map_err(Failure::output)?;
        } else {
            let largest = self.counts().into_iter().max().unwrap_or_default();
            let smallest = self.counts().into_iter().min().unwrap_or_default();
            let found = format!("{classes} classes of {smallest} to {largest} pictures");
            writeln!(io::stdout(), "{found}; {training} to train on, {held} held back").map_err(Failure::output)?;
        }
        if same > 0 {
            note(&format!(
                "{same} of the pictures held back are among those to train on too (the same bytes): the accuracy will look \
                 better than it is"
            ));
        }
        Ok(())
    }

    /// The number of pictures held back whose bytes are those of one that is trained on.
    fn on_both_sides(&self) -> usize {
        // Only files of equal size can be equal. Opening a pipe would wait for its writer.
        let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| file.len());
        let files = |pictures: &[Labelled]| -> Vec<(u64, PathBuf)> {
            pictures.iter().filter_map(|picture| Some((size(&picture.path)?, picture.path.clone()))).collect()
        };
        let (training, held) = (files(&self.training), files(&self.held));
        let sizes = |files: &[(u64, PathBuf)]| files.iter().map(|(size, _)| *size).collect::<HashSet<_>>();
        let both: HashSet<u64> = sizes(&training).intersection(&sizes(&held)).copied().collect();
        let hash = |(_, path): &(u64, PathBuf)| Some(Sha256::digest(fs::read(path).ok()?));
        let candidates = |files: Vec<(u64, PathBuf)>| files.into_iter().filter(|(size, _)| both.contains(size));
        let known: HashSet<_> = candidates(training).filter_map(|file| hash(&file)).collect();
        candidates(held).filter_map(|file| hash(&file)).filter(|hash| known.contains(hash)).count()
    }
}

/// Whether a picture is held back: by the hash of its file's name, so that it always is or never.
fn is_held(path: &Path, share: f64) -> bool {
    let name = path.file_name().unwrap_or_default();
    let hash = Sha256::digest(name.as_encoded_bytes());
    let [a, b, c, d] = [hash[0], hash[1], hash[2], hash[3]];
    f64::from(u32::from_be_bytes([a, b, c, d])) < share * 2f64.powi(32)
}
