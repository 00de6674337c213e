//! The least time that real GPUs could take for each layer: modelled, not measured.
//!
//! A layer takes as long as the slowest of
//! - memory: its weights, input and output once, at the memory's full bandwidth;
//! - arithmetic: its multiply-adds, Winograd's where that is planned, at the peak rate, times
//!   - the share of the peak that the compiled loop allows, where AMD's compiler showed it: other vector
//!     instructions take issue slots, and workgroup memory gives 128 bytes a clock and compute unit;
//!   - the share of the SIMD units that have a wave: a GPU is not full at one picture.
//!
//! Left out, and all of it costs time: latency, the start of each dispatch, caches that weights are read through more
//! than once, tiles that stand over the edge, Winograd's transforms and what lies between its steps.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use alexnet_wgpu::{AlexNet, Layer, PlannedDispatch, plan};

use crate::{BATCHES, CONFIG, assembly::Loop, name, shader};

struct Gpu {
    name: &'static str,
    /// Mesa's name of the chip, where it is AMD's.
    chip: &'static str,
    /// SIMD units: as many waves compute at the same time.
    simds: u32,
    /// Lanes of a wave.
    wave: u32,
    /// Multiply-adds of f32 a clock and SIMD unit.
    fmas: u32,
    /// Boost clock, GHz.
    clock: f64,
    /// Bandwidth of the memory, GB/s.
    bandwidth: f64,
    /// Where the vendor says so.
    source: &'static str,
}

const GPUS: [Gpu; 7] = [
    Gpu {
        name: "Radeon RX Vega 64",
        chip: "vega10",
        simds: 64 * 4,
        wave: 64,
        fmas: 16,
        clock: 1.546,
        bandwidth: 483.8,
        source: "amd.com, Radeon RX Vega 64; Vega white paper",
    },
    Gpu {
        name: "Radeon RX 6800 XT",
        chip: "navi21",
        simds: 72 * 2,
        wave: 64,
        fmas: 32,
        clock: 2.25,
        bandwidth: 512.0,
        source: "amd.com, Radeon RX 6800 XT; RDNA white paper",
    },
    Gpu {
        name: "Radeon RX 7900 XTX",
        chip: "navi31",
        simds: 96 * 2,
        wave: 64,
        fmas: 64,
        clock: 2.5,
        bandwidth: 960.0,
        source: "amd.com, Radeon RX 7900 XTX; RDNA 3 instruction set, dual issue",
    },
    Gpu {
        name: "GeForce RTX 3060",
        chip: "",
        simds: 28 * 4,
        wave: 32,
        fmas: 32,
        clock: 1.78,
        bandwidth: 360.0,
        source: "nvidia.com, GeForce RTX 3060 (12 GB); GA102 white paper",
    },
    Gpu {
        name: "GeForce RTX 4090",
        chip: "",
        simds: 128 * 4,
        wave: 32,
        fmas: 32,
        clock: 2.52,
        bandwidth: 1008.0,
        source: "nvidia.com, GeForce RTX 4090; Ada white paper",
    },
    Gpu {
        name: "H100",
        chip: "",
        simds: 132 * 4,
        wave: 32,
        fmas: 32,
        clock: 1.98,
        bandwidth: 3352.0,
        source: "nvidia.com, H100 SXM data sheet; Hopper white paper",
    },
    Gpu {
        name: "Arc A770",
        chip: "",
        simds: 32 * 16,
        wave: 16,
        fmas: 8,
        clock: 2.1,
        bandwidth: 560.0,
        source: "intel.com, Arc A770 (16 GB); Xe-HPG white paper",
    },
];

/// Bytes of workgroup memory that a compute unit of AMD's moves a clock.
const LDS_BYTES: f64 = 128.0;

/// SIMD units' lanes of a compute unit of AMD's.
const UNIT_LANES: f64 = 64.0;

impl Gpu {
    /// TFLOP/s of f32.
    fn rate(&self) -> f64 {
        2.0 * f64::from(self.simds * self.fmas) * self.clock / 1e3
    }

    /// The share of the peak rate that the instructions of a loop allow; `fmas` may be two a lane and clock.
    fn share(&self, l: &Loop) -> f64 {
        let lanes_of_fmas = UNIT_LANES * if self.chip.starts_with("navi3") { 2.0 } else { 1.0 };
        let ideal = f64::from(l.fmas) / lanes_of_fmas;
        let others = f64::from(l.valu.saturating_sub(l.fmas) + 3 * l.slow) / UNIT_LANES;
        ideal / (ideal + others).max(f64::from(l.lds_bytes) / LDS_BYTES)
    }

