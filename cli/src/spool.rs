//! Values of pictures as they come, for outputs that cannot grow: names and numbers in a file beside the output, until all are
//! there. What is there is kept when the command is stopped or killed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{Model, Precision, Preprocessing, write_atomically};
use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use crate::{
    failure::{Failure, note},
    index::file::weights_hash,
    output,
    pictures::Done,
};

const VERSION: u32 = 1;
/// The longest first line of a spool that is read, in bytes: it names the layers.
const HEADER_LIMIT: u64 = 1 << 20;
/// Bytes that a spool without a file keeps in memory.
const IN_MEMORY: usize = 1 << 26;

/// The first line of a spool: which values it holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    version: u32,
    network: String,
    /// The SHA-256 of the weights.
    weights: String,
    preprocessing: Preprocessing,
    dtype: String,
    /// The arrays of a picture, each with its dimensions.
    arrays: Vec<(String, Vec<usize>)>,
}

/// Names and values of pictures. A picture is the length of its name in four bytes, the name, and its values.
#[derive(Debug)]
pub struct Spool {
    store: Store,
    /// The number of values per picture.
    width: usize,
    /// The names so far.
    pub names: Vec<Vec<u8>>,
    /// Where the first picture begins.
    begin: u64,
    /// Where the last picture ends.
    end: u64,
}

#[derive(Debug)]
enum Store {
    Beside(PathBuf, File),
    Temporary(SpooledTempFile),
}

/// A spool's place beside an output.
pub fn place(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_os_string();
    name.push(".part");
    name.into()
}

/// Whether an earlier run has finished an output, so that nothing is left to do; this is told.
pub fn is_finished(output: &Path) -> bool {
    let finished = output.exists() && !place(output).exists();
    if finished {
        let output = output.display();
        note(&format!("{output} is complete, and stays as it is; without --resume it is computed again"));
    }
    finished
}

impl Spool {
    /// A spool that goes with the command.
    pub fn temporary(width: usize) -> Self {
        let store = Store::Temporary(SpooledTempFile::new(IN_MEMORY));
        Self { store, width, names: vec![], begin: 0, end: 0 }
    }

    /// The spool at `path`, of these arrays of each picture. `resume` keeps the pictures that an earlier run left there.
    pub fn beside(
        path: &Path,
        arrays: Vec<(String, Vec<usize>)>,
        model: &Model,
        precision: Precision,
        resume: bool,
    ) -> Result<Self, Failure> {
        let cannot = |e: io::Error| Failure::cannot_write(path, e);
        let file = loop {
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(cannot)?;
            output::lock(&file, path)?;
            // Another process may have finished with it, and removed it, before it was locked.
            let here = same_file::Handle::from_file(file.try_clone().map_err(cannot)?).map_err(cannot)?;
            if same_file::Handle::from_path(path).is_ok_and(|there| there == here) {
                break file;
            }
        };
        let header = Header {
            version: VERSION,
            network: model.network.name().into(),
            weights: weights_hash(&model.weights),
            preprocessing: model.preprocessing,
            dtype: precision.to_string(),
            arrays,
        };
        let width = header.arrays.iter().map(|(_, dims)| dims.iter().product::<usize>()).sum();
        let mut spool = Self { store: Store::Beside(path.into(), file), width, names: vec![], begin: 0, end: 0 };
        if resume {
            spool.read(&header).map_err(|reason| {
                Failure::run(format!("{}: {reason}: leave out --resume to begin again", path.display()))
            })?;
        }
        spool.cut()?;
        if spool.begin == 0 {
            let mut line = serde_json::to_vec(&header)?;
            line.push(b'\n');
            spool.append(&line)?;
            spool.begin = spool.end;
        }
        Ok(spool)
    }

