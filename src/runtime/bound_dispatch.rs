//! A dispatch with everything that it binds.

use wgpu::{BindGroup, BindGroupEntry, BindingResource, BufferUsages, ComputePass, ComputePipeline};

use super::memory;
use crate::{
    gpu::{Compiled, Gpu},
    kernels::{Kernel, binding},
};

/// A dispatch, ready to be recorded.
#[derive(Debug)]
pub(super) struct BoundDispatch {
    pipeline: ComputePipeline,
    bind_group: BindGroup,
    workgroups: [u32; 3],
}

impl BoundDispatch {
    /// Binds `uniform`, and `resources` at their binding numbers.
    pub fn new<'r>(
        gpu: &Gpu,
        (kernel, compiled): (&Kernel, &Compiled),
        uniform: &[u8],
        resources: impl IntoIterator<Item = (u32, BindingResource<'r>)>,
        workgroups: [u32; 3],
    ) -> Self {
        let uniform = memory::filled(gpu, "uniform", uniform, BufferUsages::UNIFORM);
        let mut entries: Vec<BindGroupEntry<'_>> =
            resources.into_iter().map(|(binding, resource)| BindGroupEntry { binding, resource }).collect();
        entries.push(BindGroupEntry { binding: binding::UNIFORM, resource: uniform.as_entire_binding() });
        let bind_group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.label()),
            layout: &compiled.layout,
            entries: &entries,
        });
        Self { pipeline: compiled.pipeline.clone(), bind_group, workgroups }
    }

    /// Records it.
    pub fn encode(&self, pass: &mut ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}
