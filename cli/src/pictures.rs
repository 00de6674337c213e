//! The pictures that arguments name: files, folders, patterns, lists, and a picture on standard input.

#[cfg(feature = "parquet")]
use std::sync::Arc;
use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use alexnet_wgpu::Preprocessing;
use walkdir::{DirEntry, WalkDir};

#[cfg(feature = "parquet")]
use crate::table;
use crate::{
    failure::{Failure, complain},
    files::{self, Crops},
    progress,
    text::grouped,
};

/// Pictures to read.
#[derive(Debug, clap::Args)]
pub struct PictureArgs {
    /// Pictures: files, folders (the pictures in them, at any depth), patterns such as 'photos/*.jpg', or - for a picture on
    /// standard input
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Also the pictures and folders that a text file lists, one a line; - is a list on standard input
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The column of encoded pictures in Parquet files, where they have several
    #[cfg(feature = "parquet")]
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Lists have a zero byte after each name, as find -print0 writes it
    #[arg(short = '0', long, requires = "from")]
    null: bool,
}

/// A picture to read.
#[derive(Debug)]
pub struct Item {
    /// Its path, as it was named or found; `-` for standard input.
    pub name: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A file, or a pipe such as a shell makes.
    Named,
    /// A file in a folder or a list, where a pipe is a mistake.
    Found,
    /// What standard input held.
    Standard(Vec<u8>),
    /// A row of a Parquet file.
    #[cfg(feature = "parquet")]
    Row(Arc<table::Pictures>, usize),
    /// Something that cannot be read, and why.
    #[cfg(feature = "parquet")]
    Unusable(String),
}

impl Item {
    /// The file at `path`.
    pub fn named(path: &Path) -> Self {
        Self { name: path.into(), source: Source::Named }
    }

    /// The file at `path`, which was found in a folder or a list.
    pub fn found(path: PathBuf) -> Self {
        Self { name: path, source: Source::Found }
    }

    /// The same item, which cannot be used.
    #[cfg(feature = "parquet")]
    pub fn unusable(self, reason: String) -> Self {
        Self { source: Source::Unusable(reason), ..self }
    }

    /// The network's input for each crop, or the error, with the picture's name.
    pub fn read(&self, preprocessing: &Preprocessing, crops: Crops) -> Result<Vec<f32>, String> {
        let picture = match &self.source {
            Source::Named => files::open_picture(&self.name)?,
            Source::Found => {
                files::expect_regular(&self.name)?;
                files::open_picture(&self.name)?
            }
            Source::Standard(bytes) => files::decode_picture(bytes, &self.name)?,
            #[cfg(feature = "parquet")]
            Source::Row(table, row) => {
                let bytes = table.bytes(*row).map_err(|reason| format!("{}: {reason}", self.name.display()))?;
                files::decode_picture(bytes.data(), &self.name)?
            }
            #[cfg(feature = "parquet")]
            Source::Unusable(reason) => return Err(format!("{}: {reason}", self.name.display())),
        };
        files::crops(&picture, &self.name, preprocessing, crops)
    }
}

/// What arguments name.
#[derive(Debug, Default)]
pub struct Pictures {
    /// In the order of the arguments, then of the lists; those of a folder or a pattern by their paths. One that is named twice
    /// is here twice.
    pub items: Vec<Item>,
    /// Why arguments, folders and files could not be looked at. Each was told on standard error.
    pub errors: Vec<String>,
    /// Whether this is one picture that was named itself.
    pub single: bool,
}

impl PictureArgs {
    /// What is named itself.
    pub fn named(&self) -> &[PathBuf] {
        &self.images
    }

    /// The lists.
    pub fn lists(&self) -> &[PathBuf] {
        &self.from
    }