    /// Reads what is there, up to the last whole picture.
    fn read(&mut self, expected: &Header) -> Result<(), String> {
        let Store::Beside(_, file) = &mut self.store else { return Ok(()) };
        let fail = |e: io::Error| e.to_string();
        let length = file.metadata().map_err(fail)?.len();
        let mut from = BufReader::new(&*file);
        let mut line = Vec::new();
        from.by_ref().take(HEADER_LIMIT).read_until(b'\n', &mut line).map_err(fail)?;
        if line.last() != Some(&b'\n') {
            // The first write did not end.
            return match line.len() as u64 == length && (line.is_empty() || line[0] == b'{') {
                true => Ok(()),
                false => Err("expected what a stopped run leaves, found something else".into()),
            };
        }
        let found: Header =
            serde_json::from_slice(&line).map_err(|e| format!("expected what a stopped run leaves, found {e}"))?;
        if found != *expected {
            let describe = |header: &Header| {
                let arrays = header.arrays.iter().map(|(name, dims)| format!("{name} {dims:?}"));
                let weights = header.weights.get(..8).unwrap_or(&header.weights);
                let arrays: Vec<String> = arrays.collect();
                format!("{} of {}, weights {weights}, {}", arrays.join(" and "), header.network, header.dtype)
            };
            let what = match (describe(expected), describe(&found)) {
                (expected, found) if expected == found => "expected pictures prepared in the same way".into(),
                (expected, found) => format!("expected {expected}, found {found}"),
            };
            return Err(what);
        }
        self.begin = line.len() as u64;
        self.end = self.begin;
        loop {
            let mut size = [0; 4];
            if self.end + 4 > length {
                return Ok(());
            }
            from.read_exact(&mut size).map_err(fail)?;
            let name = u64::from(u32::from_le_bytes(size));
            let values = 4 * self.width as u64;
            if self.end + 4 + name + values > length {
                return Ok(());
            }
            let mut bytes = vec![0; name as usize];
            from.read_exact(&mut bytes).map_err(fail)?;
            from.seek_relative(values as i64).map_err(fail)?;
            self.names.push(bytes);
            self.end += 4 + name + values;
        }
    }

    /// The pictures that are there.
    pub fn done(&self) -> Done {
        let mut done = Done::default();
        self.names.iter().for_each(|name| done.add(name.clone()));
        done
    }

    /// Adds pictures, each with its values: all of them, or, where that fails, none.
    pub fn add<'a>(&mut self, pictures: impl Iterator<Item = (&'a Path, &'a [f32])>) -> Result<(), Failure> {
        let (mut bytes, mut names) = (Vec::new(), Vec::new());
        for (name, values) in pictures {
            let name = name.as_os_str().as_encoded_bytes();
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(name);
            values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            names.push(name.to_vec());
        }
        self.append(&bytes)?;
        self.names.extend(names);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.store {
            Store::Beside(_, file) => file.write_all(bytes),
            Store::Temporary(file) => file.write_all(bytes),
        };
        match (written, &self.store) {
            (Ok(()), _) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            (Err(e), Store::Beside(path, _)) => {
                self.cut()?;
                Err(Failure::cannot_write(path, e))
            }
            (Err(e), Store::Temporary(_)) => Err(Failure::run(format!("cannot write a temporary file: {e}"))),
        }
    }

    /// Cuts the file after its last whole picture.
    fn cut(&self) -> Result<(), Failure> {
        match &self.store {
            Store::Beside(path, file) => {
                let cut = output::cut(file, self.end);
                cut.map_err(|e| Failure::cannot_write(path, e))
            }
            Store::Temporary(_) => Ok(()),
        }
    }

    /// Passes the bytes of some of each picture's values to `write`, picture after picture.
    pub fn values(&mut self, columns: Range<usize>, write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.values_of(0..self.names.len(), columns, write)
    }

    /// The same of some pictures.
    pub fn values_of(
        &mut self,
        pictures: Range<usize>,
        columns: Range<usize>,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (skip, bytes) = (4 * columns.start as i64, 4 * columns.len());
        let rest = 4 * (self.width - columns.end) as i64;
        let before: usize = self.names[..pictures.start].iter().map(|name| 4 + name.len() + 4 * self.width).sum();
        let begin = SeekFrom::Start(self.begin + before as u64);
        let copy = |from: &mut dyn Seekable| {
            let mut buffer = vec![0; bytes];
            for name in &self.names[pictures] {
                from.skip(4 + name.len() as i64 + skip)?;
                from.read_exact(&mut buffer)?;
                from.skip(rest)?;
                write(&buffer)?;
            }
            Ok(())
        };
        match &mut self.store {
            Store::Beside(_, file) => {
                let mut from = BufReader::with_capacity(1 << 16, &*file);
                from.seek(begin)?;
                copy(&mut from)
            }
            Store::Temporary(file) => {
                let mut from = BufReader::with_capacity(1 << 16, file);
                from.seek(begin)?;
                copy(&mut from)
            }
        }
    }

    /// Some of the values of some pictures.
    #[cfg(feature = "parquet")]
    pub fn numbers(&mut self, pictures: Range<usize>, columns: Range<usize>) -> io::Result<Vec<f32>> {
        let mut numbers = Vec::with_capacity(pictures.len() * columns.len());
        self.values_of(pictures, columns, |bytes| {
            numbers.extend(bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)));
            Ok(())
        })?;
        Ok(numbers)
    }

    /// Names of pictures as text, and in hexadecimal where they are no UTF-8.
    #[cfg(feature = "parquet")]
    pub fn texts(&self, pictures: Range<usize>) -> (Vec<String>, Vec<String>) {
        let hex = |name: &Vec<u8>| match str::from_utf8(name) {
            Ok(_) => String::new(),
            Err(_) => crate::text::hex(name),
        };
        let names = &self.names[pictures];
        (names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect(), names.iter().map(hex).collect())
    }

    /// Passes the output to `write`, and removes the file; it stays where the output is not to be written yet: not `all` pictures
    /// are done, and what is done is not lost.
    pub fn finish(
        mut self,
        output: Option<&Path>,
        all: bool,
        mut write: impl FnMut(&mut Self, &mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.names.is_empty() {
            self.remove();
            return Ok(());
        }
        if !all && matches!(self.store, Store::Beside(..)) {
            return Ok(());
        }
        let mut write = |out: &mut (dyn Write + Send)| {
            let mut out = BufWriter::with_capacity(1 << 16, out);
            write(&mut self, &mut out)?;
            out.flush()
        };
        match output {
            Some(path) => write_atomically(path, |file| write(file)).map_err(|e| Failure::cannot_write(path, e))?,
            None => write(&mut io::stdout()).map_err(Failure::output)?,
        }
        self.remove();
        Ok(())
    }

    /// Removes the file, when the output is there.
    fn remove(self) {
        if let Store::Beside(path, file) = self.store {
            // Where that fails, the next run with --resume finds all pictures in it and has nothing to compute.
            let _ = fs::remove_file(&path);
            drop(file);
        }
    }
}

