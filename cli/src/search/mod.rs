//! `alexnet search`: look-alikes among the pictures of an index.

mod duplicates;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use alexnet_wgpu::{FeatureExtractor, FeatureSpec, Model, nearest};
use serde::Serialize;

use crate::{
    failure::{Failure, note, printable},
    files,
    index::{
        self, BATCH,
        file::{self, Features, Index},
        folder::{self, Name, Stamp},
        update::Difference,
    },
    options::GpuArgs,
    progress,
    text::{grouped, name_hex},
};

const EXAMPLES: &str = "\
Examples:
  alexnet index photos/
  alexnet search shoe.jpg photos/
  alexnet search shoe.jpg boot.jpg photos/ --top 3 --json
  alexnet search --duplicates photos/

The cosine is 1 for the same picture, about 0.99 for a recompressed or enlarged one, 0.96 for a mirrored, darker or \
lighter one or one cropped to 90 %, 0.9 in shades of grey or reduced to a quarter, 0.87 when cropped to 70 %, and 0.5 \
for an unrelated picture. Pictures of a series (icons, screenshots, frames of a film) are look-alikes too.

Exit codes: 0 done, whatever was found; 1 there is no index or no such picture, or a file or the device failed; 2 \
invalid arguments.";

/// Find look-alikes of a picture in a folder with an index
///
/// Prints the nearest pictures with their cosine, nearest first. A picture that is in the folder itself is not found again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Pictures to look for, and last the folder to search
    #[arg(required = true, value_name = "PICTURE... DIR")]
    paths: Vec<PathBuf>,
    /// The index, in place of DIR/.alexnet-index.safetensors
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// The most pictures to print for each [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "duplicates")]
    top: Option<usize>,
    /// List groups of look-alikes in the folder instead
    #[arg(long)]
    duplicates: bool,
    /// Only pictures whose cosine is at least this [default for --duplicates: 0.9]
    #[arg(long, value_name = "COSINE", value_parser = cosine, allow_negative_numbers = true)]
    above: Option<f32>,
    /// One JSON object per line: for each picture picture, found (file, cosine); for each group cosine (the least that joins
    /// it), files. Names that are no UTF-8 also as picture_hex, file_hex
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

fn cosine(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (-1.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from -1 to 1".into()),
    }
}

