//! The roofline of an adapter (Williams, Waterman, Patterson 2009): how fast it multiplies, and how fast it reads.

use std::time::{Duration, Instant};

use wgpu::BufferUsages;

use super::{
    Checks, PipelineError, begin, choice, compile,
    memory::{self, Memory},
};
use crate::{
    gpu::Gpu,
    kernels::{Dispatch, ceiling},
    scopes::Scopes,
};

/// What an adapter can do at most, measured on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Billions of f32 operations a second; a multiply-add is two.
    pub gflops: f64,
    /// Billions of bytes a second, read from memory larger than most caches.
    pub gbps: f64,
}

/// A measurement takes at least as long.
const LEAST: Duration = Duration::from_millis(60);

impl Ceilings {
    /// Measures `gpu`, in less than a second on most. It waits for the device.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when the kernels do not compile, the memory (64 MiB) cannot be had or the device is lost.
    pub fn measure(gpu: &Gpu) -> Result<Self, PipelineError> {
        let style = choice::style(gpu.info(), gpu.device().features());
        let storage = style.storage;
        let device = gpu.device();
        let scopes = Scopes::push(device);
        let input = Memory::new(device, "ceiling", ceiling::INPUT_QUADS, storage);
        let output = Memory::new(device, "ceiling", ceiling::OUTPUT_QUADS, storage);
        if let Some(error) = scopes.pop_now() {
            return Err(error.into());
        }
        let seconds = |dispatch: Dispatch| -> Result<f64, PipelineError> {
            let compiled = compile::compile_all(gpu, [&dispatch.kernel].into_iter(), Checks::default())?;
            let compiled = &compiled[&dispatch.kernel];
            let scopes = Scopes::push(device);
            let uniform = memory::filled(gpu, "uniform", &dispatch.uniform, BufferUsages::UNIFORM);
            let resources = [input.binding(), output.binding(), uniform.as_entire_binding()];
            let entries: Vec<_> =
                (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
            let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("ceiling"),
                layout: &compiled.layout,
                entries: &entries,
            });
            if let Some(error) = scopes.pop_now() {
                return Err(error.into());
            }
            let [x, y, z] = dispatch.workgroups;
            let mut times = 1;
            loop {
                let scopes = Scopes::push(device);
                let mut encoder = device.create_command_encoder(&Default::default());
                let mut pass = begin(&mut encoder, None);
                pass.set_pipeline(&compiled.pipeline);
                pass.set_bind_group(0, &bind_group, &[]);
                for _ in 0..times {
                    pass.dispatch_workgroups(x, y, z);
                }
                drop(pass);
                let start = Instant::now();
                gpu.queue().submit([encoder.finish()]);
                if let Some(error) = scopes.pop_now() {
                    return Err(error.into());
                }
                let polled = device.poll(wgpu::PollType::wait_indefinitely());
                polled.map_err(|e| PipelineError::Device(e.to_string()))?;
                let took = start.elapsed();
                // The first turn may compile and touch new memory.
                if took >= LEAST && times > 1 {
                    return Ok(took.as_secs_f64() / f64::from(times));
                }
                times *= 2;
            }
        };
        let bytes = ceiling::INPUT_QUADS * super::memory::QUAD;
        Ok(Self {
            gflops: ceiling::OPERATIONS as f64 / seconds(ceiling::multiply(storage))? / 1e9,
            gbps: bytes as f64 / seconds(ceiling::read(style))? / 1e9,
        })
    }

    /// The share (0 to 1) of what is possible that `operations` and `bytes` in `seconds` are.
    pub fn share(&self, operations: f64, bytes: f64, seconds: f64) -> f64 {
        let least = (operations / (self.gflops * 1e9)).max(bytes / (self.gbps * 1e9));
        least / seconds
    }
}
