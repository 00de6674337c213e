//! `alexnet features`: activations of a layer.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use alexnet_wgpu::{Layer, Model, Pipeline, Tensor, Weights, write_atomically};

use crate::{
    failure::{Failure, printable},
    files::{self, Crops},
    npy,
    options::{GpuArgs, ModelArgs},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  alexnet features shoe.jpg --layer fc7 --output shoe.npy
  alexnet features shoe.jpg --layer conv1 --output shoe.safetensors --weights alexnet.safetensors
  alexnet features --input tensor.npy --layer pool5 --output pool5.npy

Exit codes: 0 done; 1 the picture, a file or the device failed;
2 invalid arguments, or no such layer.";

/// Write the activation of a layer to a NumPy or safetensors file
///
/// float32, after the layer's ReLU where it has one; channels × rows × columns, or one dimension after the fully connected
/// layers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A picture file
    #[arg(required_unless_present = "input", conflicts_with = "input", value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// The network's input itself in place of a picture, without preprocessing: a .npy file of little-endian float32,
    /// channels × rows × columns (3×227×227 for the embedded model) or rows × columns × channels, in C order
    #[arg(long, value_name = "FILE.npy")]
    input: Option<PathBuf>,
    /// The layer: conv1 … conv5, pool1, pool2, pool5, fc6, fc7, fc8, prob, and any others of the network (norm1, norm2,
    /// avgpool, drop6, …)
    #[arg(long, value_name = "NAME")]
    layer: String,
    /// Output file; its extension selects the format: .npy, or .safetensors with one tensor named after the layer
    #[arg(long, value_name = "FILE.npy|FILE.safetensors")]
    output: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// A kind of file.
#[derive(Clone, Copy, Debug)]
enum Format {
    Npy,
    Safetensors,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Failure> {
        match files::ending(path).as_str() {
            "npy" => Ok(Self::Npy),
            "safetensors" => Ok(Self::Safetensors),
            _ => Err(Failure::usage(format!(
                "expected an output that ends in .npy or .safetensors, found {}",
                path.display()
            ))),
        }
    }

    fn write(self, path: &Path, layer: &Layer, values: Vec<f32>) -> Result<(), Failure> {
        let shape = layer.output_dims();
        match self {
            Self::Npy => write_atomically(path, |file| npy::write(file, &shape, &values))
                .map_err(|e| Failure::run(format!("cannot write {}: {e}", path.display()))),
            Self::Safetensors => Ok(Weights::from_iter([(&layer.name, Tensor::from_f32(shape, values))]).save(path)?),
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let format = Format::of(&args.output)?;
    let read = args.model.files()?.into_iter().chain(args.image.clone()).chain(args.input.clone());
    files::keep_apart(&args.output, read)?;
    let model = args.model.open(None)?;
    args.model.warn(&model, args.image.is_some());
    let layer = model.network.layer(&args.layer).map_err(Failure::usage)?;
    let input = input(args, &model)?;

    let gpu = args.gpu.open()?;
    let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
    let builder = Pipeline::builder(&gpu, &model.network, &model.weights);
    let pipeline = args.model.built(progress::build(message, builder))?;
    let activations = pipeline.run_layers_blocking(&input, &[&layer.name])?;
    format.write(&args.output, layer, activations.concat())?;
    Ok(ExitCode::SUCCESS)
}

/// The network's input, in CHW order.
fn input(args: &Args, model: &Model) -> Result<Vec<f32>, Failure> {
    if let Some(path) = &args.input {
        let shape = model.network.input();
        return files::read_npy(path, &[shape.channels, shape.height, shape.width]);
    }
    let image = args.image.as_deref().unwrap_or(Path::new(""));
    let reading = format!("reading {}", printable(&image.to_string_lossy()));
    progress::while_working(reading, || files::picture(image, &model.preprocessing, Crops::One)).map_err(Failure::run)
}
