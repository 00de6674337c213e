//! `alexnet features`: activations of layers.

mod arrays;
mod layers;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use alexnet_wgpu::{Gpu, Model, Pipeline};
use clap::ValueEnum;

use self::layers::Layers;
use crate::{
    ahead,
    failure::{Failure, tell},
    files::{self, Crops},
    options::{BatchArgs, ComputeArgs, GpuArgs, ModelArgs},
    output::{Output, OutputArgs, csv_rows},
    pictures::{Done, Item, PictureArgs, Pictures, Tally},
    progress, signals,
    spool::{self, Spool},
    text::{name_bytes, name_hex},
};

const EXAMPLES: &str = "\
Examples:
  alexnet features shoe.jpg --layer fc7 --output shoe.npy
  alexnet features dog.jpg --weights torchvision --layer conv1 --output dog.npy
  alexnet features photos/ --layer pool5 --layer fc7 --output photos.npz
  alexnet features --from list.txt --layer fc6:pre --format csv > fc6.csv
  alexnet features --input tensor.npy --layer pool5 --output pool5.npy

A picture that fails is reported on standard error, and has no row. Until all pictures are done, their values are in \
FILE.part (for .csv in FILE itself). After Ctrl-C or a crash, --resume goes on from there, when the arguments are the \
same; what could not be read is tried again.

Exit codes: 0 done; 1 a picture, a file or the device failed; 130 stopped by Ctrl-C; 2 invalid arguments, or no such \
layer.";

