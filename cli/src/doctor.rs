//! `alexnet doctor`: checks of the results of this machine's drivers.

use std::{
    env,
    io::{self, Write},
    iter,
    process::ExitCode,
    vec,
};

use alexnet_wgpu::{
    AdapterSummary, Algorithm, Blocklist, Gpu, GpuError, GpuOptions, Model, Network, Precision, Variant,
    doctor::{self, Case, Finding, InputFinding, NetworkFinding, Vectors},
    wgpu::DeviceType,
};
use serde::Serialize;

use crate::{
    adapters, ahead,
    failure::{Failure, printable, tell},
    options::{self, AdapterArgs},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  alexnet doctor
  alexnet doctor --full --json
  alexnet classify shoe.jpg --deny tiled-texture

Every kernel variant of a layer runs on random data and is compared with the same layer in double precision: fully \
connected layers with weights in f32, f16 and int8 (--dtype), larger batches where they have kernels of their own. \
Input from textures and buffers is compared with input from memory, and whole networks with reference vectors. Nothing \
is sent anywhere. The output is meant for a bug report.

Exit codes: 0 everything is right; 1 an adapter computes something wrong, or there is none; 2 invalid arguments.";

/// Check the results of this machine's drivers, and suggest remedies
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// All layers of all AlexNets, and each of these against reference vectors, which takes minutes; without it, the layers of the
    /// small embedded network, and one AlexNet
    #[arg(long)]
    full: bool,
    /// One JSON object per adapter, one per line, the best first
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapters: AdapterArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let options = args.adapters.options()?;
    let adapters = options.allowed(Gpu::adapters_blocking(options.listed()));
    if adapters.is_empty() {
        // The error names the adapters searched for, and how to install a driver.
        options::open(&options)?;
    }

    let mut layers = doctor::distinct_layers(&networks(args.full)?);
    if args.full {
        layers.extend(doctor::further_layers()?);
    }
    let vectors = if args.full { &Vectors::ALL[..] } else { &Vectors::ALL[..1] };
    let mut examinations: Vec<Examination<'_>> = adapters.iter().map(Examination::new).collect::<Result<_, _>>()?;
    let open = examinations.iter().filter(|e| e.gpu.is_ok()).count();
    let bar = progress::bar(open * (layers.len() + 1 + vectors.len()), "checks");
    // The first takes seconds.
    bar.tick();
    // By layers first, since the twin takes longer than most adapters.
    for layer in &layers {
        let case = Case::new(layer)?;
        for examination in &mut examinations {
            examination.check_layer(&case);
            bar.inc(u64::from(examination.gpu.is_ok()));
        }
    }
    for examination in &mut examinations {
        examination.check_inputs();
        bar.inc(u64::from(examination.gpu.is_ok()));
        for vectors in vectors {
            examination.check_network(vectors);
            bar.inc(u64::from(examination.gpu.is_ok()));
        }
    }
    bar.finish_and_clear();

    for (i, examination) in examinations.iter().enumerate() {
        examination.print(args, i == 0).map_err(Failure::output)?;
    }
    if !args.full {
        tell("--full checks the layers of all AlexNets too, which takes minutes.");
    }
    // An adapter that is too small computes nothing wrong; if it is the only one, nothing runs.
    let healthy = examinations.iter().filter(|e| e.gpu.is_ok()).all(|e| e.verdict().healthy);
    Ok(ExitCode::from(u8::from(!healthy || open == 0)))
}

fn networks(full: bool) -> Result<Vec<Network>, Failure> {
    if !full {
        return Ok(vec![Model::embedded()?.network]);
    }
    Ok(Variant::ALL.into_iter().map(|variant| variant.standard().network()).collect::<Result<_, _>>()?)
}

/// The findings about an adapter.
struct Examination<'a> {
    adapter: &'a AdapterSummary,
    gpu: Result<Gpu, String>,
    /// Another device of a software adapter, whose driver compiles the kernels of a device one after the other.
    second: Option<Gpu>,
    layers: Vec<Finding>,
    inputs: Vec<InputFinding>,
    networks: Vec<NetworkFinding>,
    /// The networks that were wrong, checked again with the wrong variants denied.
    denied: Vec<NetworkFinding>,
}

