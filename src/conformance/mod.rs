//! Checks of every shader in every configuration that the planner can choose, without a device: parsed, validated with
//! exactly its declared capabilities, compared with WebGPU's default limits, and written for each backend.
//!
//! `ALEXNET_SHADERS=FOLDER` keeps the generated shaders in a folder for other compilers (scripts/test-shaders.sh).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bounds;
mod dawn;
mod job;
mod matrices;
mod metal;
mod pair;
mod training;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use naga::{
    AddressSpace, ImageClass, Module, ShaderStage, StorageAccess, TypeInner,
    back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};
use wgpu::{Features, Limits};

use crate::{
    doctor::{Case, Finding, check_inputs, distinct_layers, further_layers},
    gpu::{Compiler, Gpu},
    kernels::{
        Access, Algorithm, Binding, Checks, Family, Kernel, KernelConfig, Precision, Storage,
        binding::{UNIFORM, X, Y},
        roofline,
    },
    layers::{Conv, LocalResponseNorm, MaxPool},
    lower::Inference,
    model::{AlexNet, Variant},
    network::{Layer, Network},
    program::{Algorithms, Options},
    runtime::{buffer_kernel, texture_kernel},
    select,
    shape::Shape,
};

/// Every kernel of every network in every kernel configuration, with every algorithm and in each kind of batch.
fn kernels_of_all_plans() -> BTreeSet<Kernel> {
    let mut networks: Vec<Network> = Variant::ALL.into_iter().map(|v| v.standard().network().unwrap()).collect();
    networks.push(
        Network::builder("odd", Shape::new(5, 9, 9))
            .conv("depthwise", Conv::new(5, 3).groups(5))
            .conv("grouped", Conv::new(10, 2).groups(5))
            .local_response_norm("norm", LocalResponseNorm::PAPER)
            .adaptive_avg_pool("pool", 2, 2)
            .build()
            .unwrap(),
    );
    networks.extend(
        further_layers()
            .unwrap()
            .into_iter()
            .map(|layer| Network::new("further", layer.input, [(layer.name.clone(), layer.op)]).unwrap()),
    );
    // More workgroups than a dispatch takes along an axis, and sizes whose products exceed 32 bits.
    networks.push(
        Network::builder("tall", Shape::new(3, 70_000, 2))
            .max_pool("pool1", MaxPool::new(1, 1))
            .conv("conv", Conv::new(3, 1).groups(3))
            .local_response_norm("norm", LocalResponseNorm::PAPER)
            .adaptive_avg_pool("pool2", 66_000, 1)
            .build()
            .unwrap(),
    );
    // None: the library's choice. Each number of parts, and each tile, is another shader.
    let algorithms = [None, Some(Algorithm::Direct)]
        .into_iter()
        .chain((2..=8).chain([16]).map(|parts| Some(Algorithm::SplitK { parts })))
        .chain((2..=6).map(|tile| Some(Algorithm::Winograd { tile })))
        .chain([16, 32, 128].into_iter().flat_map(|rows| [1, 8].map(|parts| Some(Algorithm::Tile { rows, parts }))));
    let mut all = BTreeSet::new();
    all.extend(training::programs().flat_map(|program| program.dispatches).map(|dispatch| dispatch.kernel));
    for config in select::all_configs() {
        let storage = config.storage;
        for work in [roofline::read(config), roofline::multiply()] {
            let bound = [Binding::read(X, storage), Binding::write(Y, storage)];
            all.insert(bound.into_iter().fold(work.kernel, Kernel::with_binding));
        }
        for interleaved in [false, true] {
            all.insert(buffer_kernel(interleaved, storage));
            all.extend([false, true].map(|resized| texture_kernel(interleaved, resized, storage)));
        }
        all.extend(pair::programs(config).flat_map(|pair| pair.program.dispatches).map(|dispatch| dispatch.kernel));
        for (network, algorithm) in networks.iter().flat_map(|n| algorithms.clone().map(move |a| (n, a))) {
            let layers = network.layers().iter();
            let algorithms: Algorithms = layers.filter_map(|l| Some((l.name.clone(), algorithm?))).collect();
            for (batch, precision) in
                [1, 2, 3, 5, 7, 8, 9, 16, 17, 64].into_iter().flat_map(|b| Precision::ALL.map(|p| (b, p)))
            {
                let algorithms = &algorithms;
                let options = Options { config, batch, precision, algorithms, limit: job::LIMIT, top: 5 };
                let program = Inference::lower(network, options).unwrap().program;
                all.extend(program.dispatches.into_iter().map(|dispatch| dispatch.kernel));
            }
        }
    }
    all
}

