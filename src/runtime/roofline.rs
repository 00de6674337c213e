//! The roofline of an adapter (Williams, Waterman, Patterson 2009): its peak arithmetic and memory throughput.

use std::{
    iter::repeat_n,
    time::{Duration, Instant},
};

use super::{PipelineError, executable::Executable};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::{
        Checks, Work,
        binding::{X, Y},
        roofline,
    },
    program::{Array, Pass, Program, QUAD, Role, read, write},
    select,
    weights::Weights,
};

/// Measured peak throughput of an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Roofline {
    /// Billions of f32 operations per second; a multiply-add counts as two.
    pub gflops: f64,
    /// Billions of bytes per second, read from memory that exceeds most caches.
    pub gbps: f64,
}

/// Minimum duration of a measurement.
const LEAST: Duration = Duration::from_millis(60);

impl Roofline {
    /// Measures `gpu`, in under a second on most adapters. Blocks until the device is done.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when the kernels do not compile, the memory (64 MiB) cannot be allocated or the device is
    /// lost.
    pub fn measure(gpu: &Gpu) -> Result<Self, PipelineError> {
        let config = select::kernel_config(gpu.info(), gpu.device().features());
        let seconds = |work: Work| -> Result<f64, PipelineError> {
            let mut program = Program::default();
            let [input, output] = [(roofline::INPUT_QUADS, Role::Input), (roofline::OUTPUT_QUADS, Role::Output)]
                .map(|(quads, role)| program.array(Array::quads("roofline", quads as usize, config.storage, role)));
            program.dispatch("roofline", work, &[read(X, input), write(Y, output)])?;
            program.end_step(Pass("roofline"), 0);
            let scopes = Scopes::push(gpu.device());
            let executable = Executable::load(gpu, &program, &Weights::default(), Checks::default(), None, || ())?;
            if let Some(error) = scopes.pop_now() {
                return Err(error.into());
            }
            let device = gpu.device();
            let mut times = 1;
            loop {
                let scopes = Scopes::push(device);
                let mut encoder = device.create_command_encoder(&Default::default());
                executable.encode(&mut encoder, repeat_n(0, times), None);
                let start = Instant::now();
                gpu.queue().submit([encoder.finish()]);
                if let Some(error) = scopes.pop_now() {
                    return Err(error.into());
                }
                let polled = device.poll(wgpu::PollType::wait_indefinitely());
                polled.map_err(|e| PipelineError::Device(e.to_string()))?;
                let took = start.elapsed();
                // The first measurement may include compilation and first use of memory.
                if took >= LEAST && times > 1 {
                    return Ok(took.as_secs_f64() / times as f64);
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

    /// Returns the share (0 to 1) of the peak that `operations` and `bytes` in `seconds` reach.
    pub fn share(&self, operations: f64, bytes: f64, seconds: f64) -> f64 {
        let least = (operations / (self.gflops * 1e9)).max(bytes / (self.gbps * 1e9));
        least / seconds
    }
}
