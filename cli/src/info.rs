//! `alexnet info`: description of a weight file.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use alexnet_wgpu::{
    ChannelOrder, Family, KernelConfig, Model, Network, Op, PipelineError, Precision, Preprocessing, Resize, Storage,
    Weights, device_bytes, write_atomically,
};
use serde::Serialize;

use crate::{
    failure::{Failure, printable},
    files,
    network::NetworkArgs,
    options::{ModelArgs, PreprocessingArgs},
    text::{grouped, megabytes},
};

const EXAMPLES: &str = "\
Examples:
  alexnet info
  alexnet info alexnet-owt-7be5be79.pth
  alexnet info --json bvlcalexnet-12.onnx | jq .network.name
  alexnet info lenet.onnx --write-network lenet.json

Needs no GPU. If no network is recognised, the tensors are listed nonetheless.

Exit codes: 0 done; 1 the file cannot be read, or no network is recognised in it; 2 invalid arguments.";

/// Describe a weight file: its network, and how it was recognised
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Weights: a file, or the name of a fetched one; by default, the embedded model
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    preprocessing: PreprocessingArgs,
    /// Write the network as JSON, for editing and for --network
    #[arg(long, value_name = "FILE.json")]
    write_network: Option<PathBuf>,
    /// One JSON object: file, format, contents (the part of the file that was used, where it holds more), network (as in the
    /// metadata of this project's files), classes, labels, preprocessing, why (the reason for each choice), doubt (the
    /// guessed parts of the network), preprocessing_guessed, untrained (whether the weights look random), parameters,
    /// multiply_adds, weight_bytes (in a file, as f32, f16, int8), device_bytes (at least, with --dtype f32, f16, int8:
    /// weights and activations of one picture), tensors
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let from = ModelArgs::new(args.file.clone(), args.network.clone(), args.preprocessing.clone());
    if let Some(output) = &args.write_network {
        files::keep_apart(output, from.files()?)?;
    }
    // The tensors under their names in the file.
    let path = from.path()?;
    let tensors = match &path {
        Some(path) => from.named(path, Weights::open(path))?,
        None => Model::embedded()?.weights,
    };
    let model = match from.open(None) {
        Ok(model) => model,
        Err(failure) => {
            if !args.json {
                print_tensors(&tensors).map_err(Failure::output)?;
            }
            return Err(failure);
        }
    };
    if let Some(output) = &args.write_network {
        let json = model.network.to_json()?;
        write_atomically(output, |file| writeln!(file, "{json}")).map_err(|e| Failure::cannot_write(output, e))?;
    }
    let size = path.as_deref().and_then(|path| Some(fs::metadata(path).ok()?.len()));
    let name = path.map(|path| path.display().to_string());
    let report = Report::new(name.as_deref(), size, &model, &tensors)?;
    if args.json {
        let json = serde_json::to_string(&report)?;
        writeln!(io::stdout(), "{json}").map_err(Failure::output)?;
    } else {
        print(&report, &model).and_then(|()| print_tensors(&tensors)).map_err(Failure::output)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Report<'a> {
    file: Option<&'a str>,
    bytes: Option<u64>,
    format: Option<String>,
    contents: Option<&'a str>,
    network: &'a Network,
    classes: usize,
    labels: &'a [String],
    preprocessing: &'a Preprocessing,
    why: Why<'a>,
    doubt: Option<&'a str>,
    preprocessing_guessed: bool,
    untrained: bool,
    parameters: u64,
    multiply_adds: u64,
    weight_bytes: Bytes,
    device_bytes: Bytes,
    tensors: Vec<TensorReport<'a>>,
}

#[derive(Serialize)]
struct Why<'a> {
    network: &'a str,
    preprocessing: &'a str,
    labels: &'a str,
}

/// A network's memory with weights of each type.
#[derive(Serialize)]
struct Bytes {
    f32: u64,
    f16: u64,
    int8: u64,
}