/// The slot of buffers' sizes in MSL, which no binding has.
const SIZES: u8 = 30;

/// A shader with its constants filled in.
struct Shader {
    label: String,
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    fn new(kernel: &Kernel) -> Self {
        let label = kernel.label();
        let source = kernel.source().unwrap();
        let module =
            naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&source)));
        let validate =
            |capabilities| Validator::new(ValidationFlags::all(), capabilities).validate(&module).map_err(Box::new);
        let mut declared = capabilities(kernel.features());
        // Halves that are unpacked to f32 are part of WebGPU itself, not an extension.
        declared.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, source.contains("unpack2x16float"));
        let info = validate(declared).unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&source)));
        for one in declared {
            assert!(validate(declared - one).is_err(), "{label} declares {one:?} and does not use it");
        }
        let constants: PipelineConstants =
            kernel.constants.iter().map(|&(name, value)| (name.to_string(), f64::from(value))).collect();
        let (module, info) = process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &constants)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        let (module, info) = (module.into_owned(), info.into_owned());
        Self { label, module, info }
    }

    /// SPIR-V, with the settings of wgpu-hal's Vulkan backend.
    fn spirv(&self, version: (u8, u8), checks: Checks) -> Vec<u32> {
        let on = checks == Checks::On;
        let options = spv::Options {
            lang_version: version,
            bounds_check_policies: policies(checks),
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: on,
            emit_int_div_checks: on,
            ..Default::default()
        };
        let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        let written = spv::write_vec(&self.module, &self.info, &options, Some(&entry));
        written.unwrap_or_else(|e| panic!("{}: SPIR-V: {e}", self.label))
    }

    /// HLSL with bindings in consecutive registers, as wgpu's Vulkan backend numbers them.
    fn hlsl(&self, shader_model: hlsl::ShaderModel, checks: Checks) -> String {
        let on = checks == Checks::On;
        let binding_map = (0..).zip(self.bindings()).map(|(register, (_, binding))| {
            let resource = naga::ResourceBinding { group: 0, binding };
            (resource, hlsl::BindTarget { register, restrict_indexing: on, ..Default::default() })
        });
        let options = hlsl::Options {
            shader_model,
            binding_map: binding_map.collect(),
            fake_missing_bindings: false,
            zero_initialize_workgroup_memory: false,
            restrict_indexing: on,
            force_loop_bounding: on,
            ..Default::default()
        };
        let entry = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
        let mut text = String::new();
        let written = hlsl::Writer::new(&mut text, &options, &entry).write(&self.module, &self.info, None);
        written.unwrap_or_else(|e| panic!("{}: HLSL: {e}", self.label));
        text
    }

    /// MSL with buffers and textures at their binding numbers.
    fn msl(&self, version: (u8, u8), checks: Checks) -> String {
        let on = checks == Checks::On;
        let mut resources = msl::EntryPointResources { sizes_buffer: Some(SIZES), ..Default::default() };
        for (ty, binding) in self.bindings() {
            let image = match &self.module.types[ty].inner {
                TypeInner::Image { class, .. } => Some(matches!(class, ImageClass::Storage { .. })),
                _ => None,
            };
            let slot = Some(binding as u8);
            let target = match image {
                Some(mutable) => msl::BindTarget { texture: slot, mutable, ..Default::default() },
                None => msl::BindTarget { buffer: slot, mutable: self.is_written(binding), ..Default::default() },
            };
            resources.resources.insert(naga::ResourceBinding { group: 0, binding }, target);
        }
        let options = msl::Options {
            lang_version: version,
            per_entry_point_map: BTreeMap::from([("main".to_string(), resources)]),
            fake_missing_bindings: false,
            bounds_check_policies: policies(checks),
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: on,
            emit_int_div_checks: on,
            ..Default::default()
        };
        let entry =
            msl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())), ..Default::default() };
        let written = msl::write_string(&self.module, &self.info, &options, &entry);
        written.unwrap_or_else(|e| panic!("{}: MSL: {e}", self.label)).0
    }

    /// Whether the buffer at `binding` is written.
    fn is_written(&self, binding: u32) -> bool {
        self.module.global_variables.iter().any(|(_, variable)| {
            let here = variable.binding.as_ref().is_some_and(|found| found.binding == binding);
            here && matches!(variable.space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE))
        })
    }

    /// Type and number of everything in group 0, in order.
    fn bindings(&self) -> Vec<(naga::Handle<naga::Type>, u32)> {
        let variables = self.module.global_variables.iter();
        let mut bindings: Vec<_> = variables.filter_map(|(_, v)| Some((v.ty, v.binding.as_ref()?.binding))).collect();
        bindings.sort_by_key(|&(_, binding)| binding);
        bindings
    }

    /// Checks that it keeps within the limits of every WebGPU device.
    fn check_limits(&self) {
        let (label, module, limits) = (&self.label, &self.module, Limits::default());
        let [x, y, z] = module.entry_points[0].workgroup_size;
        assert!(x * y * z <= limits.max_compute_invocations_per_workgroup, "{label}: {x}×{y}×{z} invocations");
        assert!(x <= limits.max_compute_workgroup_size_x, "{label}: workgroups of {x} along x");
        assert!(y <= limits.max_compute_workgroup_size_y, "{label}: workgroups of {y} along y");
        assert!(z <= limits.max_compute_workgroup_size_z, "{label}: workgroups of {z} along z");

        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let (mut workgroup, mut storage, mut written, mut sampled) = (0, 0, 0, 0);
        for (_, variable) in module.global_variables.iter() {
            let size = layouter[variable.ty].size;
            match (variable.space, &module.types[variable.ty].inner) {
                (AddressSpace::WorkGroup, _) => workgroup += size,
                (AddressSpace::Storage { .. }, _) => storage += 1,
                (AddressSpace::Uniform, _) => {
                    assert!(u64::from(size) <= limits.max_uniform_buffer_binding_size, "{label}: a uniform of {size}");
                }
                (_, TypeInner::Image { class: ImageClass::Storage { format, access }, .. }) => {
                    written += 1;
                    // WebGPU has these formats for storage textures that are only written or only read, not both.
                    use naga::StorageFormat::{Rgba8Snorm, Rgba16Float, Rgba32Float};
                    let formats = match *access {
                        StorageAccess::STORE => &[Rgba32Float][..],
                        StorageAccess::LOAD => &[Rgba32Float, Rgba16Float, Rgba8Snorm],
                        other => panic!("{label}: a storage texture with {other:?}"),
                    };
                    assert!(formats.contains(format), "{label}: {format:?}");
                }
                (_, TypeInner::Image { .. }) => sampled += 1,
                (AddressSpace::Private | AddressSpace::Function, _) => {}
                (space, _) => panic!("{label}: a variable in {space:?}"),
            }
        }
        assert!(workgroup <= limits.max_compute_workgroup_storage_size, "{label}: {workgroup} bytes of a workgroup");
        assert!(storage <= limits.max_storage_buffers_per_shader_stage, "{label}: {storage} storage buffers");
        assert!(written <= limits.max_storage_textures_per_shader_stage, "{label}: {written} storage textures");
        assert!(sampled <= limits.max_sampled_textures_per_shader_stage, "{label}: {sampled} sampled textures");
    }
}

