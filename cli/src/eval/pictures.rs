//! The labelled pictures of an evaluation: folders of classes, or a list.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use alexnet_wgpu::Picture;

#[cfg(feature = "parquet")]
use crate::table;
use crate::{
    failure::Failure,
    files,
    pictures::{self, Item, PictureArgs, Walk, is_hidden, walk},
};

/// A picture and the index of its class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    pub path: PathBuf,
    pub class: usize,
}

/// Lookup of classes by names in their usual spellings.
pub struct Classes<'a> {
    labels: &'a [String],
    exact: HashMap<&'a str, usize>,
    /// By letters and digits only; `None` where several labels have the same.
    plain: HashMap<String, Option<usize>>,
    /// The same for each part of labels such as `tench, Tinca tinca`.
    parts: HashMap<String, Option<usize>>,
}

impl<'a> Classes<'a> {
    /// A lookup of these labels; `ids` are further names, one per class, or empty.
    pub fn new(labels: &'a [String], ids: &'a [String]) -> Self {
        let insert = |names: &mut HashMap<String, Option<usize>>, name: &str, class| {
            let same = |other: &mut Option<usize>| *other = other.filter(|&other| other == class);
            names.entry(letters(name)).and_modify(same).or_insert(Some(class));
        };
        let (mut plain, mut parts) = (HashMap::new(), HashMap::new());
        for (class, label) in labels.iter().enumerate() {
            insert(&mut plain, label, class);
            if label.contains(',') {
                label.split(',').for_each(|part| insert(&mut parts, part, class));
            }
        }
        let exact = labels.iter().enumerate().rev().map(|(class, label)| (label.as_str(), class));
        let ids = ids.iter().enumerate().rev().map(|(class, id)| (id.as_str(), class));
        Self { labels, exact: exact.chain(ids).collect(), plain, parts }
    }

    /// The class of a label or an id, of an index from 0, or of a label with the same letters and digits: `T-shirt/top`
    /// cannot be the name of a folder, `t-shirt top` can.
    pub fn find(&self, name: &str) -> Option<usize> {
        let index = || name.parse().ok().filter(|&class: &usize| class < self.labels.len());
        let plain = || self.plain.get(&letters(name)).copied().flatten();
        let part = || self.parts.get(&letters(name)).copied().flatten();
        self.exact.get(name).copied().or_else(index).or_else(plain).or_else(part)
    }

    /// The class that the folder of a picture names.
    fn of_folder(&self, picture: &Path) -> Option<usize> {
        self.find(&picture.parent()?.file_name()?.to_string_lossy())
    }
}

