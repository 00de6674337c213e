//! The roofline of an adapter (Williams, Waterman, Patterson 2009): how fast it multiplies, and how fast it reads.

use std::time::{Duration, Instant};

use super::{PipelineError, executable::Executable};
use crate::{
    gpu::Gpu,
    gpu::error_scopes::Scopes,
    kernels::{
        Checks, Work,
        binding::{X, Y},
        roofline,
    },
    program::{Array, Pass, Program, ProgramError, QUAD, Role, read, write},
    select,
    weights::Weights,
};

/// What an adapter can do at most, measured on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Billions of f32 operations a second; a multiply-add is two.
    pub gflops: f64,
    /// Billions of bytes a second, read from memory larger than most caches.
    pub gbps: f64,
}

/// A measurement takes at least as long.
const LEAST: Duration = Duration::from_millis(60);

impl Roofline {
    /// Measures `gpu`, in less than a second on most. It waits for the device.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when the kernels do not compile, the memory (64 MiB) cannot be had or the device is lost.
    pub fn measure(gpu: &Gpu) -> Result<Self, PipelineError> {
        let config = select::kernel_config(gpu.info(), gpu.device().features());
        let seconds = |work: Work| -> Result<f64, PipelineError> {
            let mut program = Program::default();
            let [input, output] = [(roofline::INPUT_QUADS, Role::Input), (roofline::OUTPUT_QUADS, Role::Output)]
                .map(|(quads, role)| program.array(Array::quads("roofline", quads as usize, config.storage, role)));
            let dispatched = program.dispatch(work, &[read(X, input), write(Y, output)]);
            dispatched.map_err(|found| ProgramError::Workgroups { layer: "roofline".into(), found })?;
            program.end_step(Pass("roofline"), 0);
            let scopes = Scopes::push(gpu.device());
            let executable = Executable::load(gpu, &program, &Weights::default(), Checks::default(), None)?;
            if let Some(error) = scopes.pop_now() {
                return Err(error.into());
            }
            let device = gpu.device();
            let mut times = 1;
            loop {
                let scopes = Scopes::push(device);
                let mut encoder = device.create_command_encoder(&Default::default());
                for _ in 0..times {
                    executable.encode(&mut encoder, 0..1, None);
                }
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
        let bytes = roofline::INPUT_QUADS * QUAD;
        Ok(Self {
            gflops: roofline::OPERATIONS as f64 / seconds(roofline::multiply())? / 1e9,
            gbps: bytes as f64 / seconds(roofline::read(config))? / 1e9,
        })
    }

    /// The share (0 to 1) of what is possible that `operations` and `bytes` in `seconds` are.
    pub fn share(&self, operations: f64, bytes: f64, seconds: f64) -> f64 {
        let least = (operations / (self.gflops * 1e9)).max(bytes / (self.gbps * 1e9));
        least / seconds
    }
}