/// The checks that a kernel ships with: kernels that read a host's bindings check every index (`compile_with_input`).
fn shipped(kernel: &Kernel) -> Checks {
    if ["texture_input", "buffer_input"].contains(&kernel.shader) { Checks::On } else { Checks::Off }
}

/// Whether it uses cooperative matrices, which only Vulkan and Metal have.
fn has_matrices(kernel: &Kernel) -> bool {
    kernel.features().contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
}

/// The HLSL shader models in which a kernel is written. wgpu's default compiler on DX12, FXC, supports none above 5.1, where
/// there are no subgroups.
fn shader_models(kernel: &Kernel) -> Vec<hlsl::ShaderModel> {
    if has_matrices(kernel) {
        return vec![];
    }
    let subgroups = kernel.features().contains(Features::SUBGROUP);
    let old = (!subgroups).then_some(hlsl::ShaderModel::V5_1);
    old.into_iter().chain([hlsl::ShaderModel::V6_0]).collect()
}

/// The shader for compilers other than naga. The language requires a directive that naga 30 refuses.
fn wgsl(kernel: &Kernel) -> String {
    let subgroups = kernel.features().contains(Features::SUBGROUP);
    let directive = if subgroups { "enable subgroups;\n" } else { "" };
    directive.to_string() + &kernel.source().unwrap()
}

/// naga's capabilities for a device's features.
fn capabilities(features: Features) -> Capabilities {
    let mut capabilities = Capabilities::empty();
    for (feature, capability) in [
        (Features::SUBGROUP, Capabilities::SUBGROUP),
        (Features::SHADER_F16, Capabilities::SHADER_FLOAT16),
        (Features::EXPERIMENTAL_COOPERATIVE_MATRIX, Capabilities::COOPERATIVE_MATRIX),
    ] {
        capabilities.set(capability, features.contains(feature));
    }
    capabilities
}