    /// The files among the arguments, and the lists.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.images.iter().chain(&self.from).cloned()
    }

    /// What ends each name in a list.
    pub fn list_end(&self) -> u8 {
        if self.null { 0 } else { b'\n' }
    }

    /// Refuses arguments that name nothing, or standard input twice.
    pub fn check(&self) -> Result<(), Failure> {
        if self.images.is_empty() && self.from.is_empty() {
            return Err(Failure::usage(
                "expected pictures, found none: name an <IMAGE>, a folder, or a list with --from; for more information, try \
                 '--help'",
            ));
        }
        match self.images.iter().chain(&self.from).filter(|path| is_standard_input(path)).count() {
            0 | 1 => Ok(()),
            times => Err(Failure::usage(format!("standard input can be read once, found - {times} times"))),
        }
    }

    /// Looks for the pictures. What is not there is told on standard error and counted.
    pub fn find(&self) -> Result<Pictures, Failure> {
        self.check()?;
        let mut found = Pictures {
            single: matches!(&*self.images, [one] if self.from.is_empty() && !one.is_dir() && pattern(one).is_none()),
            ..Pictures::default()
        };
        progress::while_working("looking for pictures", || {
            self.images.iter().try_for_each(|argument| found.add_argument(argument))?;
            self.from.iter().try_for_each(|list| found.add_list(list, self.list_end()))
        })?;
        self.open_tables(&mut found);
        found.errors.iter().for_each(|reason| complain(reason));
        Ok(found)
    }
}

/// Whether the argument stands for standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The argument as a pattern, where there is no such file.
fn pattern(argument: &Path) -> Option<&str> {
    argument.to_str().filter(|text| text.contains(['*', '?', '[']) && argument.symlink_metadata().is_err())
}

/// The paths that a pattern stands for, by their names, as a shell has them: `*` matches no hidden file and no `/`, and `**` any
/// folders. `None` where the argument is no pattern.
pub fn matches(argument: &Path) -> Result<Option<Vec<PathBuf>>, Failure> {
    let Some(text) = pattern(argument) else { return Ok(None) };
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let paths = glob::glob_with(text, options).map_err(|e| Failure::usage(format!("{text}: {e}")))?;
    // Folders that cannot be read match nothing, as in shells.
    Ok(Some(paths.filter_map(Result::ok).collect()))
}

impl PictureArgs {
    /// Puts the rows of Parquet files in place of these.
    #[cfg(feature = "parquet")]
    fn open_tables(&self, found: &mut Pictures) {
        let mut items = Vec::with_capacity(found.items.len());
        for item in std::mem::take(&mut found.items) {
            if !is_table(&item.name) {
                items.push(item);
                continue;
            }
            found.single = false;
            match self.rows(&item.name) {
                Ok(rows) => items.extend(rows),
                Err(reason) => found.errors.push(reason),
            }
        }
        found.items = items;
    }

    /// The rows of a Parquet file.
    #[cfg(feature = "parquet")]
    pub fn rows(&self, path: &Path) -> Result<impl Iterator<Item = Item> + use<>, String> {
        let table = Arc::new(table::Pictures::open(path, self.column.as_deref())?);
        let path = path.as_os_str().to_owned();
        Ok((0..table.len()).map(move |row| {
            let mut name = path.clone();
            name.push(format!("#{row}"));
            Item { name: name.into(), source: Source::Row(table.clone(), row) }
        }))
    }

    /// Says that Parquet files cannot be read.
    #[cfg(not(feature = "parquet"))]
    #[expect(clippy::unused_self, reason = "with the feature it has a column")]
    fn open_tables(&self, found: &mut Pictures) {
        let (tables, items) = std::mem::take(&mut found.items).into_iter().partition(|item| is_table(&item.name));
        found.items = items;
        let tables: Vec<Item> = tables;
        found.errors.extend(tables.iter().map(|table| no_tables(&table.name)));
    }
}

/// Says that a Parquet file cannot be read.
#[cfg(not(feature = "parquet"))]
pub fn no_tables(path: &Path) -> String {
    format!(
        "{}: expected pictures, found a Parquet file, which takes a command that is built with --features parquet",
        path.display()
    )
}