#[derive(Serialize)]
struct TensorReport<'a> {
    name: &'a str,
    shape: &'a [usize],
    dtype: String,
    bytes: usize,
}

impl<'a> Report<'a> {
    fn new(
        file: Option<&'a str>,
        bytes: Option<u64>,
        model: &'a Model,
        tensors: &'a Weights,
    ) -> Result<Self, PipelineError> {
        let Model { network, preprocessing, labels, origin, .. } = model;
        let tensor = |(name, tensor): (&'a str, &'a alexnet_wgpu::Tensor)| TensorReport {
            name,
            shape: tensor.shape(),
            dtype: tensor.dtype().to_string(),
            bytes: tensor.bytes().len(),
        };
        Ok(Self {
            file,
            bytes,
            format: origin.format.map(|format| format.to_string()),
            contents: origin.contents.as_deref(),
            network,
            classes: labels.len(),
            labels,
            preprocessing,
            why: Why { network: &origin.network, preprocessing: &origin.preprocessing, labels: &origin.labels },
            doubt: origin.doubt.as_deref(),
            preprocessing_guessed: origin.preprocessing_guessed,
            untrained: model.looks_untrained().is_some(),
            parameters: network.parameter_count(),
            multiply_adds: network.multiply_adds(),
            weight_bytes: Bytes::in_a_file(network),
            device_bytes: Bytes::on_a_device(network)?,
            tensors: tensors.iter().map(tensor).collect(),
        })
    }
}

impl Bytes {
    /// The size of the weights as written by `alexnet convert`.
    fn in_a_file(network: &Network) -> Self {
        let of = |dtype| network.parameters().map(|(name, shape)| stored(&name, &shape, dtype)).sum();
        Self { f32: of(Precision::F32), f16: 2 * network.parameter_count(), int8: of(Precision::Int8) }
    }

    /// The size of weights and activations for one picture, with a GPU's kernels.
    fn on_a_device(network: &Network) -> Result<Self, PipelineError> {
        let config = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
        let of = |precision| device_bytes(network, 1, config, precision);
        Ok(Self { f32: of(Precision::F32)?, f16: of(Precision::F16)?, int8: of(Precision::Int8)? })
    }
}

/// The size of a tensor in bytes: biases stay f32, and int8 weights have one f32 scale per output.
fn stored(name: &str, shape: &[usize], dtype: Precision) -> u64 {
    let count: u64 = shape.iter().map(|&d| d as u64).product();
    match dtype {
        Precision::F16 if name.ends_with(".weight") => 2 * count,
        Precision::Int8 if name.ends_with(".weight") => count + 4 * shape[0] as u64,
        _ => 4 * count,
    }
}

