//! `alexnet classify`: pictures in, labels out.

mod report;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use alexnet_wgpu::{Classifier, ClassifyError, Gpu, Model, Prediction, RunError};

use self::report::{Format, Report};
use crate::{
    ahead,
    failure::{Failure, complain, tell},
    files::{self, Crops},
    options::{BatchArgs, ComputeArgs, GpuArgs, ModelArgs},
    output::OutputArgs,
    pictures::{Item, PictureArgs, Tally},
    progress, signals,
};

const EXAMPLES: &str = "\
Examples:
  alexnet classify shoe.jpg
  alexnet classify --weights alexnet.safetensors --top 10 dog.jpg
  alexnet classify photos/ --output labels.csv
  alexnet classify photos/ --output labels.csv --resume
  find photos -mtime -1 -print0 | alexnet classify --from - -0 --json
  curl https://example.org/shoe.jpg | alexnet classify -

A picture that fails is reported on standard error, and the others are still classified. Ctrl-C ends after the \
pictures that are under way; what is done is kept. With --output, --resume then goes on, when the arguments are the \
same. A picture that could not be read is tried again.

Exit codes: 0 done; 1 a picture or the device failed; 130 stopped by Ctrl-C; 2 invalid arguments, or the number of \
labels is not that of the classes.";

/// Classify pictures: print labels, most likely first
///
/// Reads BMP, GIF, JPEG, PNG, PNM, TIFF and WebP. Runs the embedded model, which knows ten kinds of garment and
/// nothing else, or the weights that --weights names.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pictures: PictureArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Labels in place of the model's: a text file, one a line in the order of the classes, or JSON (a list, or a dict as
    /// class_index.json)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Number of labels per picture
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one, allow_negative_numbers = true)]
    top: usize,
    /// Form of the output [default: by the ending of --output, which is .json, .jsonl or .csv, else text]
    #[arg(long, value_name = "FORM", value_enum)]
    format: Option<Format>,
    /// The same as --format json. One JSON object per picture, one per line: image (and image_hex, the name's bytes in
    /// hexadecimal, where it is no UTF-8), network, adapter, backend, top (index, label,
    /// probability), ms (preprocess: from the file to the network's input; inference: from there to the labels, a
    /// picture's share of its batch's time; two batches may be under way at once)
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of at least 1".into()),
        Ok(number) => Ok(number),
    }
}

