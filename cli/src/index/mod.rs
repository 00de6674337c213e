//! `alexnet index`: features of a folder's pictures, for `alexnet search`.

mod export;
pub mod file;
pub mod folder;
pub mod update;

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alexnet_wgpu::{FeatureExtractor, FeatureSpec, Model};
use serde::Serialize;

use self::{
    file::{Features, Index},
    folder::{Name, Stamp},
    update::{Difference, Done},
};
use crate::{
    failure::{Failure, complain, printable},
    files,
    options::GpuArgs,
    progress, signals,
    text::{grouped, megabytes, name_hex},
};

const EXAMPLES: &str = "\
Examples:
  alexnet index photos/
  alexnet search shoe.jpg photos/
  alexnet search --duplicates photos/
  alexnet index photos/ --output photos.npz

The index is a file in the folder, .alexnet-index.safetensors, or the one that --index names. Run this again when \
pictures were added, changed or removed: only what is new is computed, by size and time of the files. It can be \
stopped at any time, and goes on where it was.

Exit codes: 0 done, also where some pictures could not be read (they are listed on standard error); 1 no picture was \
found, or a file or the device failed; 2 invalid arguments; 130 stopped by Ctrl-C.";

/// Compute the features of a folder's pictures, for `alexnet search`
///
/// Looks at all pictures in the folder and the folders in it, by their extensions, except hidden ones.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A folder of pictures
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The index, in place of DIR/.alexnet-index.safetensors
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// Compute everything again, whatever the index holds
    #[arg(long)]
    rebuild: bool,
    /// Write names and vectors to a file for NumPy: `names` (as os.fsdecode gives them) and `vectors` (float32, a row for each,
    /// of length 1)
    #[arg(long, value_name = "FILE.npz")]
    output: Option<PathBuf>,
    /// One JSON object: folder, index, pictures, new, changed, gone, unchanged, unreadable (file, file_hex where the name is
    /// no UTF-8, reason), stopped, seconds, pictures_per_second
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// Pictures per run.
pub const BATCH: usize = 16;

/// The features and the model that computes them.
pub fn features() -> Result<(FeatureSpec, Model, Features), Failure> {
    let (spec, model) = (FeatureSpec::default(), FeatureSpec::imagenet_model()?);
    let features = Features::new(&spec, &model)?;
    Ok((spec, model, features))
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = &args.folder;
    if let Some(output) = &args.output
        && files::ending(output) != "npz"
    {
        return Err(Failure::usage(format!("expected an output that ends in .npz, found {}", output.display())));
    }
    if !folder.is_dir() {
        return Err(Failure::usage(format!("expected a folder, found {}, which is none", folder.display())));
    }
    let place = args.index.clone().unwrap_or_else(|| file::usual_place(folder));
    let (spec, model, features) = features()?;
    let old = if args.rebuild { None } else { Index::read(&place, &features)? };
    let found = progress::while_working("looking for pictures", || folder::pictures(folder))?;
    let read = || found.pictures.iter().map(|(name, _)| name.path(folder));
    files::keep_apart(&place, read())?;
    if let Some(output) = &args.output {
        files::keep_apart(output, read().chain([place.clone()]))?;
    }
    if found.pictures.is_empty() {
        // Also where there is an index: an empty folder is rather a disk that is not there.
        return Err(Failure::run(format!("expected pictures in {}, found none", folder.display())));
    }
    for (_, reason) in &found.errors {
        complain(reason);
    }

    let old = old.unwrap_or_default();
    let difference = Difference::of(&old, &found);
    let mut index = old.select(difference.kept.iter().copied());
    index.unreadable.clone_from(&difference.unreadable);
    for bad in &difference.unreadable {
        complain(&format!("{}: {}", bad.name.path(folder).display(), bad.reason));
    }
    let todo: Vec<_> = difference.new.iter().chain(&difference.changed).cloned().collect();
    let save = |index: &Index| index.write(&place, &features);
    let mut done = Done::default();
    if !todo.is_empty() {
        let stop = signals::stop();
        let gpu = args.gpu.open()?;
        let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
        let batch = BATCH.min(todo.len());
        let extractor = progress::while_working(message, || FeatureExtractor::new(&gpu, &model, &spec, batch))?;
        done = update::add(&mut index, &todo, folder, &extractor, &stop, save)?;
    }
    let index = index.sorted();
    if index != old || args.rebuild || !place.exists() {
        save(&index)?;
    }
    if let (Some(output), false) = (&args.output, done.stopped) {
        export::npz(output, &index, features.dims)?;
    }
    let report = Report::new(args, &place, &found, &difference, &done, &index);
    let mut out = anstream::stdout().lock();
    report.print(&mut out, args.json).map_err(Failure::output)?;
    if done.stopped {
        let left = todo.len() - done.computed - done.unreadable.len();
        complain(&format!("stopped: {} pictures are left, run this again to go on", grouped(left as u64)));
        return Ok(ExitCode::from(130));
    }
    Ok(ExitCode::SUCCESS)
}

