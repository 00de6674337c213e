//! Results written one after the other, to standard output or into a file that a later run goes on with.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use csv::ByteRecord;

use crate::{
    failure::Failure,
    files::{self, is_standard_output},
    pictures::{Done, is_standard_input},
};

/// Options of where results go.
#[derive(Debug, Default, clap::Args)]
pub struct OutputArgs {
    /// Write to this file in place of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Go on with the output of a run that was stopped: what it holds is kept and not computed again
    #[arg(long, requires = "output")]
    pub resume: bool,
}

impl OutputArgs {
    /// The file; `None` for standard output.
    pub fn file(&self) -> Option<&Path> {
        let file = self.output.as_deref()?;
        // A file called - is ./-.
        (!is_standard_input(file) && !is_standard_output(file)).then_some(file)
    }

    /// Whether an output is named, a file or not.
    pub fn is_given(&self) -> bool {
        self.output.is_some()
    }

    /// The output as it was named.
    pub fn name(&self) -> String {
        self.output.as_ref().map_or("none".into(), |output| output.display().to_string())
    }

    /// Refuses to go on with standard output.
    pub fn check(&self) -> Result<(), Failure> {
        if self.resume && self.file().is_none() {
            return Err(Failure::usage(format!("expected a file as --output with --resume, found {}", self.name())));
        }
        Ok(())
    }

    /// The ending of the output's name, in lower case.
    pub fn ending(&self) -> String {
        self.output.as_deref().map(files::ending).unwrap_or_default()
    }
}

/// Where results go. Each is written whole or not at all, as far as a file can be cut back.
#[derive(Debug)]
pub struct Output {
    /// `None` for standard output.
    file: Option<(PathBuf, File)>,
    /// The length of what the file holds, where it has one: pipes and devices have none.
    length: Option<u64>,
    /// Whether nothing is written yet.
    new: bool,
}

impl Output {
    /// Standard output.
    pub fn standard() -> Self {
        Self { file: None, length: None, new: true }
    }

    /// An empty file, or the pipe or device at `path`.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let mut output = Self::open(path)?;
        if output.length.is_some() {
            output.cut(0)?;
        }
        Ok(output)
    }

    /// The file at `path`, cut after its last whole result, and the pictures whose results it holds. `read` finds both.
    pub fn resume(
        path: &Path,
        read: impl FnOnce(&File) -> Result<(Done, u64), String>,
    ) -> Result<(Self, Done), Failure> {
        let mut output = Self::open(path)?;
        let Some((_, file)) = output.file.as_ref().filter(|_| output.length.is_some()) else {
            return Err(Failure::usage(format!(
                "expected a file to go on with, found {}, which is none",
                path.display()
            )));
        };
        let (done, whole) = read(file).map_err(|reason| {
            Failure::run(format!("{}: {reason}: leave out --resume to begin again", path.display()))
        })?;
        output.cut(whole)?;
        Ok((output, done))
    }

    fn open(path: &Path) -> Result<Self, Failure> {
        let cannot = |e: io::Error| Failure::cannot_write(path, e);
        let is_file = path.metadata().map_or(true, |found| found.is_file());
        // Opening a pipe for reading too would not wait for its reader.
        let mut options = OpenOptions::new();
        options.read(is_file).write(true).create(is_file).truncate(false);
        let file = options.open(path).map_err(cannot)?;
        let length = if is_file {
            lock(&file, path)?;
            Some(file.metadata().map_err(cannot)?.len())
        } else {
            None
        };
        Ok(Self { file: Some((path.into(), file)), length, new: true })
    }

    fn cut(&mut self, length: u64) -> Result<(), Failure> {
        if let Some((path, file)) = &self.file {
            cut(file, length).map_err(|e| Failure::cannot_write(path, e))?;
            self.length = Some(length);
            self.new = length == 0;
        }
        Ok(())
    }

    /// Whether nothing is written yet.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// Whether this is standard output.
    pub fn is_standard(&self) -> bool {
        self.file.is_none()
    }

    /// Writes whole results. Where that fails, as on a full disk, a file is left as it was.
    pub fn write(&mut self, results: &[u8]) -> Result<(), Failure> {
        self.new = false;
        let Some((path, file)) = &mut self.file else {
            let mut out = io::stdout().lock();
            return out.write_all(results).and_then(|()| out.flush()).map_err(Failure::output);
        };
        let written = file.write_all(results);
        if let Some(length) = &mut self.length {
            match written {
                Ok(()) => *length += results.len() as u64,
                // Half a result that stays is left out by a later run.
                Err(_) => drop(cut(file, *length)),
            }
        }
        written.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::cannot_write(path, e),
        })
    }
}

/// Cuts a file, to be written on from there.
pub fn cut(mut file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

/// Locks a file for this process, as long as it is open.
pub fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Failure::run(format!(
            "{}: another process writes to it: wait until it has ended, or give another --output",
            path.display()
        ))),
        // Some file systems have no locks.
        Err(TryLockError::Error(error)) => {
            log::warn!("{}: {error}", path.display());
            Ok(())
        }
    }
}

/// The pictures in a table that begins with `columns`, and the length up to the last row of one. `row` gives a picture's name at
/// its last row, or why this is no such table.
pub fn csv_rows(
    file: &File,
    columns: &[impl AsRef<str>],
    mut row: impl FnMut(&ByteRecord) -> Result<Option<Vec<u8>>, String>,
) -> Result<(Done, u64), String> {
    let (mut done, mut whole) = (Done::default(), 0);
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let ends_in_newline = ends_in_newline(file, length).map_err(|e| e.to_string())?;
    let mut table = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut record = ByteRecord::new();
    while table.read_byte_record(&mut record).map_err(|e| e.to_string())? {
        let line = record.position().map_or(0, csv::Position::line);
        let end = table.position().byte();
        // The last row may have been cut off, also at the end of a line within quotes.
        let cut = !ends_in_newline || (whole > 0 && record.len() != columns.len());
        if end == length && cut {
            break;
        }
        if whole == 0 {
            let same = record.iter().eq(columns.iter().map(|column| column.as_ref().as_bytes()));
            if !same {
                let columns: Vec<&str> = columns.iter().take(6).map(AsRef::as_ref).collect();
                return Err(format!("expected a table with the columns {}, …, found others", columns.join(", ")));
            }
            whole = end;
            continue;
        }
        if record.len() != columns.len() {
            let (expected, found) = (columns.len(), record.len());
            return Err(format!("line {line}: expected {expected} columns, found {found}"));
        }
        if let Some(name) = row(&record).map_err(|reason| format!("line {line}: {reason}"))? {
            done.add(name);
            whole = end;
        }
    }
    Ok((done, whole))
}

fn ends_in_newline(mut file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
        file.rewind()?;
    }
    Ok(last == *b"\n")
}