/// Whether a file is a Parquet file, by its name.
pub fn is_table(path: &Path) -> bool {
    files::ending(path) == "parquet"
}

impl Pictures {
    fn add_argument(&mut self, argument: &Path) -> Result<(), Failure> {
        if is_standard_input(argument) {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().take(files::STANDARD_INPUT_LIMIT).read_to_end(&mut bytes);
            read.map_err(|e| Failure::run(format!("cannot read standard input: {e}")))?;
            self.items.push(Item { name: argument.into(), source: Source::Standard(bytes) });
            return Ok(());
        }
        match matches(argument)? {
            Some(paths) if paths.is_empty() => {
                self.errors.push(format!("{}: expected pictures, found no file that matches", argument.display()));
            }
            Some(paths) => paths.into_iter().for_each(|path| self.add(path, Source::Found)),
            None => self.add(argument.into(), Source::Named),
        }
        Ok(())
    }

    fn add_list(&mut self, list: &Path, end: u8) -> Result<(), Failure> {
        let mut names = files::list(list, end)?;
        names.retain(|name| !name.as_os_str().is_empty());
        if names.is_empty() {
            self.errors.push(format!("{}: expected names of pictures, found none", list.display()));
        }
        names.into_iter().for_each(|name| self.add(name, Source::Found));
        Ok(())
    }

    /// Adds a file, or the pictures in a folder.
    fn add(&mut self, path: PathBuf, source: Source) {
        if !path.is_dir() {
            self.items.push(Item { name: path, source });
            return;
        }
        let found = walk(&path, files::is_picture_name);
        if found.files.is_empty() && found.errors.is_empty() {
            self.errors.push(format!("{}: expected pictures, found none", path.display()));
        }
        self.errors.extend(found.errors.into_iter().map(|(_, reason)| reason));
        self.items.extend(found.files.into_iter().map(|name| Item { name, source: Source::Found }));
    }
}

/// The pictures of an earlier run: how often each name is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done(HashMap<Vec<u8>, usize>);

impl Done {
    /// Counts a picture by the bytes of its name.
    pub fn add(&mut self, name: Vec<u8>) {
        *self.0.entry(name).or_default() += 1;
    }

    /// Leaves out the pictures whose results are there already: as many of a name as there are.
    pub fn leave_out<T>(mut self, pictures: &mut Vec<T>, name: impl Fn(&T) -> &Path) {
        pictures.retain(|picture| match self.0.get_mut(name(picture).as_os_str().as_encoded_bytes()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        });
    }
}

/// How a run over pictures went.
#[derive(Debug)]
pub struct Tally {
    /// All pictures and arguments.
    total: usize,
    /// The pictures among them that are to be read.
    todo: usize,
    /// How many of these were read and run, or could not be.
    pub done: usize,
    /// How many pictures and arguments failed.
    pub failed: usize,
}

impl Tally {
    /// The count before the first picture is read.
    pub fn new(pictures: &Pictures) -> Self {
        let todo = pictures.items.len();
        let failed = pictures.errors.len();
        Self { total: todo + failed, todo, done: 0, failed }
    }

    /// Whether no picture is left.
    pub fn is_done(&self) -> bool {
        self.done == self.todo
    }

    /// Says what is left and how much failed. The exit code is 130 where pictures are left, else 1 where some failed.
    pub fn end(&self, resumable: bool) -> ExitCode {
        // Fewer are counted at a glance: each has a line.
        if self.failed >= 10 {
            let [failed, total] = [self.failed, self.total].map(|count| grouped(count as u64));
            complain(&format!("{failed} of {total} pictures failed"));
        }
        stopped(self.todo - self.done, resumable).unwrap_or(ExitCode::from(u8::from(self.failed > 0)))
    }