/// Write activations of layers to a NumPy, safetensors or CSV file
///
/// float32, after the layer's ReLU where it has one. For one picture that is named, channels × rows × columns, or one dimension
/// after the fully connected layers; for several, and always in .npz, an array with the pictures as its first dimension.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pictures: PictureArgs,
    /// The network's input itself in place of a picture, without preprocessing: a .npy file of little-endian float32,
    /// channels × rows × columns (3×227×227 for the embedded model) or rows × columns × channels, in C order
    #[arg(long, value_name = "FILE.npy", conflicts_with_all = ["images", "from"])]
    input: Option<PathBuf>,
    /// A layer, or several by repeating this: conv1 … conv5, pool1, pool2, pool5, fc6, fc7, fc8, prob, and any others of the
    /// network (norm1, norm2, avgpool, drop6, …); fc6:pre is fc6 before its activation function
    #[arg(long, value_name = "NAME", required = true)]
    layer: Vec<String>,
    /// Form of the output [default: by the ending of --output]
    #[arg(long, value_name = "FORM", value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// NumPy's array of one layer
    Npy,
    /// NumPy's archive: an array for each layer, named after it, and the pictures' `names` (as os.fsdecode gives them)
    Npz,
    /// A tensor for each layer, named after it, and the bytes of the `names` of several pictures, each with a zero after it
    Safetensors,
    /// A line for each picture: image, a column for each value (fc7.0, fc7.1, …), and image_hex, the name's bytes where it is no
    /// UTF-8
    Csv,
    /// A row for each picture: image, a list of the values of each layer, and image_hex
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Args {
    fn format(&self) -> Result<Format, Failure> {
        let found = match (self.format, &*self.output.ending()) {
            (Some(format), _) => return Ok(format),
            (None, "npy") => return Ok(Format::Npy),
            (None, "npz") => return Ok(Format::Npz),
            (None, "safetensors") => return Ok(Format::Safetensors),
            (None, "csv") => return Ok(Format::Csv),
            #[cfg(feature = "parquet")]
            (None, "parquet") => return Ok(Format::Parquet),
            _ => self.output.name(),
        };
        let expected = "expected --format, or an --output that ends in .npy, .npz, .safetensors or .csv";
        Err(Failure::usage(format!("{expected}, found {found}")))
    }

    /// Refuses what does not go together, before anything is computed.
    fn check(&self, format: Format) -> Result<(), Failure> {
        if self.input.is_none() {
            self.pictures.check()?;
        }
        self.output.check()?;
        if format == Format::Npy && self.layer.len() > 1 {
            let found = self.layer.len();
            return Err(Failure::usage(format!(
                "expected one layer for a .npy file, found {found}: .npz, .safetensors and .csv hold several"
            )));
        }
        if format != Format::Csv && self.layer.iter().any(|layer| layer == "names") {
            return Err(Failure::usage(
                "expected layers other than names, which the pictures' names are called: use .csv",
            ));
        }
        if self.output.file().is_none() && format != Format::Csv && io::stdout().is_terminal() {
            return Err(Failure::usage("expected --output, since a terminal shows no arrays"));
        }
        match self.output.file() {
            Some(file) if file.is_dir() => {
                Err(Failure::run(format!("cannot write {}: expected a file, found a folder", file.display())))
            }
            _ => Ok(()),
        }
    }

    /// The pictures, or the tensor in place of one.
    fn find(&self) -> Result<Pictures, Failure> {
        match &self.input {
            Some(path) => Ok(Pictures { items: vec![Item::named(path)], errors: vec![], single: true }),
            None => self.pictures.find(),
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    run_on(args, || args.compute.open(&args.gpu))
}

/// Computes features on the device that `open` opens.
pub fn run_on(args: &Args, open: impl FnOnce() -> Result<Gpu, Failure>) -> Result<ExitCode, Failure> {
    let format = args.format()?;
    args.check(format)?;
    let model = args.model.open(None)?;
    args.model.warn(&model, args.input.is_none());
    let layers = Layers::new(&model, &args.layer)?;
    let mut pictures = args.find()?;
    if let Some(output) = args.output.file() {
        let read = args.model.files()?.into_iter().chain(args.pictures.files());
        files::keep_apart(output, read.chain(pictures.items.iter().map(|item| item.name.clone())))?;
        if args.output.resume && format != Format::Csv && spool::is_finished(output) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let (mut target, done) = Target::open(args, format, &layers, &model, pictures.single)?;
    done.leave_out(&mut pictures.items, |item| &item.name);
    // A single picture has nothing to keep.
    let stop = if pictures.items.len() > 1 { signals::stop() } else { Default::default() };

    let bar = progress::bar(pictures.items.len(), "pictures");
    let mut tally = Tally::new(&pictures);
    let mut unread = 0;
    let shape = model.network.input();
    let read = |item: &Item| match args.input {
        Some(_) => files::read_npy(&item.name, &[shape.channels, shape.height, shape.width]),
        None => item.read(&model.preprocessing, Crops::One),
    };
    // Built for the first good picture, so that a mistyped file name is reported at once.
    let start = || {
        let pipeline = start(args, &open()?, &model, &layers, pictures.items.len())?;
        Ok((pipeline.batch(), pipeline))
    };
    let names = layers.names();
    let run = |pipeline: &Pipeline, batch: &[(&Item, Vec<f32>)]| {
        let inputs = ahead::padded(batch.iter().map(|(_, input)| input), pipeline.batch());
        Ok(pipeline.run_layers_blocking(&inputs, &names)?)
    };
    let take = |_: &Pipeline, batch: &[(&Item, Vec<f32>)], read: Vec<Vec<f32>>| {
        let values = |picture: usize| {
            let of =
                |(layer, values): (&layers::Wanted, &Vec<f32>)| values[picture * layer.len()..][..layer.len()].to_vec();
            layers.wanted.iter().zip(&read).flat_map(of).collect()
        };
        let rows: Vec<Vec<f32>> = (0..batch.len()).map(values).collect();
        target.add(batch.iter().zip(&rows).map(|((item, _), values)| (&*item.name, &values[..])))?;
        tally.done += batch.len();
        Ok(())
    };
    let failed = |_: &Item, _| unread += 1;
    let waiting = args.batch.waiting();
    let ended = ahead::in_batches(&pictures.items, waiting, (&bar, &stop), read, start, run, (take, failed));
    bar.finish_and_clear();
    let resumable = args.output.file().is_some();
    ended.map_err(|failure| tally.ended_by(failure, resumable))?;
    tally.done += unread;
    tally.failed += unread;
    target.finish(args, format, &layers, pictures.single, tally.is_done())?;
    if let Some(output) = args.output.file().filter(|_| tally.is_done()) {
        tell(&format!("wrote {layers} to {}", output.display()));
    }
    Ok(tally.end(resumable))
}

/// Builds the network on the adapter.
fn start(args: &Args, gpu: &Gpu, model: &Model, layers: &Layers, pictures: usize) -> Result<Pipeline, Failure> {
    let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
    let batch = args.batch.of(gpu, &layers.network, pictures);
    let builder = args.compute.builder_for(gpu, &layers.network, &layers.weights, batch, pictures);
    args.model.built(progress::build(message, builder))
}

/// Where values go.
enum Target {
    /// A table, which grows.
    Table(Output, Vec<String>),
    /// Where they wait for those of the other pictures.
    Arrays(Spool),
}

impl Target {
    /// The target, and the pictures whose values it holds already.
    fn open(
        args: &Args,
        format: Format,
        layers: &Layers,
        model: &Model,
        single: bool,
    ) -> Result<(Self, Done), Failure> {
        let output = args.output.file();
        if format != Format::Csv {
            let is_file = |path: &&Path| path.metadata().map_or(true, |found| found.is_file());
            let spool = match output.filter(is_file) {
                Some(output) if !single => {
                    let arrays =
                        layers.wanted.iter().map(|wanted| (wanted.name.clone(), wanted.dims.clone())).collect();
                    let (precision, resume) = (args.compute.precision(), args.output.resume);
                    Spool::beside(&spool::place(output), arrays, model, precision, resume)?
                }
                _ => Spool::temporary(layers.width()),
            };
            let done = spool.done();
            return Ok((Self::Arrays(spool), done));
        }
        let mut columns = vec!["image".to_string()];
        for layer in &layers.wanted {
            columns.extend((0..layer.len()).map(|index| format!("{}.{index}", layer.name)));
        }
        columns.push("image_hex".into());
        let name = |row: &csv::ByteRecord| {
            let text = |column| row.get(column).and_then(|text| str::from_utf8(text).ok());
            let name = text(0).and_then(|image| name_bytes(image, text(row.len() - 1)));
            name.map(Some).ok_or_else(|| "expected a picture's name, found something else".into())
        };
        let (output, done) = match output {
            None => (Output::standard(), Done::default()),
            Some(file) if args.output.resume => Output::resume(file, |file| csv_rows(file, &columns, name))?,
            Some(file) => (Output::create(file)?, Done::default()),
        };
        Ok((Self::Table(output, columns), done))
    }

    /// Adds pictures, each with its values.
    fn add<'a>(&mut self, mut pictures: impl Iterator<Item = (&'a Path, &'a [f32])>) -> Result<(), Failure> {
        match self {
            Self::Arrays(spool) => spool.add(pictures),
            Self::Table(output, columns) => {
                let mut csv = csv::Writer::from_writer(vec![]);
                if output.is_new() {
                    csv.write_record(columns)?;
                }
                pictures.try_for_each(|(name, values)| {
                    csv.serialize((name.to_string_lossy(), values, name_hex(name).unwrap_or_default()))
                })?;
                output.write(&csv.into_inner().map_err(csv::IntoInnerError::into_error)?)
            }
        }
    }

    /// Writes the arrays, where all pictures are done or what is done would be lost.
    fn finish(self, args: &Args, format: Format, layers: &Layers, single: bool, all: bool) -> Result<(), Failure> {
        let Self::Arrays(spool) = self else { return Ok(()) };
        let wanted = &layers.wanted;
        spool.finish(args.output.file(), all, |spool, mut out| match format {
            Format::Npy => arrays::npy(&mut out, spool, wanted, single),
            Format::Npz => arrays::npz(&mut out, spool, wanted),
            Format::Safetensors => arrays::safetensors(&mut out, spool, wanted, single),
            #[cfg(feature = "parquet")]
            Format::Parquet => arrays::parquet(&mut out, spool, wanted),
            Format::Csv => Ok(()),
        })
    }
}