struct Verdict {
    healthy: bool,
    blocklist: Blocklist,
    wrong_precisions: Vec<Precision>,
    text: String,
}

/// Opens the adapter with cooperative matrices, if it has them and the driver gives them.
fn open(adapter: &AdapterSummary) -> Result<Gpu, GpuError> {
    let all = adapter.open_with_blocking(&GpuOptions::default().cooperative_matrices(true));
    all.or_else(|_| adapter.open_blocking())
}

impl<'a> Examination<'a> {
    fn new(adapter: &'a AdapterSummary) -> Result<Self, Failure> {
        let gpu = match open(adapter) {
            Ok(gpu) => Ok(options::as_told(gpu)?),
            Err(error) => Err(error.to_string()),
        };
        let software = adapter.info.device_type == DeviceType::Cpu;
        // Where there is no memory for a second, one does.
        let second = (gpu.is_ok() && software).then(|| open(adapter).ok()).flatten();
        let second = second.map(options::as_told).transpose()?;
        let (layers, inputs) = (Vec::new(), Vec::new());
        Ok(Self { adapter, gpu, second, layers, inputs, networks: Vec::new(), denied: Vec::new() })
    }

    fn check_layer(&mut self, case: &Case) {
        let Ok(gpu) = &self.gpu else { return };
        let variants = case.variants(gpu);
        let devices: Vec<(usize, &Gpu)> = iter::once(gpu).chain(&self.second).enumerate().collect();
        // The devices take the variants in turns.
        let check = |&(first, gpu): &(usize, &Gpu)| {
            let own = variants.iter().skip(first).step_by(devices.len());
            own.map(|&variant| pollster::block_on(case.check(gpu, variant))).collect::<Vec<_>>().into_iter()
        };
        let collect = |found: &mut dyn Iterator<Item = (_, _)>| found.map(|(_, found)| found).collect();
        let mut found: Vec<vec::IntoIter<Finding>> = ahead::in_order(&devices, devices.len(), check, collect);
        let count = found.len();
        self.layers.extend((0..variants.len()).filter_map(|index| found[index % count].next()));
    }

    fn check_inputs(&mut self) {
        let Ok(gpu) = &self.gpu else { return };
        self.inputs = pollster::block_on(doctor::check_inputs(gpu));
    }

    fn check_network(&mut self, vectors: &Vectors) {
        let Ok(gpu) = &self.gpu else { return };
        let finding = pollster::block_on(vectors.check(gpu));
        let blocklist = doctor::blocklist(&self.layers);
        if !finding.is_right() && !blocklist.is_empty() {
            self.denied.push(pollster::block_on(vectors.check(&gpu.clone().avoid(blocklist))));
        }
        self.networks.push(finding);
    }

    fn verdict(&self) -> Verdict {
        let blocklist = doctor::blocklist(&self.layers);
        let wrong_precisions = doctor::wrong_precisions(&self.layers, &blocklist);
        let networks_right = self.networks.iter().all(NetworkFinding::is_right);
        let inputs_right = self.inputs.iter().all(InputFinding::is_right);
        let (healthy, mut text) = match &self.gpu {
            Err(reason) => (false, format!("not usable: {reason}")),
            Ok(_) if blocklist.is_empty() && networks_right && !wrong_precisions.is_empty() => (
                false,
                format!(
                    "wrong: {}. Please report this text, to the driver's developers too",
                    in_precisions(&wrong_precisions)
                ),
            ),
            Ok(_) if blocklist.is_empty() && networks_right && !inputs_right => (
                false,
                "wrong: this driver miscomputes input from textures or buffers, as listed below. Pictures from memory and \
                 files are right. Please report this text, to the driver's developers too"
                    .into(),
            ),
            Ok(_) if blocklist.is_empty() && networks_right => {
                (true, "healthy: every kernel variant and every network that was checked is right".into())
            }
            Ok(_) if blocklist.is_empty() => (
                false,
                "wrong: each layer by itself is right, but a network is not. Please report this text, and use another \
                 adapter (--adapter) until then"
                    .into(),
            ),
            Ok(_) if networks_right || self.denied.iter().all(NetworkFinding::is_right) => (
                false,
                format!(
                    "wrong: this driver miscomputes {blocklist}. Avoid that with --deny {blocklist} or the environment \
                     variable ALEXNET_DENY={blocklist}: without it, the networks come out right. Please report this text, \
                     to the driver's developers too"
                ),
            ),
            Ok(_) => (
                false,
                format!(
                    "not usable: this driver miscomputes {blocklist}, and avoiding that does not help. Use another adapter \
                     (--adapter), update the driver, and please report this text"
                ),
            ),
        };
        if !wrong_precisions.is_empty() && !blocklist.is_empty() {
            text += &format!("; {}", in_precisions(&wrong_precisions));
        }
        Verdict { healthy, blocklist, wrong_precisions, text }
    }

