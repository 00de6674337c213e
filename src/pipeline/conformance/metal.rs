//! naga's MSL as programs for a processor (scripts/metal): each kernel variant of each layer of narrow AlexNets, run on the
//! bytes that a device would be given, against the f64 twin. It is not Apple's compiler that reads it.

use std::{collections::HashMap, env, ffi::OsString, fs, path::PathBuf, process::Command, sync::mpsc};

use half::f16;
use tempfile::TempDir;
use wgpu::util::DownloadBuffer;

use super::{Shader, narrow_layers};
use crate::{
    doctor::{Case, Finding, Variant},
    gpu::{Gpu, GpuOptions},
    kernels::{Dispatch, Family, Kernel, Place, Precision, Storage, Style, activation_quads},
    pipeline::{
        Algorithms, Checks, from_chw,
        memory::Memory,
        plan::{Parameters, Plan, rows_layout},
        to_chw,
    },
};

/// Where the programs are, and the files that they read and write.
struct Processor {
    compiler: OsString,
    folder: TempDir,
    programs: HashMap<Kernel, PathBuf>,
    /// What the layers' weights are packed and quantised with. Nothing is computed on it.
    gpu: Gpu,
}

impl Processor {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The kernel's program, compiled where it is new.
    fn program(&mut self, kernel: &Kernel) -> PathBuf {
        if let Some(program) = self.programs.get(kernel) {
            return program.clone();
        }
        let shader = Shader::new(kernel);
        let msl = shader.msl((2, 4), Checks::Off);
        let ([x, y, z], call) = (shader.module.entry_points[0].workgroup_size, call(&msl));
        let program = self.path(&format!("{}-{}", self.programs.len(), kernel.shader));
        let source = program.with_extension("cpp");
        let text = format!(
            "#include \"run.hpp\"\n{msl}\nvoid call() {{ {call}; }}\nconst uint3 threads_per_threadgroup{{{x}, {y}, {z}}};\n"
        );
        fs::write(&source, text).unwrap();
        let headers = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/scripts/metal");
        let arguments = ["-std=c++20", "-O1", "-w", "-fno-strict-aliasing", headers, "-o"];
        let output = Command::new(&self.compiler).args(arguments).args([&program, &source]).output().unwrap();
        assert!(output.status.success(), "{}: {}", kernel.label(), String::from_utf8_lossy(&output.stderr));
        self.programs.insert(kernel.clone(), program.clone());
        program
    }

    /// What the variant makes of the case's input.
    fn run(&mut self, case: &Case, variant: Variant) -> Vec<f32> {
        let (network, layer, batch) = (&case.network, &case.network.layers()[0], variant.batch);
        let algorithms = Algorithms::from([(layer.name.clone(), variant.algorithm)]);
        let plans = Plan::all(network, &algorithms, batch, variant.style, variant.precision, (128 << 20) / 16).unwrap();
        let plan = &plans[0];
        // In a texture they have the same bytes.
        let parameters =
            plan.upload(&self.gpu, case.weights(variant.precision).unwrap(), Storage::Buffer, &mut |_| {}).unwrap();

        let layout = rows_layout(network);
        let quads = layout.map_or(activation_quads(layer.input), |l| l.quads());
        let mut x = vec![0.0; 4 * quads * batch];
        for (picture, x) in case.input(batch).chunks_exact(layer.input.len()).zip(x.chunks_exact_mut(4 * quads)) {
            match layout {
                Some(layout) => layout.write(picture, x),
                None => from_chw(picture, layer.input, x),
            }
        }
        // NaN until it is written.
        let unwritten = |quads: usize| vec![f32::NAN; 4 * quads];
        let mut y = unwritten(activation_quads(layer.output) * batch);
        let mut scratch = plan.scratch.map(unwritten);
        for dispatch in &plan.dispatches {
            let program = self.program(&dispatch.kernel);
            let folder = self.path("bindings");
            let bind = |binding: u32, bytes: &[u8]| fs::write(folder.join(binding.to_string()), bytes).unwrap();
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            bind(
                0,
                bytemuck::cast_slice(match dispatch.reads {
                    Place::Layer => &x,
                    Place::Scratch(i) => &scratch[i],
                }),
            );
            bind(2, &dispatch.uniform);
            // The sizes of the others, for checks of which there are none.
            bind(7, &[]);
            if let Some(parameters) = &parameters {
                for (binding, bytes) in self.parameters(parameters, dispatch) {
                    bind(binding, &bytes);
                }
            }
            let writes = match dispatch.writes {
                Place::Layer => &mut y,
                Place::Scratch(i) => &mut scratch[i],
            };
            bind(1, bytemuck::cast_slice(writes));
            let workgroups = dispatch.workgroups.map(|n| n.to_string());
            let output = Command::new(program).arg(&folder).args(workgroups).output().unwrap();
            assert!(output.status.success(), "{}, {variant}: {}: {output:?}", layer.name, dispatch.kernel.label());
            let written = fs::read(folder.join("1")).unwrap();
            writes.copy_from_slice(&bytemuck::pod_collect_to_vec::<u8, f32>(&written));
        }
        to_chw(&y, layer.output, batch)
    }

