//! `alexnet eval`: accuracy of a network.

mod judgements;
mod pictures;
mod score;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::AtomicBool,
    time::Instant,
};

use alexnet_wgpu::{Model, Pipeline};
use serde::Serialize;

use self::{
    judgements::Judgements,
    pictures::{Classes, Sample},
};
pub use self::{
    pictures::{Labelled, find, folders},
    score::{Confused, Judged, Score},
};
#[cfg(not(feature = "parquet"))]
use crate::pictures::no_tables;
use crate::{
    ahead,
    failure::{Failure, printable},
    files::{self, Crops},
    labels,
    options::{BatchArgs, ComputeArgs, GpuArgs, ModelArgs},
    output::OutputArgs,
    pictures::{PictureArgs, ended_by, stopped},
    progress, signals,
    text::{grouped, name_hex, percent},
};

const EXAMPLES: &str = "\
Examples:
  alexnet eval garments/
  alexnet eval val.txt --weights torchvision
  alexnet eval val/ --weights torchvision --labels ids.txt --ten-crop
  alexnet eval val/ --output judged.csv --resume
  find val -name '*.jpg' | alexnet eval --from -

DIR has a folder for each class, named by its label or its index from 0 (only letters and digits are compared: \
t-shirt-top is T-shirt/top), with pictures at any depth. Or it is a text file with a picture, relative to that file, \
and a label or index on each line; in lists of --from, pictures are relative to the current folder. A picture without \
a label has that of its folder. In a build with the feature `parquet` it may be a Parquet file with a column of pictures and \
one of labels or indices. For folders named by WordNet ids, pass labels with those ids (--labels \
imagenet_class_index.json or synset_words.txt); for any other names, a list of them in the order of the classes: ls \
val > ids.txt.

Pictures that cannot be read are reported on standard error, counted and skipped. Ctrl-C ends early, with the figures \
of what is done; with --output, --resume then goes on.

Exit codes: 0 done; 1 no picture could be read, or nothing could be run; 2 the arguments are wrong, or a folder or a \
line names no class; 130 stopped by Ctrl-C.";

/// Measure a network's accuracy on a folder of labelled pictures
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("batch", |arg| arg.help(
    "Crops per run, with --ten-crop at least ten [default: 16 on a processor, 32 on a GPU, fewer for few pictures and for \
     networks of very large activations]"
)))]
#[command(mut_arg("from", |arg| arg.help(
    "Also a list of pictures, each with its label or in a class folder; - is a list on standard input"
)))]
#[command(mut_arg("output", |arg| arg.value_name("FILE.csv").help(
    "Write what each picture is taken for: image, class, taken_for, top5 (whether the class is among the five most likely), \
     image_hex (the name's bytes, where it is no UTF-8)"
)))]
#[command(mut_arg("images", |arg| arg.value_name("DIR").help(
    "Folders of folders of pictures, lists of pictures with labels, pictures in class folders, or patterns of these"
)))]
pub struct Args {
    #[command(flatten)]
    pictures: PictureArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Labels in place of the model's: a text file, one a line in the order of the classes, or JSON (a list, or a dict as
    /// class_index.json)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The column of labels in Parquet files
    #[cfg(feature = "parquet")]
    #[arg(long, value_name = "NAME", default_value = "label")]
    label_column: String,
    /// Average the probabilities of ten crops, as the paper does: four corners and the centre, each also mirrored
    #[arg(long)]
    ten_crop: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    batch: BatchArgs,
    /// One JSON object: network, adapter, backend, crops, pictures, unreadable (image, image_hex where
    /// the name is no UTF-8, reason), top1 and top5 (right,
    /// rate), seconds, pictures_per_second, classes (index, label, pictures, right), confusion (class, taken_for,
    /// pictures; wrong ones only)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// The most classes whose whole confusion table is printed.
const WHOLE_TABLE: usize = 20;

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.pictures.check()?;
    let model = args.model.open(args.labels.as_deref())?;
    args.model.warn(&model, true);
    let ids = args.labels.as_deref().map(labels::read).transpose()?.unwrap_or_default().ids;
    let classes = Classes::new(&model.labels, &ids);
    #[cfg(feature = "parquet")]
    let find_rows = |path: &Path| pictures::in_table(path, &args.pictures, &args.label_column, &classes);
    #[cfg(not(feature = "parquet"))]
    let find_rows = |path: &Path| Err(Failure::run(no_tables(path)));
    let mut pictures = pictures::find_all(&args.pictures, &classes, find_rows)?;
    if let Some(output) = args.output.file() {
        let read = args.model.files()?.into_iter().chain(args.labels.clone());
        let read = read.chain(args.pictures.files()).chain(pictures.iter().map(|sample| sample.item.name.clone()));
        files::keep_apart(output, read)?;
    }
    let mut score = Score::new(model.labels.len());
    let mut judgements = Judgements::open(&args.output, &mut score, &mut pictures)?;
    let before = score.pictures();
    let stop = signals::stop();

