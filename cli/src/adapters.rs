//! `alexnet adapters`: list of the available adapters.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use alexnet_wgpu::{
    AdapterSummary, Gpu,
    wgpu::{Backend, DeviceType, Features},
};
use anstyle::Style;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::{
    failure::{Failure, printable},
    options::{self, AdapterArgs},
};

const EXAMPLES: &str = "\
Examples:
  alexnet adapters
  alexnet adapters --json
  alexnet classify shoe.jpg --adapter nvidia --backend vulkan
  alexnet classify shoe.jpg --adapter 1     the second of this list

Exit codes: 0 an adapter can run networks; 1 none can; 2 invalid arguments.";

/// List the available adapters, and which would be picked
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// One JSON object per adapter, one per line, the best first
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let adapters = Gpu::adapters_blocking(None);
    let options = AdapterArgs::default().options()?;
    let allowed = options.allowed(adapters.clone());
    if allowed.is_empty() {
        // The error names the adapters searched for, and how to install a driver.
        options::open(&options)?;
    }
    let picked = reason(&allowed, adapters.len()).map(|reason| (allowed[0].index, reason));
    print(&adapters, picked.as_ref(), args.json).map_err(Failure::output)?;
    match picked {
        Some(_) => Ok(ExitCode::SUCCESS),
        None => Err(Failure::run("no adapter meets the requirements: update its driver, or use another")),
    }
}

/// The reason why the first of the permitted adapters, the best, would be picked; `None` where it would not. `all` is the
/// number of all adapters.
fn reason(adapters: &[AdapterSummary], all: usize) -> Option<String> {
    let first = adapters.first().filter(|a| a.shortfalls.is_empty())?;
    let Some(second) = adapters.get(1) else {
        let named = if all > 1 { "the one that WGPU_BACKEND or WGPU_ADAPTER_NAME selects" } else { "the only adapter" };
        return Some(named.into());
    };
    Some(if !second.shortfalls.is_empty() {
        "the only adapter that meets the requirements".into()
    } else if first.info.device_type != second.info.device_type {
        format!("of type {}, which comes before {}", kind(first), kind(second))
    } else if first.info.backend != second.info.backend && second.info.backend == Backend::Gl {
        format!("{} comes before gl", first.info.backend)
    } else {
        "the first of its kind that the system lists".into()
    })
}

fn kind(adapter: &AdapterSummary) -> &'static str {
    match adapter.info.device_type {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "unknown",
    }
}

fn print(adapters: &[AdapterSummary], picked: Option<&(usize, String)>, json: bool) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for (i, adapter) in adapters.iter().enumerate() {
        let picked = picked.filter(|(index, _)| *index == i).map(|(_, reason)| reason.as_str());
        if json {
            writeln!(out, "{}", serde_json::to_string(&Record::new(adapter, picked))?)?;
        } else {
            if i > 0 {
                writeln!(out)?;
            }
            describe(&mut out, adapter, picked)?;
        }
    }
    Ok(())
}

/// The limits that decide which networks run.
fn limits(adapter: &AdapterSummary) -> Limits {
    Limits {
        max_storage_buffer_binding_size: adapter.limits.max_storage_buffer_binding_size,
        max_buffer_size: adapter.limits.max_buffer_size,
        max_compute_invocations_per_workgroup: adapter.limits.max_compute_invocations_per_workgroup,
        max_compute_workgroup_storage_size: adapter.limits.max_compute_workgroup_storage_size,
    }
}

/// The fewest and most lanes of a subgroup, where shaders may use subgroups.
fn subgroups(adapter: &AdapterSummary) -> Option<[u32; 2]> {
    let AdapterSummary { info, features, .. } = adapter;
    features.contains(Features::SUBGROUP).then_some([info.subgroup_min_size, info.subgroup_max_size])
}

pub fn describe(out: &mut impl Write, adapter: &AdapterSummary, picked: Option<&str>) -> io::Result<()> {
    let bold = Style::new().bold();
    let Limits {
        max_storage_buffer_binding_size: binding,
        max_buffer_size: buffer,
        max_compute_invocations_per_workgroup: invocations,
        max_compute_workgroup_storage_size: workgroup_memory,
    } = limits(adapter);
    let has = |feature| if adapter.features.contains(feature) { "yes" } else { "no" };
    let subgroups = match subgroups(adapter) {
        None => "no".into(),
        Some([least, most]) if least == most => format!("of {least}"),
        Some([least, most]) => format!("of {least} to {most}"),
    };
    let info = &adapter.info;
    writeln!(out, "{bold}{}{bold:#}", printable(&info.name))?;
    let mut line = |key: &str, value: &str| writeln!(out, "  {key:<9} {}", printable(value));
    line("index", &adapter.index.to_string())?;
    if !info.device_pci_bus_id.is_empty() {
        line("PCI", &info.device_pci_bus_id)?;
    }
    if let Some(uuid) = &adapter.uuid {
        line("UUID", uuid)?;
    }
    line("backend", info.backend.to_str())?;
    line("type", kind(adapter))?;
    line("driver", &format!("{} {}", info.driver, info.driver_info))?;
    line(
        "limits",
        &format!(
            "{} a storage binding, {} a buffer; {invocations} invocations and {} a workgroup",
            bytes(binding),
            bytes(buffer),
            bytes(workgroup_memory.into())
        ),
    )?;
    line(
        "features",
        &format!(
            "f16 {}, subgroups {subgroups}, timestamps {}",
            has(Features::SHADER_F16),
            has(Features::TIMESTAMP_QUERY)
        ),
    )?;
    for shortfall in &adapter.shortfalls {
        line("lacks", &shortfall.to_string())?;
    }
    if let Some(reason) = picked {
        line("picked", reason)?;
    }
    Ok(())
}

/// A size such as 128 MiB.
fn bytes(count: u64) -> String {
    HumanBytes(count).to_string().replace(".00 ", " ")
}

/// A line of `--json`; limits and features have their names in WebGPU.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    name: &'a str,
    /// The index for --adapter.
    index: usize,
    pci_address: Option<&'a str>,
    uuid: Option<&'a str>,
    backend: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    driver: &'a str,
    driver_info: &'a str,
    picked: Option<&'a str>,
    shortfalls: Vec<String>,
    limits: Limits,
    features: AdapterFeatures,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_storage_buffer_binding_size: u64,
    max_buffer_size: u64,
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroup_storage_size: u32,
}

#[derive(Serialize)]
struct AdapterFeatures {
    f16: bool,
    /// The fewest and most lanes.
    subgroups: Option<[u32; 2]>,
    timestamps: bool,
}

impl<'a> Record<'a> {
    pub fn new(adapter: &'a AdapterSummary, picked: Option<&'a str>) -> Self {
        let AdapterSummary { info, features, shortfalls, .. } = adapter;
        Self {
            name: &info.name,
            index: adapter.index,
            pci_address: Some(info.device_pci_bus_id.as_str()).filter(|address| !address.is_empty()),
            uuid: adapter.uuid.as_deref(),
            backend: info.backend.to_str(),
            kind: kind(adapter),
            driver: &info.driver,
            driver_info: &info.driver_info,
            picked,
            shortfalls: shortfalls.iter().map(ToString::to_string).collect(),
            limits: limits(adapter),
            features: AdapterFeatures {
                f16: features.contains(Features::SHADER_F16),
                subgroups: subgroups(adapter),
                timestamps: features.contains(Features::TIMESTAMP_QUERY),
            },
        }
    }
}
