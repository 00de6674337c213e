//! `alexnet convert`: conversion of any weight file to one safetensors file with weights, network, preprocessing and labels.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use alexnet_wgpu::{DType, Model};
use clap::ValueEnum;

use crate::{
    failure::{Failure, printable},
    files,
    network::NetworkArgs,
    options::{ModelArgs, PreprocessingArgs},
    progress,
    text::megabytes,
};

const EXAMPLES: &str = "\
Examples:
  alexnet convert alexnet-owt-7be5be79.pth alexnet.safetensors
  alexnet convert bvlcalexnet-12.onnx alexnet-int8.safetensors --dtype int8
  alexnet convert mine.pth mine.safetensors --labels labels.txt
  alexnet convert mine.pth mine.safetensors --preprocessing caffe

Needs no GPU. The output is complete or unchanged. The same input and options make the same bytes.

Exit codes: 0 done; 1 a file failed; 2 invalid arguments, or the number of labels is not that of the classes.";

/// Convert weights to a file with network, preprocessing and labels
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Weights: PyTorch (.pth), ONNX, Caffe or safetensors, or the name of a fetched file
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Output file
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Type of the numbers; by default, as in IN. int8 stores weights with one scale per output (biases stay f32), in a
    /// quarter of f32's bytes
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Type>,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    preprocessing: PreprocessingArgs,
    /// Labels in place of the model's: a text file, one a line in the order of the classes, or JSON (a list, or a dict as
    /// class_index.json)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// A type of numbers that files are converted to.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Type {
    F32,
    F16,
    Int8,
}

impl From<Type> for DType {
    fn from(dtype: Type) -> Self {
        match dtype {
            Type::F32 => Self::F32,
            Type::F16 => Self::F16,
            Type::Int8 => Self::I8,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Args { output, .. } = args;
    if files::ending(output) != "safetensors" {
        let found = output.display();
        return Err(Failure::usage(format!("expected an output that ends in .safetensors, found {found}")));
    }
    let from = ModelArgs::new(Some(args.input.clone()), args.network.clone(), args.preprocessing.clone());
    let input = from.path()?.unwrap_or_default();
    files::keep_apart(output, from.files()?.into_iter().chain(args.labels.clone()))?;

    let mut model = from.open(args.labels.as_deref())?;
    progress::while_working(format!("writing {}", output.display()), || -> Result<(), Failure> {
        from.named(&input, model.weights.check_finite())?;
        if let Some(dtype) = args.dtype {
            model.weights = model.weights.cast(dtype.into());
        }
        finite(&model)?;
        Ok(model.to_weights()?.save(output)?)
    })?;

    // Where the output is standard output, a line about it would be mixed in.
    if files::is_standard_output(output) {
        return Ok(ExitCode::SUCCESS);
    }
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut types: Vec<String> = model.weights.iter().map(|(_, t)| t.dtype().to_string()).collect();
    types.sort();
    types.dedup();
    let (name, network) = (printable(&output.display().to_string()), printable(model.network.name()));
    // Pipes and devices have no size.
    let sizes = if output.is_file() {
        format!(", {} (from {})", megabytes(size(output)), megabytes(size(&input)))
    } else {
        String::new()
    };
    let told = writeln!(io::stdout(), "{name}: {network} as {}{sizes}", types.join(" and "));
    told.map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks that every number, finite before, could be stored: f16 ends at 65504.
fn finite(model: &Model) -> Result<(), Failure> {
    for (name, tensor) in &model.weights {
        if let Some(value) = tensor.to_f32().iter().find(|value| !value.is_finite()) {
            return Err(Failure::run(format!(
                "tensor `{name}`: expected finite numbers that fit {}, found {value}: choose another --dtype",
                tensor.dtype()
            )));
        }
    }
    Ok(())
}