    /// The verdict, and what it rests on: all variants where something is wrong, or everything was asked for.
    fn print(&self, args: &Args, first: bool) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        let verdict = self.verdict();
        if args.json {
            return writeln!(out, "{}", serde_json::to_string(&self.record(&verdict))?);
        }
        if !first {
            writeln!(out)?;
        }
        adapters::describe(&mut out, self.adapter, None)?;
        writeln!(out, "  alexnet   {} on {} {}", env!("CARGO_PKG_VERSION"), env::consts::OS, env::consts::ARCH)?;
        writeln!(out, "  verdict   {}", printable(&verdict.text))?;
        let (checks, summaries) = (self.layers.len(), self.summaries());
        let wrong = self.layers.iter().filter(|finding| !finding.is_right()).count();
        if checks > 0 {
            writeln!(out, "  layers    {checks} checks of {} kernel variants, {wrong} wrong", summaries.len())?;
        }
        let listed = if args.full || wrong > 0 { summaries } else { Vec::new() };
        if !listed.is_empty() {
            writeln!(out, "  {:<32} {:>6} {:>6} {:>12} {:>9}", "variant", "layers", "wrong", "worst error", "ms")?;
        }
        for summary in listed {
            writeln!(
                out,
                "  {:<32} {:>6} {:>6} {:>12.1e} {:>9.1}",
                summary.variant, summary.layers, summary.wrong, summary.worst_error, summary.ms
            )?;
        }
        for finding in self.layers.iter().filter(|f| !f.is_right()) {
            let Finding { layer, variant, error, tolerance, .. } = finding;
            let what = match error {
                Ok(error) => format!("error {error:.1e}, expected at most {tolerance:.1e}"),
                Err(reason) => reason.clone(),
            };
            writeln!(out, "  wrong     {variant}: {layer}: {}", printable(&what))?;
        }
        for finding in self.inputs.iter().filter(|f| !f.is_right()) {
            let what = match &finding.error {
                Ok(error) => format!("off by {error:.1e}, expected at most {:.1e}", finding.tolerance),
                Err(reason) => reason.clone(),
            };
            writeln!(out, "  wrong     {finding}: {}", printable(&what))?;
        }
        if !self.inputs.is_empty() {
            let wrong = self.inputs.iter().filter(|f| !f.is_right()).count();
            writeln!(out, "  inputs    {} ways from textures and buffers, {wrong} wrong", self.inputs.len())?;
        }
        for finding in &self.networks {
            writeln!(out, "  network   {}", network_line(finding))?;
        }
        for finding in &self.denied {
            writeln!(out, "  network   with --deny {}: {}", verdict.blocklist, network_line(finding))?;
        }
        Ok(())
    }

    /// One line per variant.
    fn summaries(&self) -> Vec<Summary> {
        let mut summaries: Vec<Summary> = Vec::new();
        for finding in &self.layers {
            let variant = finding.variant.to_string();
            let at = summaries.iter().position(|s| s.variant == variant).unwrap_or_else(|| {
                summaries.push(Summary { variant, layers: 0, wrong: 0, worst_error: 0.0, ms: 0.0 });
                summaries.len() - 1
            });
            let summary = &mut summaries[at];
            summary.layers += 1;
            summary.wrong += usize::from(!finding.is_right());
            summary.worst_error = finding.error.as_ref().map_or(summary.worst_error, |e| e.max(summary.worst_error));
            summary.ms += finding.ms;
        }
        summaries
    }

    fn record(&'a self, verdict: &'a Verdict) -> Record<'a> {
        let layer = |finding: &'a Finding| Layer {
            layer: &finding.layer,
            variant: finding.variant.blocked().to_string(),
            algorithm: finding.variant.algorithm,
            dtype: finding.variant.precision.name(),
            batch: finding.variant.batch,
            right: finding.is_right(),
            error: finding.error.as_ref().ok().copied(),
            failure: finding.error.as_ref().err().map(String::as_str),
            tolerance: finding.tolerance,
            ms: finding.ms,
        };
        let input = |finding: &'a InputFinding| Input {
            input: finding.to_string(),
            right: finding.is_right(),
            error: finding.error.as_ref().ok().copied(),
            failure: finding.error.as_ref().err().map(String::as_str),
            tolerance: finding.tolerance,
        };
        let network = |finding: &'a NetworkFinding| {
            let outcome = finding.outcome.as_ref();
            NetworkRecord {
                network: &finding.network,
                right: finding.is_right(),
                config: outcome.ok().map(|o| doctor::KernelVariant::direct(o.config).to_string()),
                worst_layer: outcome.ok().map(|o| o.worst_layer.as_str()),
                worst_error: outcome.ok().map(|o| o.worst),
                fc8_error: outcome.ok().map(|o| o.fc8),
                top5: outcome.ok().map(|o| o.top),
                failure: outcome.err().map(String::as_str),
                ms: finding.ms,
            }
        };
        Record {
            alexnet: env!("CARGO_PKG_VERSION"),
            system: format!("{} {}", env::consts::OS, env::consts::ARCH),
            adapter: adapters::Record::new(self.adapter, None),
            healthy: verdict.healthy,
            deny: verdict.blocklist.iter().map(|variant| variant.to_string()).collect(),
            wrong_dtypes: verdict.wrong_precisions.iter().map(|precision| precision.name()).collect(),
            verdict: &verdict.text,
            layers: self.layers.iter().map(layer).collect(),
            inputs: self.inputs.iter().map(input).collect(),
            networks: self.networks.iter().map(network).collect(),
            networks_with_deny: self.denied.iter().map(network).collect(),
        }
    }
}