const TOP: usize = 10;

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some((folder, pictures)) = args.paths.split_last() else {
        return Err(Failure::usage("expected a picture and a folder"));
    };
    if args.duplicates != pictures.is_empty() {
        let expected = if args.duplicates { "one folder for --duplicates" } else { "a picture and, last, a folder" };
        let found: Vec<_> = args.paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::usage(format!("expected {expected}, found {}", found.join(" "))));
    }
    if !folder.is_dir() {
        let last = folder.display();
        return Err(Failure::usage(format!("expected a folder as the last argument, found {last}, which is none")));
    }
    let (spec, model, features) = index::features()?;
    let place = args.index.clone().unwrap_or_else(|| file::usual_place(folder));
    let again = match &args.index {
        Some(place) => format!("alexnet index {} --index {}", folder.display(), place.display()),
        None => format!("alexnet index {}", folder.display()),
    };
    let Some(index) = Index::read(&place, &features)? else {
        return Err(Failure::run(format!("there is no index {}: run {again}", place.display())));
    };
    let index = current(index, folder, &again)?;
    let mut out = anstream::stdout().lock();
    if args.duplicates {
        let above = args.above.unwrap_or(duplicates::ABOVE);
        return duplicates::print(&mut out, &index, &features, folder, above, args.json);
    }
    let queries = queries(args, pictures, folder, &index, (&spec, &model, &features))?;
    for (picture, Query { row: own, vector }) in pictures.iter().zip(queries) {
        // One more, for the picture itself.
        let top = args.top.unwrap_or(TOP);
        let found = nearest(&vector, &index.vectors, top.saturating_add(1));
        let above = |cosine: f32| args.above.is_none_or(|above| cosine >= above);
        let found = found.iter().filter(|found| Some(found.index) != own && above(found.cosine)).take(top);
        let found = found.map(|found| Found::new(&index.names[found.index].path(folder), found.cosine)).collect();
        let hits = Hits { picture: picture.display().to_string(), picture_hex: name_hex(picture), found };
        hits.print(&mut out, args.json).map_err(Failure::output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The index without pictures that are no longer there. Warns where it is not up to date.
fn current(index: Index, folder: &Path, again: &str) -> Result<Index, Failure> {
    let found = folder::pictures(folder)?;
    let difference = Difference::of(&index, &found);
    if difference.is_none() {
        return Ok(index);
    }
    let Difference { kept, new, changed, gone, .. } = difference;
    let parts = [(new.len(), "new"), (changed.len(), "changed"), (gone.len(), "gone")];
    let parts = parts.into_iter().filter(|&(count, _)| count > 0);
    let parts: Vec<_> = parts.map(|(count, what)| format!("{} {what}", grouped(count as u64))).collect();
    note(&format!("the index is out of date ({}): run {again}", parts.join(", ")));
    if gone.is_empty() {
        return Ok(index);
    }
    // What was changed is likely to look as before.
    let changed: std::collections::HashSet<&Name> = changed.iter().map(|(name, _)| name).collect();
    let mut rows = kept;
    rows.extend((0..index.len()).filter(|&row| changed.contains(&index.names[row])));
    rows.sort_unstable();
    Ok(index.select(rows))
}

/// A picture to look for.
struct Query {
    /// Its row, where it is in the index itself.
    row: Option<usize>,
    vector: Vec<f32>,
}

/// The vectors of the pictures to look for.
fn queries(
    args: &Args,
    pictures: &[PathBuf],
    folder: &Path,
    index: &Index,
    (spec, model, features): (&FeatureSpec, &Model, &Features),
) -> Result<Vec<Query>, Failure> {
    let rows: Vec<_> = pictures.iter().map(|picture| row(picture, folder, index)).collect();
    // Pictures in the index that are as they were need no device.
    let current = |(picture, row): (&PathBuf, &Option<usize>)| {
        let stamp = Stamp::of(picture).ok();
        row.filter(|&row| stamp == Some(index.stamps[row]))
    };
    let mut vectors: Vec<Vec<f32>> = (pictures.iter().zip(&rows).map(current))
        .map(|row| row.map(|row| index.vector(row).to_vec()).unwrap_or_default())
        .collect();
    let todo: Vec<usize> = (0..pictures.len()).filter(|&i| vectors[i].is_empty()).collect();
    if !todo.is_empty() {
        // Read first, so that a mistyped name is reported at once.
        let first = files::open_picture(&pictures[todo[0]]).map_err(Failure::run)?;
        let gpu = args.gpu.open()?;
        let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
        let batch = BATCH.min(todo.len());
        let extractor = progress::while_working(message, || FeatureExtractor::new(&gpu, model, spec, batch))?;
        let mut first = Some(first);
        for part in todo.chunks(batch) {
            let mut inputs = Vec::new();
            for &i in part {
                let picture = match first.take() {
                    Some(first) => first,
                    None => files::open_picture(&pictures[i]).map_err(Failure::run)?,
                };
                inputs.extend(extractor.preprocess(&picture)?);
            }
            let found = extractor.extract_blocking(&inputs)?;
            for (&i, vector) in part.iter().zip(found.chunks_exact(features.dims)) {
                vectors[i] = vector.to_vec();
            }
        }
    }
    Ok(rows.into_iter().zip(vectors).map(|(row, vector)| Query { row, vector }).collect())
}

/// The row of a picture that is in the folder.
fn row(picture: &Path, folder: &Path, index: &Index) -> Option<usize> {
    let (picture, folder) = (picture.canonicalize().ok()?, folder.canonicalize().ok()?);
    let name = Name::of(picture.strip_prefix(folder).ok()?)?;
    index.names.iter().position(|other| *other == name)
}

/// What was found for a picture.
#[derive(Serialize)]
struct Hits {
    picture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_hex: Option<String>,
    found: Vec<Found>,
}

/// A look-alike.
#[derive(Serialize)]
struct Found {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_hex: Option<String>,
    cosine: f32,
}

impl Found {
    fn new(path: &Path, cosine: f32) -> Self {
        Self { file: path.display().to_string(), file_hex: name_hex(path), cosine }
    }
}

impl Hits {
    fn print(&self, out: &mut impl Write, json: bool) -> io::Result<()> {
        if json {
            return writeln!(out, "{}", serde_json::to_string(self)?);
        }
        writeln!(out, "{}", printable(&self.picture))?;
        for found in &self.found {
            writeln!(out, "  {:.4}  {}", found.cosine, printable(&found.file))?;
        }
        if self.found.is_empty() {
            writeln!(out, "  nothing found")?;
        }
        Ok(())
    }
}