impl Args {
    fn format(&self) -> Format {
        let ending = match &*self.output.ending() {
            "csv" => Format::Csv,
            "json" | "jsonl" => Format::Json,
            #[cfg(feature = "parquet")]
            "parquet" => Format::Parquet,
            _ => Format::Text,
        };
        if self.json { Format::Json } else { self.format.unwrap_or(ending) }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    run_on(args, || args.compute.open(&args.gpu))
}

/// Classifies on the device that `open` opens.
pub fn run_on(args: &Args, open: impl FnOnce() -> Result<Gpu, Failure>) -> Result<ExitCode, Failure> {
    args.pictures.check()?;
    args.output.check()?;
    let model = args.model.open(args.labels.as_deref())?;
    args.model.warn(&model, true);
    let format = args.format();
    if args.model.embedded() && format == Format::Text {
        let kinds = model.labels.len();
        tell(&format!("The embedded model knows {kinds} kinds of garment only; --weights takes others."));
    }
    let mut pictures = args.pictures.find()?;
    if let Some(output) = args.output.file() {
        let read = args.model.files()?.into_iter().chain(args.labels.clone()).chain(args.pictures.files());
        files::keep_apart(output, read.chain(pictures.items.iter().map(|item| item.name.clone())))?;
    }
    #[cfg(feature = "parquet")]
    if args.output.resume && format == Format::Parquet && args.output.file().is_some_and(crate::spool::is_finished) {
        return Ok(ExitCode::SUCCESS);
    }
    let (mut report, done) = Report::open(&args.output, format, args.top, &model, args.compute.precision())?;
    done.leave_out(&mut pictures.items, |item| &item.name);
    // A single picture has nothing to keep.
    let stop = if pictures.items.len() > 1 { signals::stop() } else { Default::default() };

    let bar = progress::bar(pictures.items.len(), "pictures");
    let mut tally = Tally::new(&pictures);
    let (mut unread, mut unfit) = (0, 0);
    let read = |item: &Item| {
        let start = Instant::now();
        Ok(Prepared { input: item.read(&model.preprocessing, Crops::One)?, took: start.elapsed() })
    };
    // Built for the first good picture, so that a mistyped file name is reported at once.
    let start = || {
        let classifier = start(args, &open()?, &model, pictures.items.len())?;
        Ok((classifier.pipeline().batch(), classifier))
    };
    let take = |classifier: &Classifier, batch: &[(&Item, Prepared)], tops: Vec<Result<Top, String>>| {
        tally.done += batch.len();
        let mut labelled = Vec::new();
        bar.suspend(|| {
            for ((item, prepared), top) in batch.iter().zip(tops) {
                match top {
                    Ok(Top { classes, took }) => {
                        let preprocess = prepared.took;
                        labelled.push(Labelled { classifier, item, top: classes, preprocess, inference: took });
                    }
                    Err(reason) => {
                        complain(&reason);
                        unfit += 1;
                    }
                }
            }
            report.write(&labelled)
        })
    };
    let failed = |_: &Item, _| unread += 1;
    let waiting = args.batch.waiting();
    let ended = ahead::in_batches(&pictures.items, waiting, (&bar, &stop), read, start, classify, (take, failed));
    bar.finish_and_clear();
    let resumable = args.output.file().is_some() && format != Format::Text;
    ended.map_err(|failure| tally.ended_by(failure, resumable))?;
    tally.done += unread;
    #[cfg(feature = "parquet")]
    report.finish(&args.output, &model.labels, tally.is_done())?;
    tally.failed += unread + unfit;
    Ok(tally.end(resumable))
}

/// Builds the model on the adapter.
fn start(args: &Args, gpu: &Gpu, model: &Model, pictures: usize) -> Result<Classifier, Failure> {
    let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
    let batch = args.batch.of(gpu, &model.network, pictures);
    let builder = args.compute.builder_for(gpu, &model.network, &model.weights, batch, pictures).top(args.top);
    let pipeline = args.model.built(progress::build(message, builder))?;
    Ok(Classifier::from_pipeline(pipeline, model.preprocessing, model.labels.clone()))
}

/// A picture converted to the network's input.
struct Prepared {
    input: Vec<f32>,
    took: Duration,
}

/// The network's result for a picture.
struct Labelled<'a> {
    classifier: &'a Classifier,
    item: &'a Item,
    top: Vec<Prediction>,
    preprocess: Duration,
    inference: Duration,
}

/// The most likely classes of a picture, and its share of the time of its batch.
#[derive(Clone)]
struct Top {
    classes: Vec<Prediction>,
    took: Duration,
}

/// Runs a batch. An inner error concerns a picture; an outer one would also affect the next pictures.
fn classify(classifier: &Classifier, batch: &[(&Item, Prepared)]) -> Result<Vec<Result<Top, String>>, Failure> {
    let start = Instant::now();
    let inputs = batch.iter().map(|(_, prepared)| &prepared.input);
    match classifier.classify_input_blocking(&ahead::padded(inputs, classifier.pipeline().batch())) {
        Ok(tops) => {
            let took = start.elapsed() / batch.len() as u32;
            Ok(tops.into_iter().take(batch.len()).map(|classes| Ok(Top { classes, took })).collect())
        }
        Err(error @ ClassifyError::Run(RunError::NotANumber)) => match batch {
            [(item, _)] => Ok(vec![Err(format!("{}: {error}", item.name.display()))]),
            // One of them spoils it for all.
            _ => Ok(batch.chunks(1).map(|alone| classify(classifier, alone)).collect::<Result<Vec<_>, _>>()?.concat()),
        },
        Err(error) => Err(error.into()),
    }
}
