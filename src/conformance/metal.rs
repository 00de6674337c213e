//! naga's MSL as programs for the CPU (scripts/metal): each kernel variant of each layer of narrow AlexNets, run on the bytes
//! that a device would get, against the f64 twin. Apple's compiler is not involved.

use std::{
    borrow::Cow,
    collections::HashMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use half::f16;
use tempfile::TempDir;

use super::{Shader, job::Job, narrow_layers, pair, training};
use crate::{
    doctor::{Case, Finding},
    kernels::{Access, Checks, Kernel, Precision, binding::UNIFORM},
    program::{Bound, Dispatch},
    select,
};

/// The folder of the programs and of the files that they read and write.
struct Processor {
    compiler: OsString,
    folder: TempDir,
    programs: HashMap<Kernel, PathBuf>,
}

/// The folder of the headers and of the program around a kernel.
const METAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/metal");

impl Processor {
    fn new() -> Self {
        let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let folder = tempfile::tempdir().unwrap();
        let new = Self { compiler, folder, programs: HashMap::new() };
        let metal = |name: &str| Path::new(METAL).join(name).into_os_string();
        new.compile("run.o", &["-c".into(), metal("run.cpp")]);
        // Most of a kernel's compilation would be its headers.
        new.compile("run.hpp.gch", &["-x".into(), "c++-header".into(), metal("run.hpp")]);
        new
    }

    /// Compiles to this file of the folder.
    fn compile(&self, name: &str, arguments: &[OsString]) {
        let options = ["-std=c++20", "-O1", "-w", "-fno-strict-aliasing", "-I", METAL, "-o"];
        let output = Command::new(&self.compiler).args(options).arg(self.path(name)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The kernel's program, compiled on first use.
    fn program(&mut self, kernel: &Kernel) -> PathBuf {
        if let Some(program) = self.programs.get(kernel) {
            return program.clone();
        }
        let shader = Shader::new(kernel);
        let msl = shader.msl((2, 4), Checks::Off);
        let ([x, y, z], call) = (shader.module.entry_points[0].workgroup_size, call(&msl));
        let name = format!("{}-{}", self.programs.len(), kernel.shader);
        let (program, source) = (self.path(&name), self.path(&format!("{name}.cpp")));
        // Four simdgroups, as the kernel with cooperative matrices expects, or for matrices of 16×16 fewer or more.
        let has = |setting| kernel.settings.contains(&setting);
        let simdgroup = if has(("SIZE", 16)) && has(("THREADS", 128)) { 64 } else { 32 };
        let text = format!(
            "{msl}\nvoid call() {{ {call}; }}\nconst uint3 threads_per_threadgroup{{{x}, {y}, {z}}};\n\
             const uint threads_per_simdgroup = {simdgroup};\n"
        );
        fs::write(&source, text).unwrap();
        let header = self.path("run.hpp").into_os_string();
        self.compile(&name, &["-include".into(), header, source.into(), self.path("run.o").into()]);
        self.programs.insert(kernel.clone(), program.clone());
        program
    }

    /// Runs the job's dispatches, one after the other.
    fn run(&mut self, job: &mut Job) {
        for Dispatch { kernel, uniform, workgroups, bound, .. } in job.program.dispatches.clone() {
            let program = self.program(&kernel);
            let folder = self.path("bindings");
            let bind = |binding: u32, bytes: &[u8]| fs::write(folder.join(binding.to_string()), bytes).unwrap();
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            for Bound { number, array, .. } in &bound {
                let bytes = &job.bytes[array.0];
                bind(*number, &job.texture(*array).map_or(bytes.into(), |precision| texels(bytes, precision)));
            }
            bind(UNIFORM, &uniform);
            // The sizes of the others, for checks of which there are none.
            bind(super::SIZES.into(), &[]);
            let workgroups = workgroups.map(|n| n.to_string());
            let output = Command::new(program).arg(&folder).args(workgroups).output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", kernel.label());
            for Bound { number, array, .. } in bound.iter().filter(|bound| bound.access != Access::Read) {
                job.bytes[array.0] = fs::read(folder.join(number.to_string())).unwrap();
            }
        }
    }
}

/// The texels that a shader reads from a weight texture with these bytes; on a device, the hardware converts them.
fn texels(bytes: &[u8], precision: Precision) -> Cow<'_, [u8]> {
    let numbers: Vec<f32> = match precision {
        Precision::F32 => return bytes.into(),
        Precision::F16 => bytes.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect(),
        Precision::Int8 => bytes.iter().map(|&byte| (f32::from(byte as i8) / 127.0).max(-1.0)).collect(),
    };
    bytemuck::cast_slice(&numbers).to_vec().into()
}

/// The call of a kernel, from the attributes of its parameters; a parameter without one is threadgroup memory.
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

/// The results of naga's MSL match the f64 twin. scripts/test-shaders.sh runs this test.
#[test]
#[ignore = "needs a C++ compiler: scripts/test-shaders.sh msl"]
fn msl_computes_the_same() {
    let mut processor = Processor::new();
    // The broadcast kernels too, since no device needs to support them.
    let findings: Vec<Finding> = narrow_layers()
        .iter()
        .enumerate()
        .flat_map(|(number, layer)| {
            let case = Case::new(layer).unwrap();
            let mut variants = case.variants_of(pair::configs());
            // A third of them, since a workgroup has hundreds of threads: in turns.
            variants.extend(case.variants_of(select::matrix_configs()).into_iter().skip(number % 3).step_by(3));
            let run = |v| {
                let mut job = Job::of_case(&case, v);
                processor.run(&mut job);
                case.finding(v, Ok(job.output(0)))
            };
            variants.into_iter().map(run).collect::<Vec<_>>()
        })
        .collect();
    super::report(&findings, processor.programs.len());
}

/// The same for comparisons of pictures.
#[test]
#[ignore = "needs a C++ compiler: scripts/test-shaders.sh msl"]
fn msl_computes_the_same_comparisons() {
    let mut processor = Processor::new();
    // Each family and each storage.
    pair::check(pair::configs().step_by(2), |mut job| {
        processor.run(&mut job);
        Ok(job)
    });
}

/// The same for training steps.
#[test]
#[ignore = "needs a C++ compiler: scripts/test-shaders.sh msl"]
fn msl_computes_the_same_gradients() {
    let mut processor = Processor::new();
    training::check(pair::configs().step_by(5), |mut job| {
        processor.run(&mut job);
        Ok(job)
    });
}