/// A description of wrong results with weights in `precisions`, and the remedy.
fn in_precisions(precisions: &[Precision]) -> String {
    let names: Vec<&str> = precisions.iter().map(|precision| precision.name()).collect();
    format!(
        "this driver miscomputes weights in {}, with the variants listed below. Stay with --dtype f32, which is the default, \
         or --deny those variants",
        names.join(" and ")
    )
}

fn network_line(finding: &NetworkFinding) -> String {
    let state = if finding.is_right() { "right" } else { "WRONG" };
    let what = match &finding.outcome {
        Ok(o) => format!(
            "by {}: fc8 within {:.1e}, worst {} within {:.1e}, top 5 {}, {:.1} ms",
            doctor::KernelVariant::direct(o.config),
            o.fc8,
            o.worst_layer,
            o.worst,
            if o.top { "as expected" } else { "not as expected" },
            finding.ms
        ),
        Err(reason) => printable(reason),
    };
    format!("{} {state}, {what}", finding.network)
}

struct Summary {
    variant: String,
    layers: usize,
    wrong: usize,
    worst_error: f64,
    ms: f64,
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    alexnet: &'static str,
    system: String,
    adapter: adapters::Record<'a>,
    healthy: bool,
    deny: Vec<String>,
    wrong_dtypes: Vec<&'static str>,
    verdict: &'a str,
    layers: Vec<Layer<'a>>,
    inputs: Vec<Input<'a>>,
    networks: Vec<NetworkRecord<'a>>,
    networks_with_deny: Vec<NetworkRecord<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    layer: &'a str,
    variant: String,
    algorithm: Algorithm,
    dtype: &'static str,
    batch: usize,
    right: bool,
    error: Option<f64>,
    failure: Option<&'a str>,
    tolerance: f64,
    ms: f64,
}

#[derive(Serialize)]
struct Input<'a> {
    input: String,
    right: bool,
    error: Option<f64>,
    failure: Option<&'a str>,
    tolerance: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkRecord<'a> {
    network: &'a str,
    right: bool,
    #[serde(rename = "style")]
    config: Option<String>,
    worst_layer: Option<&'a str>,
    worst_error: Option<f64>,
    fc8_error: Option<f64>,
    top5: Option<bool>,
    failure: Option<&'a str>,
    ms: f64,
}