    /// The failure that ended the run, with what is left.
    pub fn ended_by(&self, failure: Failure, resumable: bool) -> Failure {
        ended_by(failure, (self.done, self.todo), resumable)
    }
}

/// How a run goes on that left pictures.
const GO_ON: &str = "the same command with --resume goes on";

/// The failure that ended a run after `done` pictures of `todo`, such as a lost device or a full disk. Where results are kept, it
/// says how many pictures are left and how to go on.
pub fn ended_by(failure: Failure, (done, todo): (usize, usize), resumable: bool) -> Failure {
    match failure {
        Failure::Run(reason) if done > 0 && resumable => {
            let left = grouped((todo - done) as u64);
            Failure::Run(format!("{reason}; {left} pictures are left; {GO_ON}"))
        }
        failure => failure,
    }
}

/// The exit code where pictures are left, which is told.
pub fn stopped(left: usize, resumable: bool) -> Option<ExitCode> {
    if left == 0 {
        return None;
    }
    let left = grouped(left as u64);
    let how = if resumable { format!("; {GO_ON}") } else { String::new() };
    complain(&format!("stopped: {left} pictures are left{how}"));
    Some(ExitCode::from(130))
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Walk {
    /// Sorted by their paths.
    pub files: Vec<PathBuf>,
    /// What could not be looked at, with the reason.
    pub errors: Vec<(PathBuf, String)>,
}

/// The files below `folder` that `keep` admits. Hidden ones are left out, and links to folders, which could lead back.
pub fn walk(folder: &Path, keep: impl Fn(&Path) -> bool) -> Walk {
    let mut found = Walk::default();
    let hidden = |entry: &DirEntry| entry.depth() > 0 && is_hidden(entry.file_name());
    for entry in WalkDir::new(folder).into_iter().filter_entry(|entry| !hidden(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() || !keep(entry.path()) || entry.path().is_dir() => {}
            Ok(entry) => found.files.push(entry.into_path()),
            Err(error) => {
                let path = error.path().unwrap_or(folder);
                let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                found.errors.push((path.into(), format!("cannot read {}: {reason}", path.display())));
            }
        }
    }
    found.files.sort();
    found
}

/// Whether a name is one that file managers leave in folders, or is hidden.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "Thumbs.db" || name == "desktop.ini"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::fs;

    use super::*;

    fn names(found: &Pictures) -> Vec<&Path> {
        found.items.iter().map(|item| item.name.as_path()).collect()
    }

    #[test]
    fn results_are_left_out_once_each() {
        let mut found = Pictures::default();
        for name in ["a", "b", "a", "c", "a"] {
            found.items.push(Item { name: name.into(), source: Source::Named });
        }
        let mut done = Done::default();
        for name in ["a", "c", "a", "elsewhere"] {
            done.add(name.into());
        }
        done.leave_out(&mut found.items, |item| &item.name);
        assert_eq!(names(&found), ["b", "a"].map(Path::new));
    }

    #[test]
    fn patterns_are_those_of_shells() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("deep/deeper")).unwrap();
        for name in ["b.png", "a.png", ".c.png", "deep/d.png", "deep/deeper/e.png", "[x].png", "notes.txt"] {
            fs::write(at(name), "").unwrap();
        }
        let found = |pattern: &str| {
            let found = matches(&at(pattern)).unwrap();
            found.map(|paths| {
                paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_path_buf()).collect::<Vec<_>>()
            })
        };
        let paths = |names: &[&str]| Some(names.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(found("*.png"), paths(&["[x].png", "a.png", "b.png"]));
        assert_eq!(found("**/*.png"), paths(&["[x].png", "a.png", "b.png", "deep/d.png", "deep/deeper/e.png"]));
        assert_eq!(found("?.txt"), paths(&[]));
        // A file of that name is no pattern.
        assert_eq!(found("[x].png"), None);
        assert_eq!(found("a.png"), None);
    }
}