    let crops = if args.ten_crop { Crops::Ten } else { Crops::One };
    let gpu = args.compute.open(&args.gpu)?;
    let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
    let batch = args.batch.of(&gpu, &model.network, pictures.len() * crops.count());
    let at_once = (batch / crops.count()).max(1);
    let builder = args.compute.builder(&gpu, &model.network, &model.weights, at_once * crops.count());
    let pipeline = args.model.built(progress::build(message, builder))?;

    let start = Instant::now();
    let measured = measure(&pictures, &model, &pipeline, (crops, at_once), &stop, (&mut score, &mut judgements));
    let seconds = start.elapsed().as_secs_f64();
    let computed = score.pictures() - before;
    let resumable = args.output.file().is_some();
    let unreadable = measured.map_err(|failure| ended_by(failure, (computed as usize, pictures.len()), resumable))?;
    let left = pictures.len() - unreadable.len() - computed as usize;
    if score.pictures() == 0 && left == 0 {
        return Err(Failure::run(format!("none of {} pictures could be read", unreadable.len())));
    }
    let report = Report {
        network: model.network.name(),
        adapter: &gpu.info().name,
        backend: gpu.info().backend.to_str(),
        crops: crops.count(),
        pictures: score.pictures(),
        unreadable,
        top1: Rate::new(score.top1(), score.pictures()),
        top5: Rate::new(score.top5(), score.pictures()),
        seconds,
        pictures_per_second: computed as f64 / seconds,
        classes: (model.labels.iter().enumerate())
            .map(|(index, label)| Class { index, label, pictures: score.of(index), right: score.count(index, index) })
            .collect(),
        confusion: score.confused(),
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        let json = serde_json::to_string(&report)?;
        writeln!(out, "{json}").map_err(Failure::output)?;
    } else {
        report.print(&mut out, &score).map_err(Failure::output)?;
    }
    Ok(stopped(left, resumable).unwrap_or(ExitCode::SUCCESS))
}

/// Runs all pictures, counts which are right, and returns those that could not be read.
fn measure(
    pictures: &[Sample],
    model: &Model,
    pipeline: &Pipeline,
    (crops, at_once): (Crops, usize),
    stop: &AtomicBool,
    (score, judgements): (&mut Score, &mut Judgements),
) -> Result<Vec<Unreadable>, Failure> {
    let mut unreadable = Vec::new();
    let bar = progress::bar(pictures.len(), "pictures");
    let probabilities = model.network.gives_probabilities();
    let read = |sample: &Sample| sample.item.read(&model.preprocessing, crops);
    let failed = |sample: &Sample, reason| {
        let name = &sample.item.name;
        let (image, image_hex) = (name.display().to_string(), name_hex(name));
        unreadable.push(Unreadable { image, image_hex, reason });
    };
    let run = |pipeline: &&Pipeline, batch: &[(&Sample, Vec<f32>)]| {
        Ok(pipeline.run_blocking(&ahead::padded(batch.iter().map(|(_, input)| input), at_once))?)
    };
    let take = |_: &&Pipeline, batch: &[(&Sample, Vec<f32>)], outputs: Vec<f32>| {
        let of_one = crops.count() * model.labels.len();
        let mut judged = Vec::new();
        for ((sample, _), outputs) in batch.iter().zip(outputs.chunks_exact(of_one)) {
            let mean = score::mean(outputs, model.labels.len(), probabilities);
            judged.push((*sample, Judged::new(sample.class, &mean).map_err(Failure::run)?));
        }
        judged.iter().for_each(|(sample, judged)| score.add(sample.class, *judged));
        judgements.write(&judged)
    };
    ahead::in_batches(pictures, at_once, (&bar, stop), read, || Ok((at_once, pipeline)), run, (take, failed))?;
    bar.finish_and_clear();
    unreadable.sort_by(|a, b| a.image.cmp(&b.image));
    Ok(unreadable)
}