    /// What of a layer's parameters a dispatch is given, by binding.
    fn parameters(&self, parameters: &Parameters, dispatch: &Dispatch) -> Vec<(u32, Vec<u8>)> {
        let mut bound = Vec::new();
        if let (Some(precision), Some(chunk)) = (dispatch.kernel.weights, dispatch.chunk) {
            let Memory::Buffer(weights) = &parameters.weights[chunk] else { panic!("weights in a texture") };
            let bytes = self.bytes(weights);
            bound.push((3, if dispatch.kernel.storage != Storage::Buffer { texels(&bytes, precision) } else { bytes }));
            bound.extend(parameters.scales.as_ref().map(|scales| (5, self.bytes(scales))));
        }
        bound.extend(dispatch.bias.map(|kind| (4, self.bytes(&parameters.biases[&kind]))));
        bound
    }

    fn bytes(&self, buffer: &wgpu::Buffer) -> Vec<u8> {
        let (send, receive) = mpsc::channel();
        DownloadBuffer::read_buffer(self.gpu.device(), self.gpu.queue(), &buffer.slice(..), move |bytes| {
            send.send(bytes.unwrap().to_vec()).unwrap();
        });
        self.gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
        receive.recv().unwrap()
    }
}

/// What a shader reads from the texture of weights whose bytes these are: that conversion is the device's.
fn texels(bytes: &[u8], precision: Precision) -> Vec<u8> {
    let numbers: Vec<f32> = match precision {
        Precision::F32 => return bytes.to_vec(),
        Precision::F16 => bytes.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect(),
        Precision::Int8 => bytes.iter().map(|&byte| (f32::from(byte as i8) / 127.0).max(-1.0)).collect(),
    };
    bytemuck::cast_slice(&numbers).to_vec()
}

/// The call of a kernel in the words of its parameters' attributes; what has none is threadgroup memory.
fn call(msl: &str) -> String {
    let (_, rest) = msl.split_once("kernel void main_(").unwrap();
    let (parameters, _) = rest.split_once("\n) {").unwrap();
    let mut threadgroup = 0..;
    let arguments = parameters.trim().lines().map(|parameter| match parameter.split_once("[[") {
        Some((_, attribute)) => attribute.trim_end_matches("]]").to_string(),
        None => format!("shared[{}]", threadgroup.next().unwrap()),
    });
    format!("main_({})", arguments.collect::<Vec<_>>().join(", "))
}

/// naga's MSL computes what the f64 twin computes. scripts/test-shaders.sh runs it.
#[test]
#[ignore = "needs a C++ compiler: scripts/test-shaders.sh msl"]
fn msl_computes_the_same() {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let gpu = Gpu::open(&GpuOptions { adapter: env::var("ALEXNET_ADAPTER").ok(), backends: None }).unwrap();
    let mut processor = Processor { compiler, folder: tempfile::tempdir().unwrap(), programs: HashMap::new(), gpu };
    // The broadcast kernels whatever the device, which only packs.
    let styles = [Family::Tiled, Family::Broadcast { lanes: 8 }]
        .into_iter()
        .flat_map(|family| Storage::ALL.map(|storage| Style { family, storage }));
    let findings: Vec<Finding> = narrow_layers()
        .iter()
        .flat_map(|layer| {
            let case = Case::new(layer).unwrap();
            let variants = case.variants_of(styles.clone());
            variants.into_iter().map(|v| case.finding(v, Ok(processor.run(&case, v)))).collect::<Vec<_>>()
        })
        .collect();
    super::report(&findings, processor.programs.len());
}
