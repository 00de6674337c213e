//! Compilation of kernels to compute pipelines: each kernel once, on all available threads.

use std::collections::BTreeMap;

use wgpu::{BindGroupLayoutEntry, BindingType};

use super::{PipelineError, memory};
use crate::{
    gpu::{Compiled, Gpu, error_scopes::Scopes},
    kernels::{Access, Binding, Checks, Kernel, Storage, binding},
};

/// The entries of the kernel's bind group layout.
fn layout_entries(kernel: &Kernel) -> Vec<BindGroupLayoutEntry> {
    let entry =
        |binding, ty| BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None };
    let buffer = |ty| BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
    let bound = |&Binding { number, access, storage, precision }: &Binding| {
        let ty = match (storage, access) {
            (Storage::StorageBuffer, _) => {
                buffer(wgpu::BufferBindingType::Storage { read_only: access == Access::Read })
            }
            (Storage::SampledTexture, Access::Read) => BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Float { filterable: false },
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
            (Storage::StorageTexture | Storage::SampledTexture, _) => BindingType::StorageTexture {
                access: match access {
                    Access::Read => wgpu::StorageTextureAccess::ReadOnly,
                    Access::Write => wgpu::StorageTextureAccess::WriteOnly,
                    Access::ReadWrite => wgpu::StorageTextureAccess::ReadWrite,
                },
                format: memory::texture_format(precision),
                view_dimension: wgpu::TextureViewDimension::D2,
            },
        };
        entry(number, ty)
    };
    let uniform = entry(binding::UNIFORM, buffer(wgpu::BufferBindingType::Uniform));
    kernel.bindings.iter().map(bound).chain([uniform]).collect()
}

/// Compiles one kernel, unless the device has it already.
pub(super) fn compile(gpu: &Gpu, kernel: &Kernel, checks: Checks) -> Result<Compiled, PipelineError> {
    let key = format!("{kernel:?} {checks:?}");
    if let Some(compiled) = gpu.compiled().get(&key) {
        return Ok(compiled.clone());
    }
    let device = gpu.device();
    let label = kernel.label();
    let fail = |reason: String| PipelineError::Shader { kernel: label.clone(), reason };
    let source = kernel.source().map_err(|e| fail(format!("{e:#}")))?;
    let scopes = Scopes::push(device);
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Wgsl(source.into()) };
    let make = || match checks {
        Checks::On => device.create_shader_module(descriptor),
        // SAFETY: no index reaches past its array, and no divisor is zero. conformance/bounds.rs proves it: it executes these
        // shaders on the processor, with every setting that the planner has, over the shapes at which indices go wrong if
        // they do. Loops run to bounds from the uniforms and end. Arrays are at least as long as the layer's shapes say
        // (`PipelineBuilder::build`).
        Checks::Off => unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        },
    };
    #[cfg(test)]
    let module = gpu.compiler.as_ref().and_then(|compiler| compiler.0(device, kernel)).unwrap_or_else(make);
    #[cfg(not(test))]
    let module = make();
    let entries = layout_entries(kernel);
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&label),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let constants: Vec<(&str, f64)> = kernel.constants.iter().map(|&(n, v)| (n, f64::from(v))).collect();
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&label),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Every shader writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: gpu.pipeline_cache(),
    });
    match scopes.pop_now() {
        None => {}
        Some(error @ wgpu::Error::OutOfMemory { .. }) => return Err(error.into()),
        Some(error) => return Err(fail(error.to_string())),
    }
    let compiled = Compiled { pipeline, layout };
    gpu.compiled().insert(key, compiled.clone());
    Ok(compiled)
}

/// Compiles each distinct kernel once.
pub(super) fn compile_all<'k>(
    gpu: &Gpu,
    kernels: impl Iterator<Item = &'k Kernel>,
    checks: Checks,
) -> Result<BTreeMap<Kernel, Compiled>, PipelineError> {
    let distinct: std::collections::BTreeSet<&Kernel> = kernels.collect();
    #[cfg(target_arch = "wasm32")]
    let results: Vec<_> = distinct.iter().map(|kernel| compile(gpu, kernel, checks)).collect();
    #[cfg(not(target_arch = "wasm32"))]
    let results: Vec<_> = {
        let queue = std::sync::Mutex::new(distinct.iter().enumerate());
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let work = || {
            let mut done = Vec::new();
            while let Some((i, kernel)) = next() {
                done.push((i, compile(gpu, kernel, checks)));
            }
            done
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(distinct.len());
        let mut done: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        done.sort_by_key(|(i, _)| *i);
        done.into_iter().map(|(_, result)| result).collect()
    };
    #[cfg(not(target_arch = "wasm32"))]
    gpu.store_pipelines();
    distinct.into_iter().zip(results).map(|(kernel, result)| Ok((kernel.clone(), result?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::Arc;

    use wgpu::{Backends, Features};

    use super::PipelineError;
    use crate::{
        gpu::{Compiler, Gpu},
        network::Network,
        runtime::Pipeline,
        shape::Shape,
        weights::Weights,
    };

    /// A shader that the driver's compiler rejects is neither lack of memory nor the caller's mistake. wgpu reports an
    /// internal error, and panics where nobody catches it. OpenGL's compilers read text, so a test can give them any.
    #[test]
    fn what_the_driver_refuses_is_an_error_of_the_shader() {
        let adapters = pollster::block_on(Gpu::adapters(Some(Backends::GL)));
        let Some(found) = adapters.into_iter().find(|a| a.shortfalls.is_empty()) else {
            return println!("there is no OpenGL here");
        };
        let device = found.adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: Features::PASSTHROUGH_SHADERS,
            required_limits: wgpu::Limits::default().or_worse_values_from(&found.limits),
            // SAFETY: passthrough shaders are experimental in that wgpu checks nothing of them; none of these ever runs.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(device).unwrap();
        let mut gpu = Gpu::from_device(device, queue).unwrap();
        gpu.compiler = Some(Compiler(Arc::new(|device, kernel| {
            let main = wgpu::PassthroughShaderEntryPoint { name: "main".into(), workgroup_size: (1, 1, 1) };
            let descriptor = wgpu::ShaderModuleDescriptorPassthrough {
                label: Some(kernel.shader),
                entry_points: vec![main].into(),
                glsl: Some("this is not GLSL".into()),
                ..Default::default()
            };
            // SAFETY: it is no shader at all.
            Some(unsafe { device.create_shader_module_passthrough(descriptor) })
        })));
        let network = Network::builder("one", Shape::new(4, 4, 4)).adaptive_avg_pool("pool", 1, 1).build().unwrap();
        let error = Pipeline::builder(&gpu, &network, &Weights::default()).build().unwrap_err();
        let PipelineError::Shader { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("Internal"), "{reason}");
    }
}