fn print(report: &Report<'_>, model: &Model) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let bold = anstyle::Style::new().bold();
    let name = printable(report.file.unwrap_or("the embedded model"));
    write!(out, "{bold}{name}{bold:#}")?;
    if let Some(format) = &report.format {
        write!(out, ": {format}")?;
    }
    if let Some(bytes) = report.bytes {
        write!(out, ", {}", megabytes(bytes))?;
    }
    writeln!(out)?;
    if let Some(contents) = report.contents {
        writeln!(out, "tensors        {}", printable(contents))?;
    }
    let network = report.network;
    writeln!(out, "network        {}: {}", printable(network.name()), printable(report.why.network))?;
    if let Some(doubt) = report.doubt {
        writeln!(out, "               in doubt: {}; --network says which", printable(doubt))?;
    }
    if let Some(correlation) = model.looks_untrained() {
        writeln!(
            out,
            "               looks untrained: neighbouring weights of the first filters correlate by {correlation:.3}, as \
             random numbers do"
        )?;
    }
    writeln!(out, "input          {}", network.input())?;
    let p = report.preprocessing;
    writeln!(out, "preprocessing  {}", describe(p))?;
    let guess = if report.preprocessing_guessed { ": a guess; --preprocessing says which" } else { "" };
    writeln!(out, "               {}{guess}", report.why.preprocessing)?;
    let some: Vec<String> = report.labels.iter().take(4).map(|label| printable(label)).collect();
    let more = if report.labels.len() > some.len() { ", …" } else { "" };
    let colon = if some.is_empty() { "" } else { ": " };
    writeln!(out, "classes        {}{colon}{}{more}", grouped(report.classes as u64), some.join(", "))?;
    writeln!(out, "               {}", report.why.labels)?;
    writeln!(out, "parameters     {}", grouped(report.parameters))?;
    writeln!(out, "multiply-adds  {} a picture", grouped(report.multiply_adds))?;
    let told = |Bytes { f32, f16, int8 }: &Bytes| {
        let [f32, f16, int8] = [f32, f16, int8].map(|&bytes| megabytes(bytes));
        format!("{f32} as f32, {f16} as f16, {int8} as int8")
    };
    writeln!(out, "weights        {}", told(&report.weight_bytes))?;
    writeln!(out, "on the device  {}", told(&report.device_bytes))?;
    writeln!(
        out,
        "               for one picture, with the kernels of a GPU; `alexnet bench` tells what it takes with an adapter's"
    )?;

    writeln!(
        out,
        "\n{bold}{:10} {:>13} {:>12} {:>14}  what{bold:#}",
        "layer", "output", "parameters", "multiply-adds"
    )?;
    for layer in model.network.layers() {
        let output = layer.output_dims().iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let parameters: u64 =
            layer.parameters().map(|(_, shape)| shape.iter().map(|&d| d as u64).product::<u64>()).sum();
        let count = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        writeln!(
            out,
            "{:10} {output:>13} {:>12} {:>14}  {}",
            printable(&layer.name),
            count(parameters),
            count(layer.multiply_adds()),
            operation(&layer.op),
        )?;
    }
    writeln!(out)
}

fn print_tensors(weights: &Weights) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let names: Vec<String> = weights.names().map(printable).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(6, 40);
    let bold = anstyle::Style::new().bold();
    writeln!(out, "{bold}{:width$}  {:>14}  {:4}  {:>12}{bold:#}", "tensor", "shape", "type", "bytes")?;
    for (name, (_, tensor)) in names.iter().zip(weights) {
        let shape = tensor.shape().iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let (dtype, bytes) = (tensor.dtype().to_string(), grouped(tensor.bytes().len() as u64));
        writeln!(out, "{name:width$}  {shape:>14}  {dtype:4}  {bytes:>12}")?;
    }
    Ok(())
}

/// A description of a preprocessing.
fn describe(p: &Preprocessing) -> String {
    let resize = match p.resize {
        Resize::ShorterSide(side) => format!("shorter side to {side}"),
        Resize::Warp([rows, columns]) => format!("whole picture to {rows}×{columns}"),
    };
    let channels = match p.channels {
        ChannelOrder::Rgb => "RGB",
        ChannelOrder::Bgr => "BGR",
        ChannelOrder::Grey => "grey",
        ChannelOrder::Other(count) => return format!("none: a picture has no {count} channels"),
    };
    let list = |values: [f32; 3]| {
        if p.channels == ChannelOrder::Grey || values[1..].iter().all(|v| *v == values[0]) {
            values[0].to_string()
        } else {
            format!("{values:?}")
        }
    };
    let scaled = match 1.0 / p.scale {
        1.0 => "x".to_string(),
        inverse if (inverse - inverse.round()).abs() < 1e-3 => format!("x / {inverse:.0}"),
        _ => format!("x · {}", p.scale),
    };
    let centred = if p.mean == [0.0; 3] { scaled } else { format!("{scaled} - {}", list(p.mean)) };
    let values = if p.std == [1.0; 3] { centred } else { format!("({centred}) / {}", list(p.std)) };
    format!("{resize}, centre {}×{}, {channels}, {values}", p.crop[0], p.crop[1])
}

/// A description of a layer's operation.
fn operation(op: &Op) -> String {
    let activation = op.activation().name().map(|name| format!(", {name}")).unwrap_or_default();
    op.describe() + &activation
}
