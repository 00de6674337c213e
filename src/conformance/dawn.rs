//! The WGSL through Dawn, Chrome's WebGPU implementation (scripts/dawn.py): each kernel variant of each layer of narrow
//! AlexNets against the f64 twin, and the whole `ungrouped` network against its reference vectors.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::{job::Job, narrow_layers, pair, training, wgsl};
use crate::{
    doctor::{Case, Finding, KernelVariant, NetworkFinding, Vectors},
    gpu::Gpu,
    kernels::{Access, Binding, Family, Kernel, KernelConfig, Precision, Storage, binding::UNIFORM},
    model::AlexNet,
    program::{ArrayId, Dispatch, Program},
};

/// The Python command, and the package that contains Dawn.
struct Dawn {
    python: OsString,
    package: String,
}

impl Dawn {
    fn call(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dawn.py")).arg(&self.package);
        command
    }

    /// The adapter's name, and whether it has subgroups.
    fn adapter(&self) -> (String, bool) {
        let output = good(self.call().output().unwrap());
        let adapter: Value = serde_json::from_slice(&output.stdout).unwrap();
        (adapter["adapter"].as_str().unwrap().into(), adapter["subgroups"].as_bool().unwrap())
    }

    /// Runs the jobs, and returns the reason for each that failed.
    fn run(&self, jobs: &mut [Job]) -> Vec<Result<(), String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: String| folder.path().join(name);
        let distinct: BTreeSet<&Kernel> = jobs.iter().flat_map(Job::kernels).collect();
        let numbers: BTreeMap<&Kernel, usize> = distinct.into_iter().zip(0..).collect();
        let shaders: Vec<Value> = numbers.keys().map(|kernel| shader(kernel)).collect();
        let listed: Vec<Value> = jobs.iter().map(|job| listed(job, &numbers)).collect();
        let list = json!({ "shaders": shaders, "jobs": listed });
        fs::write(path("jobs.json".into()), list.to_string()).unwrap();
        for (number, job) in jobs.iter().enumerate() {
            let uniforms = job.program.dispatches.iter().map(|dispatch| &dispatch.uniform);
            for (index, bytes) in job.bytes.iter().chain(uniforms).enumerate() {
                fs::write(path(format!("{number}-{index}")), bytes).unwrap();
            }
        }
        good(self.call().arg(folder.path()).output().unwrap());
        let outcome = |(number, job): (usize, &mut Job)| {
            if let Ok(error) = fs::read_to_string(path(format!("{number}.error"))) {
                return Err(error);
            }
            for index in job.results.clone() {
                job.bytes[index] = fs::read(path(format!("{number}-{index}.out"))).unwrap();
            }
            Ok(())
        };
        jobs.iter_mut().enumerate().map(outcome).collect()
    }
}

fn good(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn shader(kernel: &Kernel) -> Value {
    json!({
        "label": kernel.label(),
        "wgsl": wgsl(kernel),
        "entries": entries(kernel),
        "constants": kernel.constants,
    })
}

/// The entries of the kernel's bind group layout, in WebGPU's terms.
fn entries(kernel: &Kernel) -> Vec<Value> {
    let entry = |&Binding { number, access, storage, precision }: &Binding| match (storage, access) {
        (Storage::StorageBuffer, Access::Read) => {
            json!({ "binding": number, "buffer": { "type": "read-only-storage" } })
        }
        (Storage::StorageBuffer, _) => json!({ "binding": number, "buffer": { "type": "storage" } }),
        (Storage::SampledTexture, Access::Read) => {
            json!({ "binding": number, "texture": { "sample_type": "unfilterable-float" } })
        }
        (_, access) => {
            let access = if access == Access::Read { "read-only" } else { "write-only" };
            json!({ "binding": number, "storage_texture": { "access": access, "format": format(precision) } })
        }
    };
    let uniform = json!({ "binding": UNIFORM, "buffer": { "type": "uniform" } });
    kernel.bindings.iter().map(entry).chain([uniform]).collect()
}

/// A texture's format, in WebGPU's terms.
fn format(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "rgba32float",
        Precision::F16 => "rgba16float",
        Precision::Int8 => "rgba8snorm",
    }
}

