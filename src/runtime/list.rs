//! A network's dispatches, listed without a device.

use super::{PipelineError, builder::TOP, requirements};
use crate::{
    kernels::{KernelConfig, Precision},
    lower::Inference,
    network::Network,
    program::{Algorithms, Allocation, Dispatch, Options, QUAD, Step},
};

/// One dispatch of a plan; see [`plan`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlannedDispatch {
    /// The layer's name.
    pub layer: String,
    /// A short description of the kernel.
    pub kernel: String,
    /// The shader.
    pub wgsl: String,
    /// Values of the shader's pipeline-overridable constants.
    pub constants: Vec<(&'static str, u32)>,
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
    /// Multiply-adds of the matrix product, if it is one, including channels that pad a quad.
    pub multiply_adds: u64,
}

/// Lists the dispatches that run `network` on `batch` images in `config`, on a device with WebGPU's default limits. For
/// tools that compile, count or print shaders; no device is needed.
///
/// # Errors
///
/// [`PipelineError`] when a layer exceeds those limits, or the batch is not 1 to [`MAX_BATCH`](crate::MAX_BATCH)
/// images.
pub fn plan(
    network: &Network,
    batch: usize,
    config: KernelConfig,
    precision: Precision,
) -> Result<Vec<PlannedDispatch>, PipelineError> {
    requirements::check_defaults(network, batch, config, precision)?;
    let limit = wgpu::Limits::default().max_storage_buffer_binding_size / QUAD;
    let options = Options { config, batch, precision, algorithms: &Algorithms::new(), limit, top: 0 };
    let program = Inference::lower(network, options)?.program;
    let layer = |step: &Step| network.layers()[step.layer].name.clone();
    let dispatches = program
        .steps
        .iter()
        .flat_map(|step| program.dispatches_of(step).iter().map(move |dispatch| (layer(step), dispatch)));
    let planned = |(layer, dispatch): (String, &Dispatch)| {
        let Dispatch { kernel, workgroups, multiply_adds, .. } = dispatch;
        let label = kernel.label();
        let fail = |e| PipelineError::Shader { kernel: label.clone(), reason: format!("{e:#}") };
        let (wgsl, constants) = (kernel.source().map_err(fail)?, kernel.constants.clone());
        let (workgroups, multiply_adds) = (*workgroups, *multiply_adds);
        Ok(PlannedDispatch { layer, kernel: label, wgsl, constants, workgroups, multiply_adds })
    };
    dispatches.map(planned).collect()
}

/// Bytes that `network` takes on a device, as [`crate::Pipeline::device_bytes`] returns: for `batch` images, with the
/// kernels of `config`.
///
/// # Errors
///
/// [`PipelineError`] when the batch is not 1 to [`MAX_BATCH`](crate::MAX_BATCH) images, or a layer exceeds every
/// device.
pub fn device_bytes(
    network: &Network,
    batch: usize,
    config: KernelConfig,
    precision: Precision,
) -> Result<u64, PipelineError> {
    requirements::check_config(config)?;
    let limit = wgpu::Limits::default().max_storage_buffer_binding_size / QUAD;
    let options = Options { config, batch, precision, algorithms: &Algorithms::new(), limit, top: TOP };
    let plan = Inference::lower(network, options)?.program.plan_memory();
    Ok(plan.allocations.iter().map(Allocation::device_bytes).sum())
}
