//! What is known of the shaders on real GPUs without one.
//!
//! ```text
//! shader-stats amd FILE.json          what the Vulkan driver's compiler makes of every pipeline of the GPU plan
//! shader-stats roofline [FILE.json…]  the least time that real GPUs could take for each layer
//! ```
//!
//! scripts/amd-stats.sh runs the first on RADV, Mesa's driver for AMD GPUs, with `RADV_FORCE_FAMILY`: it then compiles
//! for that chip without one in the machine. The files carry what was found from the first command to the second; each
//! is named after its chip. Exit 1 when a pipeline spills registers or uses scratch memory, 2 on an error.

mod assembly;
mod driver;
mod roofline;
mod shader;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    io::Write,
    path::Path,
    process::ExitCode,
};

use alexnet_wgpu::{Family, KernelConfig, PlannedDispatch, Precision, Storage, Variant, plan, write_atomically};

/// What runs on GPUs by default.
const CONFIG: KernelConfig = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);

/// What runs, if wanted, on GPUs with cooperative matrices of the size that AMD's have.
const MATRIX_CONFIG: KernelConfig =
    KernelConfig::new(Family::CooperativeMatrix { size: 16, lanes: 64 }, Storage::StorageBuffer);

/// Batches whose plans are looked at: one picture, and enough for matrix products in every layer.
const BATCHES: [usize; 2] = [1, 16];

/// What a pipeline is called here: its kernel with every setting, so that different pipelines have different names.
fn name(dispatch: &PlannedDispatch) -> String {
    let constants = dispatch.constants.iter().map(|(name, value)| format!(" {}={value}", name.to_lowercase()));
    dispatch.kernel.clone() + &constants.collect::<String>()
}

/// A pipeline by its first dispatch, and the layers that it computes.
struct Pipeline {
    dispatch: PlannedDispatch,
    layers: BTreeSet<String>,
}

/// The distinct pipelines of all four networks in `config`.
fn pipelines(config: KernelConfig) -> Result<Vec<Pipeline>, Box<dyn Error>> {
    let mut distinct = BTreeMap::new();
    for (batch, precision) in BATCHES.into_iter().flat_map(|batch| Precision::ALL.map(|p| (batch, p))) {
        for variant in Variant::ALL {
            for dispatch in plan(&variant.standard().network()?, batch, config, precision)? {
                let key = (name(&dispatch), dispatch.wgsl.clone());
                let layer = dispatch.layer.clone();
                let pipeline = distinct.entry(key).or_insert_with(|| Pipeline { dispatch, layers: BTreeSet::new() });
                pipeline.layers.insert(layer);
            }
        }
    }
    Ok(distinct.into_values().collect())
}

/// Prints the table and writes `file`; false when a pipeline spills or uses scratch memory.
fn amd(file: &Path) -> Result<bool, Box<dyn Error>> {
    let driver = driver::Driver::new()?;
    println!("**{}**\n", driver.name());
    println!(
        "| pipeline | layers | wave | VGPRs | SGPRs | LDS bytes | spilled | scratch | waves per SIMD | code bytes \
         | instructions | inverse throughput | loop: FMAs of VALU | loop: LDS bytes per FMA |"
    );
    println!("|{}", " --- |".repeat(14));
    let (mut loops, mut clean) = (BTreeMap::new(), true);
    let mut all = pipelines(CONFIG)?;
    if driver.has_matrices() {
        let others = pipelines(MATRIX_CONFIG)?;
        all.extend(others.into_iter().filter(|pipeline| pipeline.dispatch.kernel.starts_with("gemm_cooperative")));
    }
    for Pipeline { dispatch, layers } in all {
        let report = driver.compile(&shader::compile(&dispatch)?)?;
        let value = |name: &str| report.statistics.get(name).copied();
        let show = |name| value(name).map_or("–".into(), |v| v.to_string());
        let spilled = ["spilled sgprs", "spilled vgprs"].into_iter().filter_map(value).sum::<u64>();
        let scratch = ["scratch size"].into_iter().filter_map(value).sum::<u64>();
        clean &= spilled == 0 && scratch == 0;
        let hot = assembly::hot_loop(&report.assembly);
        println!(
            "| {} | {} | {} | {} | {} | {} | {spilled} | {scratch} | {} | {} | {} | {} | {} | {} |",
            name(&dispatch),
            layers.into_iter().collect::<Vec<_>>().join(" "),
            report.wave,
            show("vgprs"),
            show("sgprs"),
            show("lds size"),
            show("subgroups per simd"),
            show("code size"),
            show("instructions"),
            show("inverse throughput"),
            hot.map_or("–".into(), |l| format!("{} of {}", l.fmas, l.valu)),
            hot.map_or("–".into(), |l| format!("{:.1}", f64::from(l.lds_bytes) / f64::from(l.fmas))),
        );
        if let Some(hot) = hot {
            loops.insert(name(&dispatch), hot);
        }
    }
    let json = serde_json::to_vec_pretty(&loops)?;
    write_atomically(file, |file| file.write_all(&json))?;
    Ok(clean)
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["amd", file] => amd(Path::new(file)),
        ["roofline", files @ ..] => roofline::print(files).map(|()| true),
        _ => Err("expected `amd FILE.json` or `roofline [FILE.json…]`".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("shader-stats: a pipeline spills registers or uses scratch memory, see the table");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("shader-stats: {error}");
            ExitCode::from(2)
        }
    }
}