/// A job without the bytes. Kernels are referred to by number; uniforms are the last arrays.
fn listed(job: &Job, numbers: &BTreeMap<&Kernel, usize>) -> Value {
    let Program { arrays, dispatches, .. } = &job.program;
    let array = |id: usize| json!({ "size": arrays[id].bytes, "format": job.texture(ArrayId(id)).map(format) });
    let uniform = |dispatch: &Dispatch| json!({ "size": dispatch.uniform.len(), "format": null });
    let all: Vec<Value> = (0..arrays.len()).map(array).chain(dispatches.iter().map(uniform)).collect();
    let dispatch = |(index, dispatch): (usize, &Dispatch)| {
        let bound = dispatch.bound.iter().map(|bound| (bound.number, bound.array.0));
        let bindings: Vec<_> = bound.chain([(UNIFORM, arrays.len() + index)]).collect();
        json!({ "shader": numbers[&dispatch.kernel], "bindings": bindings, "workgroups": dispatch.workgroups })
    };
    json!({
        "arrays": all,
        "dispatches": dispatches.iter().enumerate().map(dispatch).collect::<Vec<_>>(),
        "results": job.results,
    })
}

/// Dawn, and the kernel configurations that it runs here.
fn started() -> (Dawn, Vec<KernelConfig>) {
    let package = env::var("ALEXNET_DAWN").expect("ALEXNET_DAWN names a package that has Dawn");
    let dawn = Dawn { python: env::var_os("ALEXNET_PYTHON").unwrap_or_else(|| "python3".into()), package };
    let (adapter, subgroups) = dawn.adapter();
    println!("Dawn on {adapter}");
    // The driver reports its number of lanes.
    let gpu = Gpu::for_tests();
    let lanes = |config: &KernelConfig| if let Family::SubgroupBroadcast { lanes } = config.family { lanes } else { 0 };
    let most = gpu.kernel_configs().iter().map(lanes).max().unwrap();
    let configs: Vec<KernelConfig> =
        gpu.kernel_configs().into_iter().filter(|s| lanes(s) == 0 || subgroups && lanes(s) == most).collect();
    (dawn, configs)
}

/// Dawn's results match the f64 twin, and those of the whole network its reference vectors. scripts/test-dawn.sh runs this
/// test, with Python in ALEXNET_PYTHON and the package's name in ALEXNET_DAWN.
#[test]
#[ignore = "needs Dawn: scripts/test-dawn.sh"]
fn dawn_computes_the_same() {
    let (dawn, configs) = started();
    let mut checks: Vec<(Case, KernelVariant)> = Vec::new();
    for layer in narrow_layers() {
        let case = Case::new(&layer).unwrap();
        checks.extend(case.variants_of(configs.clone()).into_iter().map(|variant| (case.clone(), variant)));
    }
    let mut jobs: Vec<Job> = checks.iter().map(|(case, variant)| Job::of_case(case, *variant)).collect();
    let outcomes = dawn.run(&mut jobs);
    let kernels: BTreeSet<_> = jobs.iter().flat_map(Job::kernels).collect();
    let findings: Vec<Finding> = checks
        .iter()
        .zip(&jobs)
        .zip(outcomes)
        .map(|(((case, variant), job), outcome)| case.finding(*variant, outcome.map(|()| job.output(0))))
        .collect();

    let vectors = Vectors::ALL.into_iter().find(|v| v.alexnet() == AlexNet::UNGROUPED).unwrap();
    let network = vectors.alexnet().network().unwrap();
    let (weights, input) = vectors.question(&network);
    let names = vectors.known_layers(&network).unwrap();
    let mut whole = Vec::new();
    for config in configs {
        let mut jobs = [Job::of_network(&network, &weights, &input, config, 5)];
        let outcome = dawn.run(&mut jobs).remove(0).map_err(Into::into).and_then(|()| {
            let activations: Vec<_> =
                names.iter().map(|name| jobs[0].output(network.position(name).unwrap())).collect();
            vectors.outcome(config, &names, &activations, &jobs[0].top())
        });
        println!("{}, {config:?}: {outcome:?}", network.name());
        let outcome = outcome.map_err(|error| error.to_string());
        whole.push(NetworkFinding { network: network.name().into(), outcome, ms: 0.0 });
    }
    super::report(&findings, kernels.len());
    assert!(whole.iter().all(NetworkFinding::is_right), "{whole:#?}");
}

/// The same for comparisons of pictures.
#[test]
#[ignore = "needs Dawn: scripts/test-dawn.sh"]
fn dawn_computes_the_same_comparisons() {
    let (dawn, configs) = started();
    pair::check(configs, |job| {
        let mut jobs = [job];
        dawn.run(&mut jobs).remove(0)?;
        let [job] = jobs;
        Ok(job)
    });
}

/// The same for training steps.
#[test]
#[ignore = "needs Dawn: scripts/test-dawn.sh"]
fn dawn_computes_the_same_gradients() {
    let (dawn, configs) = started();
    let configs = configs.into_iter().filter(|config| config.family != Family::SubgroupBroadcast { lanes: 4 });
    training::check(configs, |job| {
        let mut jobs = [job];
        dawn.run(&mut jobs).remove(0)?;
        let [job] = jobs;
        Ok(job)
    });
}
