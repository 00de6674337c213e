//! `alexnet bench`: measurement of a network's speed on an adapter.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use alexnet_wgpu::{LayerTime, Network, Pipeline, Precision, Roofline, reference, splitmix};
use serde::Serialize;

use crate::{
    failure::Failure,
    options::{ComputeArgs, GpuArgs, MeasuredArgs},
    progress,
    roofline::Rates,
};

const EXAMPLES: &str = "\
Examples:
  alexnet bench
  alexnet bench --network torchvision --batch 16
  alexnet bench --weights alexnet.safetensors --dtype f16 --json

Times are for the whole batch, with the input on the device and the most likely class read back. Layers are measured \
one by one with timestamps, so their sum differs slightly from the whole. The peak is the \
measured rate of the adapter, in multiply-adds or bytes read, whichever limits the layer (the roofline). GB/s counts \
input, weights and output once each.

Exit codes: 0 done; 1 it could not run; 2 invalid arguments.";

/// Measure how fast a network runs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    measured: MeasuredArgs,
    /// Runs that are counted, after two or as many as take a tenth of a second that are not
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    network: &'a str,
    adapter: &'a str,
    backend: String,
    driver: &'a str,
    batch: usize,
    dtype: &'static str,
    runs: u32,
    median_ms: f64,
    min_ms: f64,
    first_ms: f64,
    device_bytes: u64,
    /// ‖output − f32's‖ / ‖f32's‖ of the last fully connected layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<f64>,
    roofline: Limits,
    layers: Vec<Layer>,
}

/// The adapter's peak rates.
#[derive(Serialize)]
struct Limits {
    gflops: f64,
    gbps: f64,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kernel: String,
    ms: f64,
    #[serde(flatten)]
    rates: Rates,
}

/// The duration of the warm-up, whose runs do not count.
const WARM_UP: Duration = Duration::from_millis(100);

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gpu = args.compute.open(&args.gpu)?;
    let (network, weights) = args.measured.open()?;
    let (batch, precision) = (args.measured.batch, args.compute.precision());
    let builder = args.compute.builder(&gpu, &network, &weights, batch).top(1);
    let pipeline = args.measured.built(progress::build("compiling kernels, uploading weights", builder))?;
    let input = splitmix::uniform(1, network.input().len() * batch, 2.0);
    let error = match precision {
        Precision::F32 => None,
        _ => {
            let builder = Pipeline::builder(&gpu, &network, &weights).batch(batch).top(1);
            let exact = args.measured.built(progress::build("computing the same in f32", builder))?;
            difference(&network, &input, &pipeline, &exact)?
        }
    };
    drop(weights);

    pipeline.write_input(&input)?;
    let bar = progress::bar(args.runs as usize, "runs");
    let once = || -> Result<f64, Failure> {
        let start = Instant::now();
        pipeline.run_top_again_blocking()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    // The first run still compiles on some drivers, and an idle GPU takes a while to reach its full clock.
    let start = Instant::now();
    let first_ms = once()?;
    while once().map(|_| start.elapsed() < WARM_UP)? {}
    let mut times: Vec<f64> = (0..args.runs).map(|_| once().inspect(|_| bar.inc(1))).collect::<Result<_, _>>()?;
    times.sort_by(f64::total_cmp);
    let layers = pipeline.profile_blocking()?.unwrap_or_default();
    bar.finish_and_clear();
    let roofline = Roofline::measure(&gpu)?;

    let layer = |time: LayerTime| {
        let rates = Rates::new(&network, &time.layer, batch, precision, time.ms, &roofline);
        Layer { name: time.layer, kernel: time.kernel, ms: time.ms, rates }
    };
    let info = gpu.info();
    let report = Report {
        network: network.name(),
        adapter: &info.name,
        backend: info.backend.to_string(),
        driver: &info.driver_info,
        batch,
        dtype: precision.name(),
        runs: args.runs,
        median_ms: times[times.len() / 2],
        min_ms: times[0],
        first_ms,
        device_bytes: pipeline.device_bytes(),
        error,
        roofline: Limits { gflops: roofline.gflops, gbps: roofline.gbps },
        layers: layers.into_iter().map(layer).collect(),
    };
    print(&report, &network, args.json).map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// The relative difference of the last layer with weights from f32; `None` for a network without weights.
fn difference(network: &Network, input: &[f32], pipeline: &Pipeline, exact: &Pipeline) -> Result<Option<f64>, Failure> {
    let Some(last) = network.layers().iter().rfind(|l| l.parameters().next().is_some()) else { return Ok(None) };
    let run = |pipeline: &Pipeline| -> Result<Vec<f32>, Failure> {
        Ok(pipeline.run_layers_blocking(input, &[&last.name])?.remove(0))
    };
    let exact: Vec<f64> = run(exact)?.into_iter().map(f64::from).collect();
    Ok(Some(reference::relative_error(&run(pipeline)?, &exact)))
}

/// Milliseconds with three significant digits.
fn ms(ms: f64) -> String {
    let decimals = match ms {
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{ms:.decimals$}")
}

fn print(report: &Report<'_>, network: &Network, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    let Report { batch, dtype, runs, median_ms, min_ms, first_ms, roofline, .. } = report;
    writeln!(out, "{} on {} ({}, {})", report.network, report.adapter, report.backend, report.driver)?;
    let gflops = 2.0 * network.multiply_adds() as f64 * *batch as f64 / (median_ms * 1e6);
    writeln!(
        out,
        "batch {batch}, {dtype}, {runs} runs: median {} ms ({} a picture, {gflops:.0} GFLOP/s),\n  fastest {}, first {}",
        ms(*median_ms),
        ms(median_ms / *batch as f64),
        ms(*min_ms),
        ms(*first_ms),
    )?;
    writeln!(out, "{:.1} MB on the device", report.device_bytes as f64 / 1e6)?;
    if let Some(error) = report.error {
        writeln!(out, "outputs differ from f32's by {error:.1e} (norm of the difference over norm)")?;
    }
    writeln!(out, "roofline: {:.0} GFLOP/s, {:.1} GB/s, measured", roofline.gflops, roofline.gbps)?;
    if report.layers.is_empty() {
        return writeln!(out, "no times of layers: the adapter has no timestamps");
    }
    writeln!(out, "  {:8} {:>9} {:>8} {:>7} {:>6}  kernel", "layer", "ms", "GFLOP/s", "GB/s", "% peak")?;
    for Layer { name, kernel, ms, rates } in &report.layers {
        let Rates { gflops, gbps, share_of_roofline } = rates;
        let share = 100.0 * share_of_roofline;
        writeln!(out, "  {name:8} {ms:9.3} {gflops:8.1} {gbps:7.1} {share:6.0}  {kernel}")?;
    }
    if report.layers.iter().any(|layer| layer.rates.share_of_roofline > 1.0) {
        writeln!(out, "over 100 %: Winograd needs fewer multiply-adds than are counted, or data came from a cache")?;
    }
    Ok(())
}