    /// The share of the SIMD units that compute, if waves are dealt out evenly and each computes as long.
    fn busy(&self, waves: u32) -> f64 {
        let rounds = waves.div_ceil(self.simds).max(1);
        f64::from(waves) / f64::from(rounds * self.simds)
    }
}

/// One layer's work.
struct Work {
    layer: String,
    flops: f64,
    bytes: f64,
    dispatches: Vec<(PlannedDispatch, u32)>,
}

fn work(layer: &Layer, batch: usize, dispatches: Vec<(PlannedDispatch, u32)>) -> Work {
    let parameters: usize = layer.parameters().map(|(_, dims)| dims.iter().product::<usize>()).sum();
    let numbers = parameters + batch * (layer.input.len() + layer.output.len());
    let flops = 2.0 * dispatches.iter().map(|(dispatch, _)| dispatch.multiply_adds).sum::<u64>() as f64;
    Work { layer: layer.name.clone(), flops, bytes: 4.0 * numbers as f64, dispatches }
}

/// Seconds, and whether arithmetic took them.
fn time(work: &Work, gpu: &Gpu, loops: &BTreeMap<String, BTreeMap<String, Loop>>) -> (f64, bool) {
    let memory = work.bytes / (gpu.bandwidth * 1e9);
    let products = || work.dispatches.iter().filter(|(dispatch, _)| dispatch.multiply_adds > 0);
    let waves = |(d, invocations): &(PlannedDispatch, u32)| {
        d.workgroups.iter().product::<u32>() * invocations.div_ceil(gpu.wave)
    };
    let Some((product, _)) = products().next() else { return (memory, false) };
    let found = loops.get(gpu.chip).and_then(|loops| loops.get(&name(product)));
    let share = found.map_or(1.0, |found| gpu.share(found));
    let arithmetic = work.flops / (gpu.rate() * 1e12 * share * gpu.busy(products().map(waves).sum()));
    (memory.max(arithmetic), arithmetic > memory)
}

/// Prints the tables. `files`: what `shader-stats amd` wrote, each named after its chip.
pub fn print(files: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut loops = BTreeMap::new();
    for file in files {
        let chip = Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read = fs::read(file).map_err(|e| format!("{file}: {e}; scripts/amd-stats.sh writes it"))?;
        loops.insert(chip, serde_json::from_slice(&read).map_err(|e| format!("{file}: {e}"))?);
    }

    println!(
        "| GPU | TFLOP/s f32 | GB/s | SIMD units | loops as compiled | source |\n| --- | --- | --- | --- | --- | --- |"
    );
    for gpu in &GPUS {
        let compiled = if loops.contains_key(gpu.chip) { "yes" } else { "no" };
        let Gpu { name, bandwidth, simds, source, .. } = gpu;
        println!("| {name} | {:.1} | {bandwidth} | {simds} | {compiled} | {source} |", gpu.rate());
    }
    let network = AlexNet::UNGROUPED.network()?;
    for batch in BATCHES {
        let mut planned: BTreeMap<String, Vec<(PlannedDispatch, u32)>> = BTreeMap::new();
        for dispatch in plan(&network, batch, CONFIG, alexnet_wgpu::Precision::F32)? {
            let invocations = shader::compile(&dispatch)?.invocations;
            planned.entry(dispatch.layer.clone()).or_default().push((dispatch, invocations));
        }
        let layers: Vec<Work> =
            network.layers().iter().filter_map(|l| Some(work(l, batch, planned.remove(&l.name)?))).collect();

        println!(
            "\nModelled, not measured: the least milliseconds for `{}`, batch {batch}, f32. a: bound by arithmetic, m: by memory.\n",
            network.name()
        );
        println!("| layer | MFLOP | MB | {} |", GPUS.each_ref().map(|g| g.name).join(" | "));
        println!("|{}", " --- |".repeat(3 + GPUS.len()));
        let mut totals = [0.0; GPUS.len()];
        for work in &layers {
            let times = GPUS.each_ref().map(|gpu| time(work, gpu, &loops));
            totals.iter_mut().zip(&times).for_each(|(total, (seconds, _))| *total += seconds);
            let cells = times.map(|(t, arithmetic)| format!("{:.3} {}", t * 1e3, if arithmetic { "a" } else { "m" }));
            println!("| {} | {:.1} | {:.2} | {} |", work.layer, work.flops / 1e6, work.bytes / 1e6, cells.join(" | "));
        }
        let sum = |of: fn(&Work) -> f64| layers.iter().map(of).sum::<f64>() / 1e6;
        let totals = totals.map(|t| format!("{:.3}", t * 1e3)).join(" | ");
        println!("| all | {:.1} | {:.2} | {totals} |", sum(|w| w.flops), sum(|w| w.bytes));
    }
    Ok(())
}