/// What can be read with gaps.
trait Seekable: Read {
    fn skip(&mut self, bytes: i64) -> io::Result<()>;
}

impl<R: Read + Seek> Seekable for BufReader<R> {
    fn skip(&mut self, bytes: i64) -> io::Result<()> {
        self.seek_relative(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use alexnet_wgpu::{Linear, ModelOptions, Network, Shape, Weights};

    use super::*;

    /// Wherever a file is cut, its whole pictures stay, and those that are added again make the same bytes.
    #[test]
    fn every_cut_is_gone_on_from() {
        let network = Network::builder("tiny", Shape::new(3, 2, 2)).linear("fc1", Linear::new(2)).build().unwrap();
        let weights = Weights::random(&network, 1);
        let model = Model::from_weights(weights, &ModelOptions::default().network(network)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.npz.part");
        let open = |arrays: &[(&str, usize)], resume| {
            let arrays = arrays.iter().map(|&(name, length)| (name.into(), vec![length])).collect();
            Spool::beside(&path, arrays, &model, Precision::F32, resume)
        };
        let pictures = [("a", [1.0, 2.0, 3.0]), ("bcd", [4.0, 5.0, 6.0]), ("a", [7.0, 8.0, 9.0])];
        let add = |spool: &mut Spool, from: usize| {
            spool.add(pictures[from..].iter().map(|(name, values)| (Path::new(name), &values[..]))).unwrap();
        };
        let mut spool = open(&[("fc1", 2), ("x", 1)], false).unwrap();
        let begin = spool.end;
        add(&mut spool, 0);
        drop(spool);
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..=3).map(|n| begin as usize + [0, 17, 36, 53][n]).collect();
        assert_eq!(ends[3], whole.len());

        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut spool = open(&[("fc1", 2), ("x", 1)], true).unwrap();
            let there = ends[1..].iter().filter(|&&end| end <= cut).count();
            assert_eq!(spool.names.len(), there, "{cut}");
            add(&mut spool, there);
            let mut values = Vec::new();
            let read = spool.values(1..3, |bytes| {
                values.extend(bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)));
                Ok(())
            });
            assert!(read.is_ok() && values == [2.0, 3.0, 5.0, 6.0, 8.0, 9.0], "{cut}: {values:?}");
            assert!(fs::read(&path).unwrap() == whole, "{cut}");
        }

        // Other values, another file, and a run that begins again.
        for (found, arrays, message) in [
            (&whole[..], [("fc1", 2), ("y", 1)], "expected fc1 [2] and y [1] of tiny"),
            (b"something\n", [("fc1", 2), ("x", 1)], "expected what a stopped run leaves"),
            (b"something", [("fc1", 2), ("x", 1)], "expected what a stopped run leaves"),
        ] {
            fs::write(&path, found).unwrap();
            let Err(Failure::Run(error)) = open(&arrays, true) else { panic!("{message}") };
            assert!(error.contains(message) && error.contains("leave out --resume"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), found);
        }
        let spool = open(&[("fc1", 2), ("x", 1)], false).unwrap();
        assert!(spool.names.is_empty());
        // As long as one process has it, no other does.
        assert!(open(&[("fc1", 2), ("x", 1)], true).is_err());
        spool.remove();
        assert!(!path.exists());
    }
}
