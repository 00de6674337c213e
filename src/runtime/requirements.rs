//! A network's requirements of a device, known before the device is made.

use std::cmp;

use wgpu::{DeviceType, Features, Limits};

use super::{Pipeline, PipelineError, builder::Settings};
use crate::{
    gpu::{BASE_LIMITS, Gpu, shortfalls},
    kernels::{Family, KernelConfig, Precision, Storage, TEXTURE_WIDTH, texture_height},
    lower::Inference,
    network::Network,
    program::{Algorithms, Options, Parameter, Program, QUAD, Role},
    select,
};

impl KernelConfig {
    /// Returns the kernel configuration that suits `adapter` best, on a device that is made with all of
    /// [`Pipeline::required_features`].
    pub fn for_adapter(adapter: &wgpu::Adapter) -> Self {
        select::kernel_config(&adapter.get_info(), adapter.features())
    }

    /// Returns the kernel configuration with the cooperative matrices that `adapter` offers, if it offers any that this
    /// library uses. The device is to be made with all of [`Pipeline::required_features`], as
    /// [`wgpu::ExperimentalFeatures`] permit, and passed to [`Gpu::with_cooperative_matrices`].
    ///
    /// ```no_run
    /// use alexnet_wgpu::{Arithmetic, Gpu, KernelConfig, Model, Pipeline, wgpu};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let adapter: wgpu::Adapter = unimplemented!();
    /// let matrices = KernelConfig::with_cooperative_matrices(&adapter);
    /// let config = matrices.unwrap_or_else(|| KernelConfig::for_adapter(&adapter));
    /// let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
    ///     required_features: Pipeline::required_features(config),
    ///     experimental_features: match matrices {
    ///         // SAFETY: the host trusts the driver's cooperative matrices.
    ///         Some(_) => unsafe { wgpu::ExperimentalFeatures::enabled() },
    ///         None => wgpu::ExperimentalFeatures::disabled(),
    ///     },
    ///     ..Default::default()
    /// }))?;
    /// let gpu = Gpu::from_device(device, queue)?.with_cooperative_matrices(&adapter);
    /// let model = Model::embedded()?;
    /// let builder = Pipeline::builder(&gpu, &model.network, &model.weights);
    /// let pipeline = builder.arithmetic(Arithmetic::Fast).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_cooperative_matrices(adapter: &wgpu::Adapter) -> Option<Self> {
        select::matrix_config(adapter)
    }
}

impl Pipeline {
    /// Returns the features that the kernels of `config` need, for the host's [`wgpu::DeviceDescriptor`].
    pub fn required_features(config: KernelConfig) -> Features {
        match config.family {
            Family::WorkgroupTiled => Features::empty(),
            Family::SubgroupBroadcast { .. } => Features::SUBGROUP,
            Family::CooperativeMatrix { .. } => select::MATRIX_FEATURES,
        }
    }

    /// Returns the lowest limits with which `network` runs on `batch` images in `config`, for the host's
    /// [`wgpu::DeviceDescriptor`]. Combine them with the host's own limits by [`Limits::or_better_values_from`].
    ///
    /// They suffice for [`Pipeline::buffer_input`] too. With larger storage bindings, the weights of fully connected
    /// layers need not be split.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Batch`](crate::ProgramError::Batch) when the batch is not 1 to [`MAX_BATCH`](crate::MAX_BATCH)
    /// images.
    pub fn required_limits(network: &Network, batch: usize, config: KernelConfig) -> Result<Limits, PipelineError> {
        // This precision needs the most.
        let mut limits = limits(network, &Algorithms::new(), batch, config, Precision::F32)?;
        let input = (batch * network.input().len() * size_of::<f32>()) as u64;
        limits.max_storage_buffer_binding_size = cmp::max(limits.max_storage_buffer_binding_size, input);
        limits.max_buffer_size = cmp::max(limits.max_buffer_size, input);
        Ok(limits)
    }

    /// Returns a number of images per run that suits the adapter for many images: 32 on a GPU and 16 on a processor, fewer for
    /// networks of very large activations.
    pub fn suggested_batch(gpu: &Gpu, network: &Network) -> usize {
        /// The largest activation of a batch, in numbers: AlexNet's has 4.6 million for 16 images.
        const MOST_NUMBERS: usize = 1 << 24;
        let fits_adapter = if gpu.info().device_type == DeviceType::Cpu { 16 } else { 32 };
        let largest = network.layers().iter().flat_map(|layer| [layer.input.len(), layer.output.len()]).max();
        (MOST_NUMBERS / largest.unwrap_or(1).max(1)).clamp(1, fits_adapter)
    }
}

