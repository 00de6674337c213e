//! Features of pictures, computed once and kept in a file, so that a training that was stopped goes on from them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::UNIX_EPOCH,
};

use alexnet_wgpu::{Gpu, Model, Pipeline, Preprocessing};
use half::{f16, vec::HalfFloatVecExt};
use sha2::{Digest, Sha256};

use crate::{
    ahead,
    eval::Labelled,
    failure::{Failure, note},
    files, progress,
};

/// Pictures whose features are computed at once.
const BATCH: usize = 16;
const NAME: &str = "features.bin";

/// Pictures and their features, one after the other.
#[derive(Default)]
pub struct Features {
    pub pictures: Vec<Labelled>,
    pub values: Vec<f16>,
}

/// Features of pictures in a file: a digest of what they are features of, then a record for each picture in order. A record is
/// the picture's index, of four bytes, and its features, both little-endian.
struct FeatureFile {
    path: PathBuf,
    /// `None` after an error: the training needs no file.
    file: Option<File>,
}

/// The features of several lists of pictures; those that cannot be read are told and left out. `None` after `stop`: what was
/// computed is kept in `folder`.
pub fn compute<const N: usize>(
    gpu: &Gpu,
    trunk: &Model,
    lists: [&[Labelled]; N],
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Option<[Features; N]>, Failure> {
    let pictures: Vec<&Labelled> = lists.iter().copied().flatten().collect();
    let len = trunk.network.output().len();
    let (mut file, mut known) = FeatureFile::open(folder.join(NAME), digest(trunk, &pictures)?, len, pictures.len());
    let mut is_known = vec![false; pictures.len()];
    known.indices.iter().for_each(|&index| is_known[index] = true);
    let missing: Vec<usize> = (0..pictures.len()).filter(|&index| !is_known[index]).collect();
    if !known.indices.is_empty() {
        note(&format!("the features of {} pictures are known from before", known.indices.len()));
    }
    if !missing.is_empty() {
        let message = format!("uploading the features' network to {}", gpu.info().name);
        let builder = Pipeline::builder(gpu, &trunk.network, &trunk.weights).batch(BATCH);
        let pipeline = progress::build(message, builder)?;
        known.compute(&mut file, &pipeline, &trunk.preprocessing, (&pictures, &missing), stop)?;
    }
    let done = known.indices.len() + known.unreadable;
    if done < pictures.len() {
        note(&format!("stopped after the features of {done} of {} pictures: the same command goes on", pictures.len()));
        return Ok(None);
    }
    if known.unreadable > 0 {
        left_out(known.unreadable);
    }
    // The lists follow each other in the order of the indices.
    let (mut indices, mut values, mut first) = (known.indices.into_iter().peekable(), known.values, 0);
    Ok(Some(lists.map(|list| {
        let end = first + list.len();
        let own: Vec<usize> = std::iter::from_fn(|| indices.next_if(|&index| index < end)).collect();
        let rest = values.split_off(own.len() * len);
        let values = std::mem::replace(&mut values, rest);
        let pictures = own.into_iter().map(|index| list[index - first].clone()).collect();
        first = end;
        Features { pictures, values }
    })))
}

/// Removes the file of features when the training is complete.
pub fn forget(folder: &Path) {
    let path = folder.join(NAME);
    if let Err(error) = fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("cannot remove {}: {error}", path.display());
    }
}

/// Says how many pictures are left out.
pub fn left_out(count: usize) {
    let what = if count == 1 {
        "1 picture could not be read, and is".into()
    } else {
        format!("{count} pictures could not be read, and are")
    };
    note(&format!("{what} left out"));
}

/// What is known of the features.
#[derive(Default)]
struct Known {
    /// The pictures' indices, in ascending order.
    indices: Vec<usize>,
    values: Vec<f16>,
    unreadable: usize,
}

impl Known {
    /// Computes those that are missing.
    fn compute(
        &mut self,
        file: &mut FeatureFile,
        pipeline: &Pipeline,
        preprocessing: &Preprocessing,
        (pictures, missing): (&[&Labelled], &[usize]),
        stop: &AtomicBool,
    ) -> Result<(), Failure> {
        let bar = progress::bar(missing.len(), "features of pictures");
        let len = pipeline.network().output().len();
        let Self { indices, values, unreadable } = self;
        values.reserve(missing.len() * len);
        let read = |&index: &usize| {
            let path = &pictures[index].path;
            files::expect_regular(path)?;
            files::picture(path, preprocessing, files::Crops::One)
        };
        let run = |pipeline: &&Pipeline, batch: &[(&usize, Vec<f32>)]| {
            Ok(pipeline.run_blocking(&ahead::padded(batch.iter().map(|(_, input)| input), BATCH))?)
        };
        let take = |_: &&Pipeline, batch: &[(&usize, Vec<f32>)], outputs: Vec<f32>| {
            let first = values.len();
            values.extend(Vec::<f16>::from_f32_slice(&outputs[..batch.len() * len]));
            file.append(batch.iter().map(|(index, _)| **index), &values[first..], len);
            indices.extend(batch.iter().map(|(index, _)| **index));
            Ok(())
        };
        let failed = |_: &usize, _| *unreadable += 1;
        ahead::in_batches(missing, BATCH, (&bar, stop), read, || Ok((BATCH, pipeline)), run, (take, failed))?;
        bar.finish_and_clear();
        // Where a picture that could not be read before can be read now, it comes after later ones.
        if !indices.is_sorted() {
            let mut order: Vec<usize> = (0..indices.len()).collect();
            order.sort_by_key(|&place| indices[place]);
            *values = order.iter().flat_map(|&place| values[place * len..][..len].to_vec()).collect();
            indices.sort_unstable();
        }
        Ok(())
    }
}

