//! `alexnet bench`: how fast a network runs on an adapter.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use alexnet_wgpu::{LayerTime, Network, Pipeline, Variant, Weights, splitmix};
use serde::Serialize;

use crate::{
    failure::Failure,
    options::{GpuArgs, ModelArgs},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  alexnet bench
  alexnet bench --network torchvision --batch 16
  alexnet bench --weights alexnet.safetensors --json

Times are for the whole batch, with the input on the device already and the most likely class read back. Layers are
measured one by one with timestamps, so that their sum is not quite the whole.

Exit codes: 0 done; 1 it could not run; 2 the arguments are wrong.";

/// Measure how fast a network runs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Measure this network with random weights: ungrouped, caffe, caffenet or torchvision
    #[arg(long, value_name = "NAME", default_value = "ungrouped", conflicts_with = "weights")]
    network: Variant,
    /// Measure the network of this file, with its weights
    #[arg(long, value_name = "FILE")]
    weights: Option<std::path::PathBuf>,
    /// Pictures a run
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Runs that are counted, after two that are not
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
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
    backend: String,
    driver: &'a str,
    batch: usize,
    dtype: &'static str,
    runs: u32,
    median_ms: f64,
    min_ms: f64,
    first_ms: f64,
    device_bytes: u64,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kernel: String,
    ms: f64,
    gflops: f64,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let gpu = args.gpu.open()?;
    let (network, weights) = match &args.weights {
        Some(path) => {
            let model = ModelArgs::of(path).open(None)?;
            (model.network, model.weights)
        }
        None => {
            let network = args.network.standard().network()?;
            let weights = progress::while_working("making random weights", || Weights::random(&network, 0));
            (network, weights)
        }
    };
    let pipeline = progress::while_working("compiling kernels and uploading weights", || {
        Pipeline::builder(&gpu, &network, &weights).batch(args.batch).top(1).build()
    })?;
    drop(weights);

    pipeline.write_input(&splitmix::uniform(1, network.input().len() * args.batch, 2.0))?;
    let bar = progress::bar(args.runs as usize + 2, "runs");
    let once = || -> Result<f64, Failure> {
        let start = Instant::now();
        pollster::block_on(pipeline.run_top_again())?;
        bar.inc(1);
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    // The first run still compiles on some drivers.
    let first_ms = once()?;
    once()?;
    let mut times: Vec<f64> = (0..args.runs).map(|_| once()).collect::<Result<_, _>>()?;
    times.sort_by(f64::total_cmp);
    let layers = pollster::block_on(pipeline.profile())?.unwrap_or_default();
    bar.finish_and_clear();

    let info = gpu.info();
    let report = Report {
        network: network.name(),
        adapter: &info.name,
        backend: info.backend.to_string(),
        driver: &info.driver_info,
        batch: args.batch,
        dtype: "f32",
        runs: args.runs,
        median_ms: times[times.len() / 2],
        min_ms: times[0],
        first_ms,
        device_bytes: pipeline.device_bytes(),
        layers: layers.into_iter().map(|time| layer(&network, args.batch, time)).collect(),
    };
    print(&report, &network, args.json).map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// `time` with the rate at which the layer computes: two operations a multiply-add.
fn layer(network: &Network, batch: usize, time: LayerTime) -> Layer {
    let multiply_adds = network.layer(&time.layer).map_or(0, alexnet_wgpu::Layer::multiply_adds);
    let gflops = if time.ms > 0.0 { 2.0 * (multiply_adds * batch as u64) as f64 / (time.ms * 1e6) } else { 0.0 };
    Layer { name: time.layer, kernel: time.kernel, ms: time.ms, gflops }
}

fn print(report: &Report<'_>, network: &Network, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    let Report { batch, runs, median_ms, min_ms, first_ms, .. } = report;
    writeln!(out, "{} on {} ({}, {})", report.network, report.adapter, report.backend, report.driver)?;
    let gflops = 2.0 * network.multiply_adds() as f64 * *batch as f64 / (median_ms * 1e6);
    writeln!(
        out,
        "batch {batch}, {runs} runs: median {median_ms:.1} ms ({:.1} a picture, {gflops:.0} GFLOP/s), \
         least {min_ms:.1}, first {first_ms:.0}",
        median_ms / *batch as f64
    )?;
    writeln!(out, "{:.1} MB on the device", report.device_bytes as f64 / 1e6)?;
    for Layer { name, kernel, ms, gflops } in &report.layers {
        let rate = if *gflops > 0.0 { format!("{gflops:6.1} GFLOP/s") } else { " ".repeat(14) };
        writeln!(out, "  {name:8} {ms:8.2} ms {rate}  {kernel}")?;
    }
    if report.layers.is_empty() {
        writeln!(out, "  no times of layers: the adapter has no timestamps")?;
    }
    Ok(())
}