/// Checks that there are kernels of `config` on some device.
pub(super) fn check_config(config: KernelConfig) -> Result<(), PipelineError> {
    select::malformed(config).map_or(Ok(()), |reason| Err(PipelineError::KernelConfig { reason }))
}

/// Checks the device of `gpu` for a network, and reports everything that it lacks.
pub(super) fn check(
    gpu: &Gpu,
    network: &Network,
    settings: &Settings,
    config: KernelConfig,
) -> Result<(), PipelineError> {
    let Settings { batch, ref algorithms, precision, .. } = *settings;
    let needed = limits(network, algorithms, batch, config, precision)?;
    let features = gpu.missing_features(config);
    let device = || format!("the device of adapter `{}`", gpu.info().name);
    compare(device, features, &needed, &gpu.device().limits())
}

/// Checks a device with WebGPU's default limits and every feature for a network.
pub(super) fn check_defaults(
    network: &Network,
    batch: usize,
    config: KernelConfig,
    precision: Precision,
) -> Result<(), PipelineError> {
    let needed = limits(network, &Algorithms::new(), batch, config, precision)?;
    let device = || "a device with WebGPU's default limits".to_string();
    compare(device, Features::empty(), &needed, &Limits::default())
}

/// Checks the device of `gpu` for a program in `config`.
pub(crate) fn check_program(gpu: &Gpu, program: &Program, config: KernelConfig) -> Result<(), PipelineError> {
    let features = gpu.missing_features(config);
    let device = || format!("the device of adapter `{}`", gpu.info().name);
    compare(device, features, &program_limits(program, config), &gpu.device().limits())
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
    config: KernelConfig,
    precision: Precision,
) -> Result<Limits, PipelineError> {
    check_config(config)?;
    // This limit exceeds every binding, so that no weights are split. Below, the smallest pieces that they can be split
    // into are counted.
    let options = Options { config, batch, precision, algorithms, limit: 1 << 40, top: 0 };
    let Inference { program, input, layers, .. } = Inference::lower(network, options)?;
    let mut limits = program_limits(&program, config);
    if config.storage != Storage::StorageBuffer {
        // Activations are copied through buffers: the input, those that are read back, and those that are kept.
        let activations = layers.iter().map(|layer| layer.array).chain([input]);
        let quads = activations.map(|array| program.get(array).len()).max().unwrap_or(0);
        let bytes = quads.next_multiple_of(TEXTURE_WIDTH.into()) * QUAD;
        limits.max_buffer_size = cmp::max(limits.max_buffer_size, bytes);
    }
    Ok(limits)
}

/// The lowest limits with which a program runs, except for copies of its arrays.
fn program_limits(program: &Program, config: KernelConfig) -> Limits {
    let mut limits = BASE_LIMITS;
    let workgroups = program.dispatches.iter().flat_map(|dispatch| dispatch.workgroups);
    limits.max_compute_workgroups_per_dimension =
        workgroups.chain([limits.max_compute_workgroups_per_dimension]).max().unwrap_or_default();
    let mut bind = |storage, quads: u64, quad_bytes| match storage {
        Storage::StorageBuffer => {
            let bytes = cmp::max(limits.max_storage_buffer_binding_size, quads * quad_bytes);
            limits.max_storage_buffer_binding_size = bytes;
            limits.max_buffer_size = cmp::max(limits.max_buffer_size, bytes);
        }
        Storage::StorageTexture | Storage::SampledTexture => {
            let rows = texture_height(quads) as u32;
            limits.max_texture_dimension_2d = limits.max_texture_dimension_2d.max(TEXTURE_WIDTH).max(rows);
        }
    };
    for array in program.arrays.iter().filter(|array| array.role != Role::Parameter) {
        bind(array.storage, array.len(), QUAD);
    }
    for parameter in &program.parameters {
        match parameter {
            Parameter::Weights(weights) => {
                let packing = &weights.packing;
                let quads = packing.block_len() * packing.groups() / 4;
                bind(config.storage, quads as u64, packing.precision().quad_bytes());
            }
            Parameter::Vector(vector) => bind(Storage::StorageBuffer, program.get(vector.array).len(), QUAD),
        }
    }
    match config.storage {
        Storage::StorageBuffer => {}
        Storage::StorageTexture => limits.max_storage_textures_per_shader_stage = 3,
        Storage::SampledTexture => limits.max_storage_textures_per_shader_stage = 1,
    }
    limits
}