fn letters(label: &str) -> String {
    label.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A picture of an evaluation, from wherever it comes.
#[derive(Debug)]
pub struct Sample {
    pub item: Item,
    pub class: usize,
}

/// The pictures that arguments name, with their classes, in the order of the arguments. `in_table` gives those of a Parquet file.
pub fn find_all(
    args: &PictureArgs,
    classes: &Classes<'_>,
    in_table: impl Fn(&Path) -> Result<Vec<Sample>, Failure>,
) -> Result<Vec<Sample>, Failure> {
    args.check()?;
    let samples = |found: Vec<Labelled>| {
        found.into_iter().map(|Labelled { path, class }| Sample { item: Item::found(path), class }).collect()
    };
    let one = |path: &Path| match pictures::is_table(path) && !path.is_dir() {
        true => in_table(path),
        false => find_one(path, classes, args.list_end()).map(samples),
    };
    let mut found = Vec::new();
    for argument in args.named() {
        match pictures::matches(argument)? {
            Some(paths) if paths.is_empty() => {
                return Err(Failure::run(format!(
                    "{}: expected pictures, found no file that matches",
                    argument.display()
                )));
            }
            Some(paths) => {
                for path in paths {
                    found.extend(one(&path)?);
                }
            }
            None => found.extend(one(argument)?),
        }
    }
    for list in args.lists() {
        // As other programs write lists: their names are those of the folder where they run.
        found.extend(samples(in_list(list, Path::new(""), args.list_end(), classes)?));
    }
    match found.is_empty() {
        true => Err(Failure::run("expected pictures with their labels, found none")),
        false => Ok(found),
    }
}

/// The rows of a Parquet file, with the labels of another column.
#[cfg(feature = "parquet")]
pub fn in_table(path: &Path, args: &PictureArgs, column: &str, classes: &Classes<'_>) -> Result<Vec<Sample>, Failure> {
    let items = args.rows(path).map_err(Failure::run)?;
    let labels = table::labels(path, column).map_err(Failure::run)?;
    let sample = |(item, label): (Item, Option<String>)| {
        let Some(label) = label else {
            return Ok(Sample { item: item.unusable(format!("expected a label in {column}, found none")), class: 0 });
        };
        match classes.find(&label) {
            Some(class) => Ok(Sample { item, class }),
            None => Err(Failure::usage(unknown(&format!("{}: `{label}`", item.name.display()), classes))),
        }
    };
    items.zip(labels).map(sample).collect()
}

/// The pictures in the folders of `path`, or in the lines of a list. `ids` are further names of the classes.
pub fn find(path: &Path, labels: &[String], ids: &[String]) -> Result<Vec<Labelled>, Failure> {
    find_one(path, &Classes::new(labels, ids), b'\n')
}

fn find_one(path: &Path, classes: &Classes<'_>, end: u8) -> Result<Vec<Labelled>, Failure> {
    let name = path.display();
    if path.is_dir() {
        let found = in_folders(path, classes)?;
        let files = entries(path).map_or(0, |entries| entries.iter().filter(|(_, path)| path.is_file()).count());
        return match (found.is_empty(), files) {
            (false, _) => Ok(found),
            (true, 0) => Err(Failure::run(format!("{name}: expected pictures in folders of classes, found none"))),
            (true, files) => Err(Failure::run(format!(
                "{name}: expected pictures in folders of classes, found {files} files and no such folder: make a folder \
                 for each class, or a list with a picture and its label on each line"
            ))),
        };
    }
    if let Some(class) = classes.of_folder(path)
        && files::is_picture_name(path)
    {
        return Ok(vec![Labelled { path: path.into(), class }]);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let found = in_list(path, folder, end, classes).map_err(|failure| {
        // An error about a picture's bytes as text would not help.
        let readable = path.is_file() && Picture::open(path).is_ok();
        if !readable {
            return failure;
        }
        Failure::run(format!(
            "{name}: expected a folder of folders of pictures, or a text file that lists them, found a picture in a folder that \
             names no class: `alexnet classify {name}` classifies it"
        ))
    })?;
    if found.is_empty() {
        return Err(Failure::run(format!("{name}: expected a picture and its label on each line, found none")));
    }
    Ok(found)
}

fn unknown(what: &str, classes: &Classes<'_>) -> String {
    let some: Vec<&str> = classes.labels.iter().take(3).map(String::as_str).collect();
    format!(
        "{what} is neither a label of the model ({}, …) nor an index below {}: rename it, or pass the labels with --labels",
        some.join(", "),
        classes.labels.len()
    )
}

/// The names of the folders in `top`, sorted.
pub fn folders(top: &Path) -> io::Result<Vec<String>> {
    let folders = entries(top)?.into_iter().filter(|(_, path)| path.is_dir());
    Ok(folders.map(|(name, _)| name.to_string_lossy().into_owned()).collect())
}

fn in_folders(top: &Path, classes: &Classes<'_>) -> Result<Vec<Labelled>, Failure> {
    let fail = |path: &Path, e: io::Error| Failure::run(format!("cannot read {}: {e}", path.display()));
    let mut found = Vec::new();
    for (name, folder) in entries(top).map_err(|e| fail(top, e))? {
        if !folder.is_dir() {
            continue;
        }
        let class = classes
            .find(&name.to_string_lossy())
            .ok_or_else(|| Failure::usage(unknown(&format!("folder {}", folder.display()), classes)))?;
        let Walk { files, errors } = walk(&folder, |_| true);
        if let Some((_, reason)) = errors.into_iter().next() {
            return Err(Failure::run(reason));
        }
        found.extend(files.into_iter().map(|path| Labelled { path, class }));
    }
    found.sort();
    Ok(found)
}

/// All entries of a folder except hidden ones, which file managers leave there.
fn entries(folder: &Path) -> io::Result<Vec<(std::ffi::OsString, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_hidden(&entry.file_name()) {
            entries.push((entry.file_name(), entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// The pictures of a list: paths below `folder`, each with its label behind it, or in a folder that names its class.
fn in_list(list: &Path, folder: &Path, end: u8, classes: &Classes<'_>) -> Result<Vec<Labelled>, Failure> {
    let mut found = Vec::new();
    for (number, name) in (1..).zip(files::list(list, end)?) {
        let line = name.to_string_lossy();
        if line.trim().is_empty() {
            continue;
        }
        let labelled = name.to_str().and_then(|line| split(line.trim(), classes));
        let alone = || classes.of_folder(&name).filter(|_| files::is_picture_name(&name)).map(|class| (&*name, class));
        let (path, class) = labelled.map(|(path, class)| (Path::new(path), class)).or_else(alone).ok_or_else(|| {
            let what = format!("{}: line {number}: the end of `{}`", list.display(), line.trim_end());
            Failure::usage(unknown(&what, classes))
        })?;
        found.push(Labelled { path: folder.join(path), class });
    }
    Ok(found)
}

/// A path and the label after it: both may contain spaces, so the label is the longest end of the line that is one.
fn split<'a>(line: &'a str, classes: &Classes<'_>) -> Option<(&'a str, usize)> {
    line.char_indices().filter(|(_, c)| c.is_whitespace()).find_map(|(at, _)| {
        let (path, label) = (line[..at].trim_end(), line[at..].trim_start());
        if path.is_empty() { None } else { Some((path, classes.find(label)?)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_what_people_write() {
        let labels = ["T-shirt/top", "Ankle boot", "7", "crane", "Crane!", "coat"].map(String::from);
        let classes = Classes::new(&labels, &[]);
        for (name, class) in [
            ("T-shirt/top", Some(0)),
            ("t_shirt_top", Some(0)),
            ("1", Some(1)),
            ("01", Some(1)),
            ("ankle-boot", Some(1)),
            // A label before an index, and an index before a mere resemblance to a label.
            ("7", Some(2)),
            ("2", Some(2)),
            ("6", None),
            ("crane", Some(3)),
            ("Crane!", Some(4)),
            // Ambiguous.
            ("CRANE", None),
            ("COAT", Some(5)),
            ("", None),
            ("boot", None),
        ] {
            assert_eq!(classes.find(name), class, "{name}");
        }
    }

    #[test]
    fn classes_have_ids_and_synonyms() {
        let labels = ["tench, Tinca tinca", "crane", "crane, bird", "goldfish, Carassius auratus"].map(String::from);
        let ids = ["n01440764", "n03126707", "n02012849", "n01443537"].map(String::from);
        let classes = Classes::new(&labels, &ids);
        for (name, class) in [
            ("n01440764", Some(0)),
            ("n02012849", Some(2)),
            ("tench", Some(0)),
            ("Tinca_tinca", Some(0)),
            ("tench, Tinca tinca", Some(0)),
            ("crane", Some(1)),
            ("bird", Some(2)),
            ("3", Some(3)),
            ("n09999999", None),
        ] {
            assert_eq!(classes.find(name), class, "{name}");
        }
    }

    #[test]
    fn lines_are_split_where_a_label_begins() {
        let labels = ["Ankle boot", "boot", "coat"].map(String::from);
        let classes = Classes::new(&labels, &[]);
        for (line, expected) in [
            ("a.png 2", Some(("a.png", 2))),
            ("a.png\tcoat", Some(("a.png", 2))),
            ("my pictures/a b.png   Ankle boot", Some(("my pictures/a b.png", 0))),
            ("a.png boot", Some(("a.png", 1))),
            ("a.png", None),
            ("coat", None),
            ("a.png scarf", None),
        ] {
            assert_eq!(split(line, &classes), expected, "{line}");
        }
    }
}
