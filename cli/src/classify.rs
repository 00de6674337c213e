//! `alexnet classify`: pictures in, labels out.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{Classifier, ClassifyError, Model, Prediction, Preprocessing, RunError};
use anstyle::Style;
use serde::Serialize;

use crate::{
    failure::{Failure, complain, printable},
    files::{self, Crops},
    options::{ComputeArgs, GpuArgs, ModelArgs},
    progress,
    text::name_hex,
};

const EXAMPLES: &str = "\
Examples:
  alexnet classify shoe.jpg
  alexnet classify --json photos/*.jpg > labels.jsonl
  alexnet classify --weights alexnet.safetensors --top 10 dog.jpg

A picture that fails is reported on standard error, and the others are still classified.
Exit codes: 0 done; 1 a picture or the device failed;
2 invalid arguments, or the number of labels is not that of the classes.";

/// Classify pictures: print labels, most likely first
///
/// Reads BMP, GIF, JPEG, PNG, PNM, TIFF and WebP. Runs the embedded model, which knows ten kinds of garment and
/// nothing else, or the weights that --weights names.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Picture files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Labels in place of the model's: a text file, one a line in the order of the classes, or JSON (a list, or a dict as
    /// class_index.json)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Number of labels per picture
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one, allow_negative_numbers = true)]
    top: usize,
    /// One JSON object per picture, one per line: image (and image_hex, the name's bytes in hexadecimal, where
    /// it is no UTF-8), network, adapter, backend, top (index, label,
    /// probability), ms (preprocess: from the file to the network's input; inference: from there to the labels)
    #[arg(long)]
    json: bool,
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

/// The number of decoded pictures that may wait while the network runs.
const AHEAD: usize = 2;

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = args.model.open(args.labels.as_deref())?;
    args.model.warn(&model, true);
    if args.model.embedded() && !args.json && io::stderr().is_terminal() {
        let kinds = model.labels.len();
        let _ =
            writeln!(io::stderr(), "The embedded model knows {kinds} kinds of garment only; --weights takes others.");
    }

    let bar = progress::bar(args.images.len(), "pictures");
    let mut failed = false;
    thread::scope(|threads| {
        // The next pictures are decoded while the network runs.
        let (send, prepared) = mpsc::sync_channel(AHEAD);
        let preprocessing = &model.preprocessing;
        threads.spawn(move || {
            for image in &args.images {
                if send.send(Prepared::new(image, preprocessing)).is_err() {
                    return;
                }
            }
        });

        let mut prepared = prepared.into_iter();
        // A large first picture takes seconds; later ones are decoded behind the bar.
        let first = args.images.first().map(|image| format!("reading {}", printable(&image.to_string_lossy())));
        let first = progress::while_working(first.unwrap_or_default(), || prepared.next());

        // Built for the first good picture, so that a mistyped file name is reported at once.
        let mut classifier = None;
        for (image, prepared) in args.images.iter().zip(first.into_iter().chain(prepared)) {
            let labelled = match prepared {
                Ok(prepared) => {
                    let classifier = match &classifier {
                        Some(classifier) => classifier,
                        None => classifier.insert(start(args, &model)?),
                    };
                    Labelled::new(classifier, image, prepared)?
                }
                Err(reason) => Err(reason),
            };
            bar.suspend(|| match labelled {
                Ok(labelled) => labelled.print(image, args.json).map_err(Failure::output),
                Err(reason) => {
                    failed = true;
                    complain(&reason);
                    Ok(())
                }
            })?;
            bar.inc(1);
        }
        Ok::<_, Failure>(())
    })?;
    bar.finish_and_clear();
    Ok(ExitCode::from(u8::from(failed)))
}

/// Builds the model on the adapter.
fn start(args: &Args, model: &Model) -> Result<Classifier, Failure> {
    let gpu = args.gpu.open()?;
    let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
    let builder = args.compute.builder(&gpu, &model.network, &model.weights, 1).top(args.top);
    let pipeline = args.model.built(progress::build(message, builder))?;
    Ok(Classifier::from_pipeline(pipeline, model.preprocessing, model.labels.clone()))
}

/// A picture converted to the network's input.
struct Prepared {
    input: Vec<f32>,
    took: Duration,
}

impl Prepared {
    fn new(image: &Path, preprocessing: &Preprocessing) -> Result<Self, String> {
        let start = Instant::now();
        Ok(Self { input: files::picture(image, preprocessing, Crops::One)?, took: start.elapsed() })
    }
}

/// The network's result for a picture.
struct Labelled<'a> {
    classifier: &'a Classifier,
    top: Vec<Prediction>,
    preprocess: Duration,
    inference: Duration,
}

impl<'a> Labelled<'a> {
    /// An inner error concerns the picture; an outer one would also affect the next pictures.
    fn new(classifier: &'a Classifier, image: &Path, picture: Prepared) -> Result<Result<Self, String>, Failure> {
        let start = Instant::now();
        match classifier.classify_input_blocking(&picture.input) {
            Ok(tops) => {
                let top = tops.into_iter().flatten().collect();
                Ok(Ok(Self { classifier, top, preprocess: picture.took, inference: start.elapsed() }))
            }
            Err(error @ ClassifyError::Run(RunError::NotANumber)) => Ok(Err(format!("{}: {error}", image.display()))),
            Err(error) => Err(error.into()),
        }
    }

    fn print(&self, image: &Path, json: bool) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        if json {
            let line = serde_json::to_string(&self.record(&image.to_string_lossy(), image))?;
            return writeln!(out, "{line}");
        }
        let bold = Style::new().bold();
        writeln!(out, "{bold}{}{bold:#}", printable(&image.to_string_lossy()))?;
        let parts = self.classifier.pipeline().network().gives_probabilities();
        for Prediction { label, probability, .. } in &self.top {
            let label = printable(label);
            if parts {
                writeln!(out, "{:7.2} %  {label}", probability * 100.0)?;
            } else {
                writeln!(out, "{probability:9.3}  {label}")?;
            }
        }
        Ok(())
    }

    fn record<'b>(&'b self, image: &'b str, path: &Path) -> Record<'b> {
        let pipeline = self.classifier.pipeline();
        let class = |p: &'b Prediction| Class { index: p.index, label: &p.label, probability: p.probability };
        Record {
            image,
            image_hex: name_hex(path),
            network: pipeline.network().name(),
            adapter: &pipeline.gpu().info().name,
            backend: pipeline.gpu().info().backend.to_str(),
            top: self.top.iter().map(class).collect(),
            ms: Milliseconds { preprocess: milliseconds(self.preprocess), inference: milliseconds(self.inference) },
        }
    }
}

/// A line of `--json`, with the fields in this order.
#[derive(Serialize)]
struct Record<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_hex: Option<String>,
    network: &'a str,
    adapter: &'a str,
    backend: &'a str,
    top: Vec<Class<'a>>,
    ms: Milliseconds,
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    probability: f32,
}

#[derive(Serialize)]
struct Milliseconds {
    preprocess: f64,
    inference: f64,
}

/// Milliseconds, rounded to microseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