/// The output, with the fields of `--json` in this order.
#[derive(Serialize)]
struct Report {
    folder: String,
    index: String,
    pictures: usize,
    new: usize,
    changed: usize,
    gone: usize,
    unchanged: usize,
    unreadable: Vec<UnreadableFile>,
    stopped: bool,
    seconds: f64,
    pictures_per_second: f64,
    #[serde(skip)]
    computed: usize,
    #[serde(skip)]
    bytes: u64,
}

#[derive(Serialize)]
struct UnreadableFile {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_hex: Option<String>,
    reason: String,
}

impl Report {
    fn new(
        args: &Args,
        place: &Path,
        found: &folder::Found,
        difference: &Difference,
        done: &Done,
        index: &Index,
    ) -> Self {
        let unreadable = |path: &Path, reason: &str| UnreadableFile {
            file: path.display().to_string(),
            file_hex: name_hex(path),
            reason: reason.into(),
        };
        let errors = found.errors.iter().map(|(path, reason)| unreadable(path, reason));
        let known = difference.unreadable.iter().map(|bad| (&bad.name, &bad.reason));
        let failed = known.chain(done.unreadable.iter().map(|(name, reason)| (name, reason)));
        let failed = failed.map(|(name, reason)| unreadable(&name.path(&args.folder), reason));
        let names: HashSet<&Name> = index.names.iter().collect();
        let added = |pictures: &[(Name, Stamp)]| pictures.iter().filter(|(name, _)| names.contains(name)).count();
        let seconds = done.took.as_secs_f64();
        Self {
            folder: args.folder.display().to_string(),
            index: place.display().to_string(),
            pictures: index.len(),
            new: added(&difference.new),
            changed: added(&difference.changed),
            gone: difference.gone.len(),
            unchanged: difference.kept.len(),
            unreadable: errors.chain(failed).collect(),
            stopped: done.stopped,
            seconds,
            pictures_per_second: if seconds > 0.0 { done.computed as f64 / seconds } else { 0.0 },
            computed: done.computed,
            bytes: place.metadata().map_or(0, |file| file.len()),
        }
    }

    fn print(&self, out: &mut impl Write, json: bool) -> std::io::Result<()> {
        if json {
            return writeln!(out, "{}", serde_json::to_string(self)?);
        }
        let count = |count: usize| grouped(count as u64);
        writeln!(
            out,
            "{} pictures in {} ({}): {} new, {} changed, {} gone, {} unchanged",
            count(self.pictures),
            printable(&self.index),
            megabytes(self.bytes),
            count(self.new),
            count(self.changed),
            count(self.gone),
            count(self.unchanged)
        )?;
        if !self.unreadable.is_empty() {
            writeln!(out, "{} more could not be read", count(self.unreadable.len()))?;
        }
        if self.computed > 0 {
            writeln!(out, "{:.1} pictures/s, {:.1} s in all", self.pictures_per_second, self.seconds)?;
        }
        Ok(())
    }
}
