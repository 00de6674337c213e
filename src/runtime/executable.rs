//! A program on a device: kernels compiled, parameters uploaded, arrays bound, ready to be recorded.

#[cfg(test)]
mod tests;

use wgpu::CommandEncoder;

use super::{
    PipelineError,
    bound_dispatch::BoundDispatch,
    compile::compile_all,
    memory::{Memory, Upload},
};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::Checks,
    program::{ArrayId, Dispatch, MemoryPlan, Program, Role, Sink},
    weights::Weights,
};

/// Callback for upload progress: bytes uploaded, and bytes in total.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// A program's memory and pipelines on a device.
#[derive(Debug)]
pub(crate) struct Executable {
    plan: MemoryPlan,
    /// One per allocation of the plan.
    memory: Vec<Memory>,
    steps: Vec<Vec<BoundDispatch>>,
}

impl Executable {
    /// Compiles every kernel and packs `weights` onto the device. `compile_further` compiles what the program has not.
    pub fn load(
        gpu: &Gpu,
        program: &Program,
        weights: &Weights,
        checks: Checks,
        progress: Option<Progress<'_>>,
        compile_further: impl FnOnce() + wgpu::WasmNotSend,
    ) -> Result<Self, PipelineError> {
        let plan = program.plan_memory();
        // Compilation and upload both take long, and are independent of each other.
        let compile = || {
            compile_further();
            compile_all(gpu, program.dispatches.iter().map(|d| &d.kernel), checks)
        };
        let upload = || upload(gpu, program, &plan, weights, progress);
        #[cfg(target_arch = "wasm32")]
        let (compiled, filled) = (compile()?, upload()?);
        #[cfg(not(target_arch = "wasm32"))]
        let (compiled, filled) = std::thread::scope(|threads| {
            let compiled = threads.spawn(compile);
            let filled = upload();
            let compiled = compiled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, PipelineError>((compiled?, filled?))
        })?;
        let allocated =
            |(filled, allocation): (Option<Memory>, _)| filled.unwrap_or_else(|| Memory::new(gpu.device(), allocation));
        let memory: Vec<Memory> = filled.into_iter().zip(&plan.allocations).map(allocated).collect();
        let bind = |Dispatch { kernel, uniform, workgroups, bound, .. }: &Dispatch| {
            let arrays = bound.iter().map(|bound| (bound.number, memory[plan.of(bound.array)].binding()));
            BoundDispatch::new(gpu, (kernel, &compiled[kernel]), uniform, arrays, *workgroups)
        };
        let steps = program.steps.iter().map(|step| program.dispatches_of(step).iter().map(bind).collect()).collect();
        Ok(Self { plan, memory, steps })
    }

    /// The memory of an array. A temporary shares its memory: before the array is written and after it was read,
    /// another array may use it.
    pub fn memory(&self, id: ArrayId) -> &Memory {
        &self.memory[self.plan.of(id)]
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.memory.iter().map(Memory::size).sum()
    }

    /// Records steps, in one compute pass.
    pub fn encode(
        &self,
        encoder: &mut CommandEncoder,
        steps: impl IntoIterator<Item = usize>,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let mut steps = steps.into_iter().peekable();
        if steps.peek().is_none() {
            return;
        }
        let mut pass = super::begin(encoder, timestamp_writes);
        for dispatch in steps.flat_map(|step| &self.steps[step]) {
            dispatch.encode(&mut pass);
        }
    }
}

/// Makes and fills the memory of each allocation that holds parameters.
fn upload(
    gpu: &Gpu,
    program: &Program,
    plan: &MemoryPlan,
    weights: &Weights,
    progress: Option<Progress<'_>>,
) -> Result<Vec<Option<Memory>>, PipelineError> {
    let total = program.arrays.iter().filter(|array| array.role == Role::Parameter).map(|array| array.bytes).sum();
    let filled = vec![None; plan.allocations.len()];
    let mut uploader = Uploader { gpu, plan, filled, upload: None, done: 0, total, progress };
    for parameter in &program.parameters {
        // If there is no memory for one layer, the others are not tried.
        let scopes = Scopes::push(gpu.device());
        parameter.pack(weights, &mut uploader)?;
        uploader.finish();
        if let Some(error) = scopes.pop_now() {
            return Err(error.into());
        }
    }
    weights.release();
    Ok(uploader.filled)
}

/// Uploads parameters to the device.
struct Uploader<'a> {
    gpu: &'a Gpu,
    plan: &'a MemoryPlan,
    filled: Vec<Option<Memory>>,
    upload: Option<Upload<'a>>,
    done: u64,
    total: u64,
    progress: Option<Progress<'a>>,
}

impl Uploader<'_> {
    fn finish(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.finish();
        }
    }
}

impl Sink for Uploader<'_> {
    fn begin(&mut self, array: ArrayId) {
        self.finish();
        let index = self.plan.of(array);
        let memory = Memory::new(self.gpu.device(), &self.plan.allocations[index]);
        self.filled[index] = Some(memory.clone());
        self.upload = Some(Upload::new(self.gpu, memory));
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(upload) = &mut self.upload {
            upload.push(bytes);
        }
        self.done += bytes.len() as u64;
        if let Some(progress) = self.progress {
            progress(self.done, self.total);
        }
    }
}