fn policies(checks: Checks) -> BoundsCheckPolicies {
    let policy = match checks {
        Checks::On => BoundsCheckPolicy::Restrict,
        Checks::Off => BoundsCheckPolicy::Unchecked,
    };
    BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        image_load: policy,
        binding_array: BoundsCheckPolicy::Unchecked,
    }
}

/// Checks that the kernel declares exactly the bindings of its shader.
fn check_bindings(kernel: &Kernel, shader: &Shader) {
    let module = &shader.module;
    let mut found = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        let (access, storage, precision) = match (variable.space, &module.types[variable.ty].inner) {
            (AddressSpace::Uniform, _) => {
                assert_eq!(binding.binding, UNIFORM, "{}", shader.label);
                continue;
            }
            (AddressSpace::Storage { access }, _) => {
                let written = access.contains(StorageAccess::STORE);
                // For a buffer, only the shader knows the type of its quads.
                let precision = kernel.binding(binding.binding).map_or(Precision::F32, |b| b.precision);
                (if written { Access::Write } else { Access::Read }, Storage::StorageBuffer, precision)
            }
            (_, TypeInner::Image { class: ImageClass::Storage { format, access }, .. }) => {
                let written = access.contains(StorageAccess::STORE);
                let precision = match format {
                    naga::StorageFormat::Rgba16Float => Precision::F16,
                    naga::StorageFormat::Rgba8Snorm => Precision::Int8,
                    _ => Precision::F32,
                };
                (if written { Access::Write } else { Access::Read }, Storage::StorageTexture, precision)
            }
            _ => {
                let precision = kernel.binding(binding.binding).map_or(Precision::F32, |b| b.precision);
                (Access::Read, Storage::SampledTexture, precision)
            }
        };
        found.push(Binding { number: binding.binding, access, storage, precision });
    }
    found.sort();
    // A texture that is sampled is written as a storage texture.
    let declared = kernel.bindings.iter().map(|&binding| match binding {
        Binding { access: Access::Write, storage: Storage::SampledTexture, .. } => {
            Binding { storage: Storage::StorageTexture, ..binding }
        }
        Binding { access: Access::ReadWrite, .. } => Binding { access: Access::Write, ..binding },
        other => other,
    });
    assert_eq!(found, declared.collect::<Vec<_>>(), "{}", shader.label);
}

#[test]
fn every_shader_is_valid_on_every_backend() {
    let folder = std::env::var_os("ALEXNET_SHADERS").map(PathBuf::from);
    let kernels = kernels_of_all_plans();
    assert!(kernels.len() > 60, "{}", kernels.len());
    for (number, kernel) in kernels.iter().enumerate() {
        let shader = Shader::new(kernel);
        shader.check_limits();
        check_bindings(kernel, &shader);
        for checks in [Checks::On, Checks::Off] {
            for version in [(1, 3), (1, 6)] {
                shader.spirv(version, checks);
            }
            for model in shader_models(kernel) {
                shader.hlsl(model, checks);
            }
            for version in [(2, 4), (3, 2)] {
                shader.msl(version, checks);
            }
        }
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).unwrap();
            let write = |ending: &str, bytes: &[u8]| {
                std::fs::write(folder.join(format!("{number:03}-{}.{ending}", kernel.shader)), bytes).unwrap();
            };
            if !has_matrices(kernel) {
                write("wgsl", wgsl(kernel).as_bytes());
            }
            let checks = shipped(kernel);
            let (ending, version) = if has_matrices(kernel) { ("spv16", (1, 6)) } else { ("spv", (1, 3)) };
            write(ending, bytemuck::cast_slice(&shader.spirv(version, checks)));
            for model in shader_models(kernel) {
                let ending = if model == hlsl::ShaderModel::V5_1 { "fxc.hlsl" } else { "hlsl" };
                write(ending, shader.hlsl(model, checks).as_bytes());
            }
            write("metal", shader.msl((2, 4), checks).as_bytes());
        }
    }
}

/// Only kernels that declare it use more than every WebGPU device has, and only in the kernel configurations that ask for it.
#[test]
fn features_are_declared() {
    for kernel in kernels_of_all_plans() {
        let label = kernel.label();
        let source = kernel.source().unwrap();
        let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        let uses = |word: &str| code.iter().any(|line| line.contains(word));
        let subgroups = uses("subgroup") || uses("quadSwap");
        assert_eq!(kernel.features().contains(Features::SUBGROUP), subgroups, "{label}");
        assert_eq!(kernel.features().contains(Features::SHADER_F16), uses("enable f16"), "{label}");
        assert_eq!(has_matrices(&kernel), uses("enable wgpu_cooperative_matrix"), "{label}");
    }
    let network = Variant::Ungrouped.standard().network().unwrap();
    for storage in Storage::ALL {
        let tiled = KernelConfig { family: Family::WorkgroupTiled, storage };
        let (precision, algorithms) = (Precision::F16, &Algorithms::new());
        let options = Options { config: tiled, batch: 1, precision, algorithms, limit: job::LIMIT, top: 5 };
        for dispatch in Inference::lower(&network, options).unwrap().program.dispatches {
            assert_eq!(dispatch.kernel.features(), Features::empty(), "{}", dispatch.kernel.label());
        }
    }
}

