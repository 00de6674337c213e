//! What a device must offer for a network: known before the device is made.

use std::{cmp, iter};

use wgpu::{Features, Limits};

use super::{
    Pipeline, PipelineError, Settings, choice,
    memory::QUAD,
    plan::{self, Algorithms, Plan},
};
use crate::{
    gpu::{BASE_LIMITS, Gpu, shortfalls},
    kernels::{Family, Precision, Storage, Style, TEXTURE_WIDTH, activation_quads},
    network::Network,
};

impl Style {
    /// What suits `adapter` best, on a device that is made with all of [`Pipeline::required_features`].
    pub fn for_adapter(adapter: &wgpu::Adapter) -> Self {
        choice::style(&adapter.get_info(), adapter.features())
    }
}

impl Pipeline {
    /// The features that kernels of `style` need: for the host's [`wgpu::DeviceDescriptor`].
    pub fn required_features(style: Style) -> Features {
        match style.family {
            Family::Tiled => Features::empty(),
            Family::Broadcast { .. } => Features::SUBGROUP,
        }
    }

    /// The least limits with which `network` runs on `batch` pictures in `style`: for the host's
    /// [`wgpu::DeviceDescriptor`], together with the host's own by [`Limits::or_better_values_from`].
    ///
    /// With these [`Pipeline::buffer_input`] works too. Larger storage bindings save splitting the weights of fully connected
    /// layers.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Batch`] when the batch is not of 1 to [`MAX_BATCH`](crate::MAX_BATCH) pictures.
    pub fn required_limits(network: &Network, batch: usize, style: Style) -> Result<Limits, PipelineError> {
        // Of the precisions, this one needs the most.
        let mut limits = limits(network, &Algorithms::new(), batch, style, Precision::F32)?;
        let input = (batch * network.input().len() * size_of::<f32>()) as u64;
        limits.max_storage_buffer_binding_size = cmp::max(limits.max_storage_buffer_binding_size, input);
        limits.max_buffer_size = cmp::max(limits.max_buffer_size, input);
        Ok(limits)
    }
}

/// What the device of `gpu` lacks for a network, all of it.
pub(super) fn check(gpu: &Gpu, network: &Network, settings: &Settings, style: Style) -> Result<(), PipelineError> {
    let Settings { batch, ref algorithms, precision, .. } = *settings;
    let needed = limits(network, algorithms, batch, style, precision)?;
    let features = Pipeline::required_features(style) - gpu.device().features();
    let device = || format!("the device of adapter `{}`", gpu.info().name);
    compare(device, features, &needed, &gpu.device().limits())
}

/// What a device with WebGPU's default limits and every feature lacks for a network.
pub(super) fn check_defaults(
    network: &Network,
    batch: usize,
    style: Style,
    precision: Precision,
) -> Result<(), PipelineError> {
    let needed = limits(network, &Algorithms::new(), batch, style, precision)?;
    let device = || "a device with WebGPU's default limits".to_string();
    compare(device, Features::empty(), &needed, &Limits::default())
}

fn compare(
    device: impl Fn() -> String,
    features: Features,
    needed: &Limits,
    found: &Limits,
) -> Result<(), PipelineError> {
    let shortfalls = shortfalls(needed, found);
    if features.is_empty() && shortfalls.is_empty() {
        return Ok(());
    }
    Err(PipelineError::Requirements { device: device(), features, shortfalls })
}

fn limits(
    network: &Network,
    algorithms: &Algorithms,
    batch: usize,
    style: Style,
    precision: Precision,
) -> Result<Limits, PipelineError> {
    // Weights are split to what a binding holds: more than any does here, and the plans say what the pieces need.
    let plans = Plan::all(network, algorithms, batch, style, precision, 1 << 40)?;
    let activations = network.layers().iter().flat_map(|l| [l.input, l.output]).map(|s| activation_quads(s) * batch);
    let input = plan::rows_layout(network).map_or(0, |layout| layout.quads() * batch);
    let activations = activations.chain([input]).max().unwrap_or(0) as u64;
    let weights = plans.iter().map(|p| p.least_weights(style.storage) as u64).max().unwrap_or(0);
    let scratch = [0, 1].map(|i| plans.iter().map(|p| p.scratch[i]).max().unwrap_or(0) as u64);
    let workgroups = plans.iter().flat_map(|p| &p.dispatches).flat_map(|d| d.workgroups);
    let mut limits = BASE_LIMITS;
    limits.max_compute_workgroups_per_dimension =
        workgroups.chain(iter::once(limits.max_compute_workgroups_per_dimension)).max().unwrap_or_default();
    let scratch = style.storage.of_scratch().into_iter().zip(scratch);
    for (storage, quads) in scratch.chain([(style.storage, activations.max(weights))]) {
        match storage {
            Storage::Buffer => {
                let bytes = cmp::max(limits.max_storage_buffer_binding_size, quads * QUAD);
                limits.max_storage_buffer_binding_size = bytes;
                limits.max_buffer_size = cmp::max(limits.max_buffer_size, bytes);
            }
            Storage::Texture | Storage::Sampled => {
                let rows = quads.div_ceil(TEXTURE_WIDTH.into()) as u32;
                limits.max_texture_dimension_2d = limits.max_texture_dimension_2d.max(TEXTURE_WIDTH).max(rows);
            }
        }
    }
    if style.storage != Storage::Buffer {
        limits.max_storage_textures_per_shader_stage = if style.storage == Storage::Texture { 3 } else { 1 };
        // Activations come and go through buffers: the input, what is read, and what is kept.
        let bytes = activations.next_multiple_of(TEXTURE_WIDTH.into()) * QUAD;
        limits.max_buffer_size = cmp::max(limits.max_buffer_size, bytes);
    }
    Ok(limits)
}
