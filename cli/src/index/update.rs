//! What an index lacks: computed in batches, and saved from time to time.

use std::{
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use alexnet_wgpu::FeatureExtractor;

use super::{
    file::{Index, Unreadable},
    folder::{Found, Name, Stamp},
};
use crate::{
    ahead,
    failure::{Failure, chain},
    files, progress,
};

/// The pictures of a folder, against its index.
#[derive(Debug, Default)]
pub struct Difference {
    /// The rows of the index that are still right.
    pub kept: Vec<usize>,
    /// Pictures that are not in the index.
    pub new: Vec<(Name, Stamp)>,
    /// Pictures that were changed since.
    pub changed: Vec<(Name, Stamp)>,
    /// The rows of files that are no longer there.
    pub gone: Vec<usize>,
    /// Files that could not be read, and are as they were.
    pub unreadable: Vec<Unreadable>,
}

impl Difference {
    pub fn of(index: &Index, found: &Found) -> Self {
        let rows: HashMap<&Name, usize> = index.names.iter().enumerate().map(|(row, name)| (name, row)).collect();
        let bad: HashMap<&Name, &Unreadable> = index.unreadable.iter().map(|bad| (&bad.name, bad)).collect();
        let mut seen = vec![false; index.len()];
        let mut difference = Self::default();
        for (name, stamp) in &found.pictures {
            match (rows.get(name), bad.get(name)) {
                (Some(&row), _) => {
                    seen[row] = true;
                    if index.stamps[row] == *stamp {
                        difference.kept.push(row);
                    } else {
                        difference.changed.push((name.clone(), *stamp));
                    }
                }
                (_, Some(&bad)) if bad.stamp == *stamp => difference.unreadable.push(bad.clone()),
                (_, Some(_)) => difference.changed.push((name.clone(), *stamp)),
                _ => difference.new.push((name.clone(), *stamp)),
            }
        }
        for row in (0..index.len()).filter(|&row| !seen[row]) {
            // A folder that cannot be read now may be there again.
            let unread =
                found.unread.iter().any(|folder| index.names[row].is_in(folder) || index.names[row] == *folder);
            if unread { &mut difference.kept } else { &mut difference.gone }.push(row);
        }
        difference
    }

    /// Whether the index is up to date.
    pub fn is_none(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty() && self.gone.is_empty()
    }
}

/// What an update did.
#[derive(Debug, Default)]
pub struct Done {
    pub computed: usize,
    /// The files that could not be read, with the reason.
    pub unreadable: Vec<(Name, String)>,
    pub took: Duration,
    /// Whether it was stopped before it was done.
    pub stopped: bool,
}

/// The least time between two saves.
const SAVE: Duration = Duration::from_secs(10);
/// The share of the time that saving may take: one in this many.
const SAVE_SHARE: u32 = 20;

/// Adds the features of `pictures` in `folder` to `index`. `save` is called from time to time.
pub fn add(
    index: &mut Index,
    pictures: &[(Name, Stamp)],
    folder: &Path,
    extractor: &FeatureExtractor,
    stop: &AtomicBool,
    save: impl Fn(&Index) -> Result<(), Failure>,
) -> Result<Done, Failure> {
    let start = Instant::now();
    let mut done = Done::default();
    let bar = progress::bar(pictures.len(), "pictures");
    let read = |(name, _): &(Name, Stamp)| {
        let path = name.path(folder);
        let picture = files::open_picture(&path)?;
        extractor.preprocess(&picture).map_err(|e| format!("{}: {}", path.display(), chain(&e)))
    };
    let mut unreadable = Vec::new();
    let failed = |(name, stamp): &(Name, Stamp), reason: String| {
        // A file that cannot be opened may be opened later, without having changed.
        match reason.strip_prefix(&format!("{}: ", name.path(folder).display())) {
            Some(reason) => {
                unreadable.push(Unreadable { name: name.clone(), stamp: *stamp, reason: reason.into() });
                done.unreadable.push((name.clone(), reason.into()));
            }
            None => done.unreadable.push((name.clone(), reason)),
        }
    };
    let mut saved: Option<(Instant, Duration)> = None;
    let size = extractor.pipeline().batch();
    let run = |extractor: &&FeatureExtractor, batch: &[(&(Name, Stamp), Vec<f32>)]| {
        let inputs: Vec<&[f32]> = batch.iter().map(|(_, input)| &input[..]).collect();
        Ok(extractor.extract_blocking(&inputs.concat())?)
    };
    let take = |extractor: &&FeatureExtractor, batch: &[(&(Name, Stamp), Vec<f32>)], vectors: Vec<f32>| {
        for (((name, stamp), _), vector) in batch.iter().zip(vectors.chunks_exact(extractor.dims())) {
            index.push(name.clone(), *stamp, vector);
        }
        done.computed += batch.len();
        // The first batch at once, so that a place that cannot be written is told before hours of work.
        if saved.is_none_or(|(when, took)| when.elapsed() > SAVE.max(took * SAVE_SHARE)) {
            let start = Instant::now();
            save(index)?;
            saved = Some((Instant::now(), start.elapsed()));
        }
        Ok(())
    };
    ahead::in_batches(pictures, size, (&bar, stop), read, || Ok((size, extractor)), run, (take, failed))?;
    index.unreadable.extend(unreadable);
    bar.finish_and_clear();
    done.unreadable.sort();
    done.took = start.elapsed();
    done.stopped = stop.load(Ordering::Relaxed) && done.computed + done.unreadable.len() < pictures.len();
    Ok(done)
}