/// The first Vulkan adapter, or the one that ALEXNET_ADAPTER names, as a device that takes SPIR-V unchecked.
fn passthrough_gpu() -> Gpu {
    let name = std::env::var("ALEXNET_ADAPTER").ok();
    let adapters = pollster::block_on(Gpu::adapters(Some(wgpu::Backends::VULKAN)));
    let adapter = adapters.into_iter().find(|a| a.is_called(name.as_deref())).unwrap().adapter;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: Features::PASSTHROUGH_SHADERS | adapter.features() & Features::SUBGROUP,
        // SAFETY: passthrough shaders are experimental in that wgpu checks nothing of them; `hlsl_computes_the_same` makes
        // them from shaders that were checked.
        experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Gpu::from_device(device, queue).unwrap()
}

/// naga's HLSL, compiled to SPIR-V by Microsoft's compiler, matches the f64 twin on Vulkan: each kernel variant of each layer
/// of a narrow AlexNet. scripts/test-shaders.sh runs this test, with DXC in ALEXNET_DXC.
#[test]
#[ignore = "needs DXC: scripts/test-shaders.sh dxc"]
fn hlsl_computes_the_same() {
    let library = std::env::var("ALEXNET_DXC").expect("ALEXNET_DXC names libdxcompiler");
    let folder = tempfile::tempdir().unwrap();
    let (path, compiled) = (folder.path().to_path_buf(), Arc::new(AtomicUsize::new(0)));
    let count = compiled.clone();
    let mut gpu = passthrough_gpu();
    gpu.compiler = Some(Compiler(Arc::new(move |device, kernel| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let file = path.join(format!("{number}-{}.hlsl", kernel.shader));
        std::fs::write(&file, Shader::new(kernel).hlsl(hlsl::ShaderModel::V6_0, shipped(kernel))).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dxc.py");
        let output = Command::new("python3").args([script, "--spirv", &library]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", kernel.label());
        let bytes = std::fs::read(file.with_extension("spv")).unwrap();
        let words: Vec<u32> = bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes).collect();
        let descriptor = wgpu::ShaderModuleDescriptorPassthrough {
            label: Some(kernel.shader),
            entry_points: vec![wgpu::PassthroughShaderEntryPoint { name: "main".into(), workgroup_size: (0, 0, 0) }]
                .into(),
            spirv: Some(words.into()),
            ..Default::default()
        };
        // SAFETY: the SPIR-V is DXC's translation of a shader whose indices `compile` says are in range.
        Some(unsafe { device.create_shader_module_passthrough(descriptor) })
    })));
    let mut findings = Vec::new();
    for layer in narrow_layers() {
        let case = Case::new(&layer).unwrap();
        findings.extend(case.variants(&gpu).into_iter().map(|variant| pollster::block_on(case.check(&gpu, variant))));
    }
    report(&findings, compiled.load(Ordering::Relaxed));
    for input in pollster::block_on(check_inputs(&gpu)) {
        assert!(input.is_right(), "{input}: {:?}", input.error);
    }
}

/// The layers of narrow AlexNets, and small ones of every other kind.
fn narrow_layers() -> Vec<Layer> {
    let networks = [AlexNet::CAFFE, AlexNet::TORCHVISION];
    let mut layers = distinct_layers(&networks.map(|a| a.width(0.125).head(64, 64).classes(30).network().unwrap()));
    // Of 70,000 workgroups for each image, a processor would simulate every invocation.
    let is_small = |layer: &Layer| layer.output.height < 1000;
    layers.extend(further_layers().unwrap().into_iter().filter(is_small));
    layers
}

/// Prints the number of findings and the largest error, and fails where one is wrong.
fn report(findings: &[Finding], shaders: usize) {
    let wrong: Vec<&Finding> = findings.iter().filter(|f| !f.is_right()).collect();
    let worst = findings.iter().filter_map(|f| f.error.clone().ok()).fold(0.0, f64::max);
    println!(
        "{shaders} shaders, {} layers and variants, {} wrong, errors up to {worst:.1e}",
        findings.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(findings.len() > 50, "{}", findings.len());
}