/// The output of `--json`, with the fields in this order.
#[derive(Serialize)]
struct Report<'a> {
    network: &'a str,
    adapter: &'a str,
    backend: &'a str,
    crops: usize,
    pictures: u64,
    unreadable: Vec<Unreadable>,
    top1: Rate,
    top5: Rate,
    seconds: f64,
    pictures_per_second: f64,
    classes: Vec<Class<'a>>,
    confusion: Vec<Confused>,
}

#[derive(Serialize)]
struct Unreadable {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_hex: Option<String>,
    reason: String,
}

#[derive(Serialize)]
struct Rate {
    right: u64,
    rate: f64,
}

impl Rate {
    fn new(right: u64, of: u64) -> Self {
        Self { right, rate: right as f64 / of.max(1) as f64 }
    }
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    pictures: u64,
    right: u64,
}

impl Report<'_> {
    fn print(&self, out: &mut impl Write, score: &Score) -> io::Result<()> {
        let crops = if self.crops == 1 { "one crop".into() } else { format!("the mean of {} crops", self.crops) };
        writeln!(out, "{} on {} ({}), {crops}", printable(self.network), self.adapter, self.backend)?;
        let rate = |rate: &Rate| {
            format!("{:>8}  {} of {}", percent(rate.right, self.pictures), grouped(rate.right), grouped(self.pictures))
        };
        writeln!(out, "top-1  {}", rate(&self.top1))?;
        // With five classes or fewer, the right one is always among them.
        if self.classes.len() > 5 {
            writeln!(out, "top-5  {}", rate(&self.top5))?;
        }
        if !self.unreadable.is_empty() {
            writeln!(out, "{} more could not be read", grouped(self.unreadable.len() as u64))?;
        }
        writeln!(out, "{:.1} pictures/s, {:.1} s in all", self.pictures_per_second, self.seconds)?;
        if self.classes.len() <= WHOLE_TABLE { self.print_table(out, score) } else { self.print_pairs(out) }
    }

    /// Prints a line per class, with the numbers of its pictures by predicted class.
    fn print_table(&self, out: &mut impl Write, score: &Score) -> io::Result<()> {
        let names: Vec<String> = self.classes.iter().map(|class| clipped(class.label, 20)).collect();
        let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let most = self.classes.iter().map(|class| class.pictures).max().unwrap_or(0);
        let width = grouped(most).len().max(4) + 1;
        let bold = anstyle::Style::new().bold();
        write!(out, "\n{bold}{:>3} {:name_width$} {:>8} ", "", "what it is", "right")?;
        for class in &self.classes {
            write!(out, "{:>width$}", class.index)?;
        }
        writeln!(out, "  what it is taken for{bold:#}")?;
        for (class, name) in self.classes.iter().zip(&names) {
            let right = if class.pictures == 0 { "none".into() } else { percent(class.right, class.pictures) };
            write!(out, "{:>3} {name:name_width$} {right:>8} ", class.index)?;
            for other in &self.classes {
                match score.count(class.index, other.index) {
                    0 => write!(out, "{:>width$}", "·")?,
                    n if other.index == class.index => write!(out, "{bold}{:>width$}{bold:#}", grouped(n))?,
                    n => write!(out, "{:>width$}", grouped(n))?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// Prints the most frequent mistakes.
    fn print_pairs(&self, out: &mut impl Write) -> io::Result<()> {
        const PAIRS: usize = 10;
        if !self.confusion.is_empty() {
            writeln!(out, "\nMistaken most often:")?;
        }
        for Confused { class, taken_for, pictures } in self.confusion.iter().take(PAIRS) {
            let [class, other] = [class, taken_for].map(|&index| &self.classes[index]);
            let of = grouped(class.pictures);
            writeln!(
                out,
                "{:>7} of {of} {} taken for {}",
                grouped(*pictures),
                clipped(class.label, 40),
                clipped(other.label, 40)
            )?;
        }
        Ok(())
    }
}

fn clipped(label: &str, width: usize) -> String {
    let label = printable(label);
    match label.char_indices().nth(width) {
        Some((end, _)) => label[..end].to_string(),
        None => label,
    }
}
