//! `alexnet dream`: the picture that a channel answers to most.

use std::{io::Write, path::PathBuf, process::ExitCode};

use alexnet_wgpu::{
    Model, Shape,
    explain::{Dreamer, ExplainError},
    write_atomically,
};

use crate::{
    failure::{Failure, printable},
    files,
    network::{NetworkArg, NetworkArgs},
    options::{GpuArgs, ModelArgs, PreprocessingArgs},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  alexnet dream --layer conv5 --channel 12 --output dream.png
  alexnet dream --layer fc8 --channel 207 --weights torchvision --output dog.png

Exit codes: 0 done; 1 a file or the device failed; 2 invalid arguments, or no such layer or channel.";

/// Make the picture that a channel of a layer answers to most
///
/// Begins with noise and follows the gradient of the channel's mean output. By default with AlexNet's convolutions as ImageNet
/// trained them, which are built in.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The layer: conv1 to conv5, or of other weights any, also fc8 for a class
    #[arg(long, value_name = "NAME")]
    layer: String,
    /// The channel, or the number of the class, from 0 on
    #[arg(long, value_name = "N")]
    channel: usize,
    /// Output file
    #[arg(long, value_name = "FILE.png")]
    output: PathBuf,
    /// Side of the picture in pixels, for layers before the fully connected ones; by default that of the network's input
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Steps that follow the gradient
    #[arg(long, value_name = "N", default_value_t = 100)]
    steps: usize,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Weights in place of the built-in ones, or the name of fetched ones
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The network of the weights, as for `alexnet classify`
    #[arg(long, value_name = "NAME|FILE", requires = "weights")]
    network: Option<NetworkArg>,
    #[command(flatten)]
    preprocessing: PreprocessingArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if files::ending(&args.output) != "png" {
        let found = args.output.display();
        return Err(Failure::usage(format!("expected an output that ends in .png, found {found}")));
    }
    let given = ModelArgs::new(args.weights.clone(), NetworkArgs::of(args.network.clone()), args.preprocessing.clone());
    let model = match &args.weights {
        None => Model::imagenet_trunk()?,
        Some(_) => {
            files::keep_apart(&args.output, given.files()?)?;
            given.open(None)?
        }
    };
    let mut network = model.network.up_to(&args.layer).map_err(Failure::usage)?;
    if let Some(side) = args.size {
        let input = Shape::new(network.input().channels, side, side);
        network = network.with_input(input).map_err(|e| Failure::usage(format!("--size {side}: {e}")))?;
    }
    let gpu = args.gpu.open()?;
    let message = format!("uploading {} to {}", network.name(), gpu.info().name);
    let dreamer = progress::while_working(message, || {
        Dreamer::new(&gpu, &network, &model.weights, &model.preprocessing, &args.layer, args.channel)
    });
    let dreamer = dreamer.map_err(|error| match error {
        ExplainError::Option { .. } => Failure::usage(error),
        error => error.into(),
    })?;
    let bar = progress::bar(args.steps, "steps");
    let dream = dreamer.dream_blocking(args.steps, args.seed, |step| bar.set_position(step as u64))?;
    bar.finish_and_clear();
    let picture = &dream.picture;
    write_atomically(&args.output, |file| {
        alexnet_snapshots::write_png(picture.rgb(), [picture.width(), picture.height()], file)
    })
    .map_err(|e| Failure::cannot_write(&args.output, e))?;
    let output = printable(&args.output.to_string_lossy());
    let (layer, channel) = (printable(&args.layer), args.channel);
    let told = format!("{layer}, channel {channel}: {:.2}, from {:.2} for noise: {output}", dream.after, dream.before);
    writeln!(anstream::stdout().lock(), "{told}").map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}