impl FeatureFile {
    /// Opens the file, and reads the features in it if they are of the same pictures and network. An incomplete record at its
    /// end is cut off.
    fn open(path: PathBuf, digest: [u8; 32], len: usize, count: usize) -> (Self, Known) {
        match Self::read(&path, digest, len, count) {
            Ok((file, known)) => (Self { path, file: Some(file) }, known),
            Err(error) => {
                let mut file = Self { path, file: None };
                file.failed(&error);
                (file, Known::default())
            }
        }
    }

    fn read(path: &Path, digest: [u8; 32], len: usize, count: usize) -> io::Result<(File, Known)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut known = Known::default();
        let mut found = [0; 32];
        let length = file.metadata()?.len();
        if length < 32 || file.read_exact(&mut found).is_err() || found != digest {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&digest)?;
            return Ok((file, known));
        }
        let record = 4 + 2 * len;
        let records = usize::try_from((length - 32) / record as u64).unwrap_or(0).min(count);
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut bytes = vec![0; record];
        known.values.reserve(records * len);
        for _ in 0..records {
            reader.read_exact(&mut bytes)?;
            let (index, values) = bytes.split_at(4);
            let index = index.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            if index >= count || known.indices.last().is_some_and(|&last| last >= index) {
                break;
            }
            known.indices.push(index);
            known.values.extend(values.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])));
        }
        let end = 32 + known.indices.len() as u64 * record as u64;
        file.set_len(end)?;
        file.seek(io::SeekFrom::Start(end))?;
        Ok((file, known))
    }

    fn append(&mut self, indices: impl Iterator<Item = usize>, values: &[f16], len: usize) {
        let Some(file) = &mut self.file else { return };
        let mut bytes = Vec::with_capacity(values.len() * 2 + 64);
        for (index, values) in indices.zip(values.chunks_exact(len)) {
            bytes.extend((index as u32).to_le_bytes());
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        if let Err(error) = file.write_all(&bytes) {
            self.failed(&error);
        }
    }

    /// Goes on without the file.
    fn failed(&mut self, error: &io::Error) {
        self.file = None;
        let path = self.path.display();
        note(&format!("{path}: {error}: features are not kept, and a training that is stopped computes them again"));
    }
}

/// A digest of a network, its weights and preprocessing, and the pictures' paths, sizes and times.
fn digest(trunk: &Model, pictures: &[&Labelled]) -> Result<[u8; 32], Failure> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(trunk.network.to_json()?.as_bytes());
    add(serde_json::to_string(&trunk.preprocessing)?.as_bytes());
    for (name, tensor) in trunk.weights.iter() {
        add(name.as_bytes());
        add(tensor.bytes());
    }
    for picture in pictures {
        add(picture.path.as_os_str().as_encoded_bytes());
        if let Ok(file) = fs::metadata(&picture.path) {
            let time = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            add(&file.len().to_le_bytes());
            add(&time.map_or(0, |time| time.as_nanos()).to_le_bytes());
        }
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn whole_records_of_the_same_pictures_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let values: Vec<f16> = (0..9).map(|v| f16::from_f32(v as f32 / 3.0)).collect();
        let open = |digest| FeatureFile::open(path.clone(), digest, 3, 6);
        let (mut file, known) = open([1; 32]);
        assert!(known.indices.is_empty());
        file.append([0, 2].into_iter(), &values[..6], 3);
        file.append([4].into_iter(), &values[6..], 3);
        let (_, known) = open([1; 32]);
        assert_eq!((&known.indices[..], &known.values[..]), (&[0, 2, 4][..], &values[..]));
        // A record that was cut off is computed again.
        File::options().write(true).open(&path).unwrap().set_len(32 + 3 * 10 - 1).unwrap();
        let (mut file, known) = open([1; 32]);
        assert_eq!(known.indices, [0, 2]);
        file.append([5].into_iter(), &values[3..6], 3);
        let (_, known) = open([1; 32]);
        assert_eq!((&known.indices[..], &known.values[6..]), (&[0, 2, 5][..], &values[3..6]));
        // Other pictures have no use for them.
        assert!(open([2; 32]).1.indices.is_empty());
        assert_eq!(fs::metadata(&path).unwrap().len(), 32);
        forget(folder.path());
        assert!(!path.exists());
    }

    /// A folder in the place of the file.
    #[test]
    fn a_training_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, known) = FeatureFile::open(folder.path().into(), [1; 32], 1, 1);
        file.append([0].into_iter(), &[f16::ONE], 1);
        assert!(file.file.is_none() && known.indices.is_empty());
    }
}
