//! `alexnet tune`: measurement of every algorithm for each layer on this adapter.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use alexnet_wgpu::{
    Algorithm, Arithmetic, Candidate, Family, KernelConfig, Network, Pipeline, Precision, Roofline, Storage, TuneError,
    Tuning,
};
use serde::Serialize;

use crate::{
    choices,
    failure::Failure,
    options::{GpuArgs, MeasuredArgs},
    progress,
    roofline::Rates,
};

const EXAMPLES: &str = "\
Examples:
  alexnet tune
  alexnet tune --network torchvision --batch 16
  alexnet tune --weights alexnet.safetensors --dtype f16

The fastest choice is kept for this adapter, driver, network, batch and dtype, and the other commands then use it. If \
timings are noisy, close other programs.

Exit codes: 0 done; 1 it could not run; 2 invalid arguments.";

/// Measure every algorithm for each layer, and keep the fastest
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    measured: MeasuredArgs,
    /// Type of the fully connected layers' weights on the device: f32, f16 or int8
    #[arg(long, value_name = "TYPE", default_value_t)]
    dtype: Precision,
    /// How exactly products are computed: exact, or fast, which rounds their operands to f16 where the GPU has cooperative
    /// matrices
    #[arg(long, value_name = "HOW", default_value_t)]
    precision: Arithmetic,
    /// Only measure; do not store the choices
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    network: &'a str,
    adapter: &'a str,
    driver: &'a str,
    batch: usize,
    dtype: &'static str,
    gflops: f64,
    gbps: f64,
    candidates: Vec<Row<'a>>,
    choice: &'a alexnet_wgpu::TunedConfig,
    ms: f64,
}

#[derive(Serialize)]
struct Row<'a> {
    layer: &'a str,
    #[serde(rename = "style")]
    config: KernelConfig,
    algorithm: Algorithm,
    kernel: &'a str,
    ms: f64,
    #[serde(flatten)]
    rates: Rates,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gpu = args.gpu.open_for(args.precision)?;
    let (network, weights) = args.measured.open()?;
    let (batch, precision) = (args.measured.batch, args.dtype);
    let builder = Pipeline::builder(&gpu, &network, &weights).batch(batch).precision(precision).top(1);
    let bar = progress::steps("measuring");
    let tuned = builder.tune_blocking(|done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let tuning = match tuned {
        Err(TuneError::Pipeline(error)) => args.measured.built(Err(error))?,
        tuned => tuned?,
    };
    let roofline = Roofline::measure(&gpu)?;
    let kept = if args.dry_run {
        None
    } else {
        Some(choices::store(&gpu, &network, batch, precision, args.precision, &tuning.choice, tuning.ms)?)
    };

    let row = |candidate| row(&network, batch, precision, &roofline, candidate);
    let report = Report {
        network: network.name(),
        adapter: &gpu.info().name,
        driver: &gpu.info().driver_info,
        batch,
        dtype: precision.name(),
        gflops: roofline.gflops,
        gbps: roofline.gbps,
        candidates: tuning.candidates.iter().map(row).collect(),
        choice: &tuning.choice,
        ms: tuning.ms,
    };
    print(&report, &tuning, &network, args.json).map_err(Failure::output)?;
    if let (Some(place), false) = (kept, args.json) {
        writeln!(io::stdout(), "kept in {}; --untuned ignores it", place.display()).map_err(Failure::output)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row<'a>(
    network: &Network,
    batch: usize,
    precision: Precision,
    roofline: &Roofline,
    candidate: &'a Candidate,
) -> Row<'a> {
    let Candidate { layer, config, algorithm, kernel, ms, .. } = candidate;
    let rates = Rates::new(network, layer, batch, precision, *ms, roofline);
    Row { layer, config: *config, algorithm: *algorithm, kernel, ms: *ms, rates }
}

/// An abbreviation of a kernel configuration and an algorithm.
fn short(config: KernelConfig, algorithm: Algorithm) -> String {
    let family = match config.family {
        Family::WorkgroupTiled => "tiled".to_string(),
        Family::SubgroupBroadcast { lanes } => format!("broadcast{lanes}"),
        Family::CooperativeMatrix { size, .. } => format!("cooperative{size}"),
        other => format!("{other:?}"),
    };
    let storage = match config.storage {
        Storage::StorageBuffer => "buffers",
        Storage::StorageTexture => "textures",
        Storage::SampledTexture => "sampled textures",
        other => other.name(),
    };
    match algorithm {
        Algorithm::Direct => format!("{family} {storage} direct"),
        Algorithm::Winograd { tile } => format!("{family} {storage} winograd{tile}"),
        Algorithm::DirectF32 => format!("{family} {storage} direct in f32"),
        Algorithm::Tile { rows, parts } => format!("{family} {storage} tile{rows} split-k{parts}"),
        Algorithm::SplitK { parts } => format!("{family} {storage} split-k{parts}"),
        other => format!("{family} {storage} {other:?}"),
    }
}

/// Prints the report by layer, with candidates as rows, the fastest first: as columns they would be too wide for a terminal.
fn print(report: &Report<'_>, tuning: &Tuning, network: &Network, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    let Report { network: name, adapter, driver, batch, dtype, gflops, gbps, .. } = report;
    writeln!(out, "{name} on {adapter} ({driver}), batch {batch}, {dtype}")?;
    writeln!(out, "roofline: {gflops:.0} GFLOP/s, {gbps:.1} GB/s, measured")?;
    let mut by_layer: BTreeMap<&str, Vec<&Row<'_>>> = BTreeMap::new();
    for row in &report.candidates {
        by_layer.entry(row.layer).or_default().push(row);
    }
    for layer in network.layers() {
        let Some(rows) = by_layer.get_mut(layer.name.as_str()) else { continue };
        rows.sort_by(|a, b| a.ms.total_cmp(&b.ms));
        writeln!(out, "{}", layer.name)?;
        for row in rows {
            let chosen = row.config == tuning.choice.config
                && tuning.choice.algorithms.get(row.layer).is_none_or(|a| *a == row.algorithm);
            let mark = if chosen { '*' } else { ' ' };
            let (ms, share) = (row.ms, 100.0 * row.rates.share_of_roofline);
            writeln!(out, "{mark} {:32} {ms:9.3} ms {share:5.1} % of the roofline", short(row.config, row.algorithm))?;
        }
    }
    writeln!(out, "* chosen: {:.1} ms in all", tuning.ms)
}
