//! Adapter selection, and devices that the host owns.

pub(crate) mod error_scopes;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod pipeline_cache;
#[cfg(not(any(target_vendor = "apple", target_arch = "wasm32")))]
mod uuid;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wgpu::{Adapter, AdapterInfo, Backend, Backends, Device, DeviceType, Features, Limits, Queue};

#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::pipeline_cache::KeptPipelines;
use crate::{
    kernels::{Checks, KernelConfig},
    runtime::Pipeline,
    select::{self, BlockedVariant, Blocklist, MATRIX_FEATURES},
};

/// A device to compute on, opened by this library or owned by the host.
///
/// Cloning is cheap; clones share the device.
#[derive(Clone, Debug)]
pub struct Gpu {
    device: Device,
    queue: Queue,
    info: AdapterInfo,
    blocklist: Blocklist,
    checks: Checks,
    /// The configuration with cooperative matrices, if the device has any that this library uses.
    matrix: Option<KernelConfig>,
    compiled: Arc<Mutex<HashMap<String, Compiled>>>,
    #[cfg(not(target_arch = "wasm32"))]
    kept: Option<Arc<KeptPipelines>>,
    #[cfg(test)]
    pub(crate) compiler: Option<Compiler>,
}

/// Replaces this library's WGSL in tests: shaders of another compiler, or wrong ones.
#[cfg(test)]
#[derive(Clone)]
pub(crate) struct Compiler(pub Arc<Make>);

#[cfg(test)]
type Make = dyn Fn(&Device, &crate::kernels::Kernel) -> Option<wgpu::ShaderModule> + Send + Sync;

#[cfg(test)]
impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiler")
    }
}

/// A compute pipeline and the layout of its bind group.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// Options for adapter selection; the default takes the best adapter.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Only adapters whose name, driver, PCI address or UUID contains this text, ignoring case. A number less than the number
    /// of adapters means the one with this [`AdapterSummary::index`] instead.
    pub adapter: Option<String>,
    /// Only adapters of these backends; all backends where `None`.
    pub backends: Option<Backends>,
    /// Whether to ask for cooperative matrices where the adapter has them; see [`GpuOptions::cooperative_matrices`].
    pub cooperative_matrices: bool,
}

impl GpuOptions {
    /// Sets whether the device is made with cooperative matrices where the adapter has them, as
    /// [`Arithmetic::Fast`](crate::Arithmetic::Fast) needs. They are an experimental feature of wgpu, so the default is
    /// not to ask for them.
    pub fn cooperative_matrices(mut self, wanted: bool) -> Self {
        self.cooperative_matrices = wanted;
        self
    }

    /// Selects adapters by name, driver, PCI address, UUID or index, as the field `adapter` says; all adapters where `None`.
    pub fn adapter(mut self, adapter: Option<String>) -> Self {
        self.adapter = adapter;
        self
    }

    /// Restricts the choice to adapters of these backends; all backends where `None`.
    pub fn backends(mut self, backends: Option<Backends>) -> Self {
        self.backends = backends;
        self
    }

    /// Returns the backends to pass to [`Gpu::adapters`], whose result [`GpuOptions::allowed`] filters. These are all
    /// backends (`None`) where an adapter is selected by number, so that a number always means the same adapter.
    pub fn listed(&self) -> Option<Backends> {
        let numbered = self.adapter.as_deref().is_some_and(|text| text.parse::<usize>().is_ok());
        self.backends.filter(|_| !numbered)
    }

    /// Filters `adapters` by these options. Call it with the result of [`Gpu::adapters`] for [`GpuOptions::listed`].
    pub fn allowed(&self, adapters: Vec<AdapterSummary>) -> Vec<AdapterSummary> {
        let text = self.adapter.as_deref();
        let index = text.and_then(|text| text.parse().ok()).filter(|&index: &usize| index < adapters.len());
        let is_meant = |adapter: &AdapterSummary| match index {
            Some(index) => adapter.index == index,
            None => adapter.is_called(text),
        };
        let backend = |adapter: &AdapterSummary| Backends::from(adapter.info.backend);
        let on_backend = |adapter: &AdapterSummary| self.backends.is_none_or(|all| all.contains(backend(adapter)));
        adapters.into_iter().filter(|adapter| on_backend(adapter) && is_meant(adapter)).collect()
    }
}

/// An adapter of this machine, and whether it can run a network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterSummary {
    /// Its index in the list, from 0. It tells adapters with the same name apart.
    pub index: usize,
    /// The adapter's name, driver, backend and type.
    pub info: AdapterInfo,
    /// The device's UUID, where the driver has one (Vulkan 1.1).
    pub uuid: Option<String>,
    /// Supported features.
    pub features: Features,
    /// Supported limits.
    pub limits: Limits,
    /// The limits that are too low; empty where the adapter suffices.
    pub shortfalls: Vec<Shortfall>,
    pub(crate) adapter: Adapter,
}

impl AdapterSummary {
    fn new(adapter: Adapter) -> Self {
        let limits = adapter.limits();
        let shortfalls = shortfalls(&BASE_LIMITS, &limits);
        #[cfg(not(any(target_vendor = "apple", target_arch = "wasm32")))]
        let uuid = uuid::of(&adapter).map(uuid::text);
        #[cfg(any(target_vendor = "apple", target_arch = "wasm32"))]
        let uuid = None;
        Self { index: 0, info: adapter.get_info(), uuid, features: adapter.features(), limits, shortfalls, adapter }
    }

    /// Whether the name, the driver, the PCI address or the UUID contains `text`, ignoring case; true where `text` is `None`.
    pub fn is_called(&self, text: Option<&str>) -> bool {
        let Some(text) = text.map(str::to_lowercase) else { return true };
        let AdapterInfo { name, driver, driver_info, device_pci_bus_id, .. } = &self.info;
        let texts = [name, driver, driver_info, device_pci_bus_id].into_iter().chain(&self.uuid);
        texts.into_iter().any(|s| s.to_lowercase().contains(&text))
    }

    /// Blocking form of [`AdapterSummary::open`].
    ///
    /// # Errors
    ///
    /// As [`AdapterSummary::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(&self) -> Result<Gpu, GpuError> {
        pollster::block_on(self.open())
    }

    /// Blocking form of [`AdapterSummary::open_with`].
    ///
    /// # Errors
    ///
    /// As [`AdapterSummary::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_with_blocking(&self, options: &GpuOptions) -> Result<Gpu, GpuError> {
        pollster::block_on(self.open_with(options))
    }

    /// Opens this adapter.
    ///
    /// # Errors
    ///
    /// [`GpuError::BelowLimits`] when its limits are too low, [`GpuError::Open`] when the driver fails to open the
    /// device.
    pub async fn open(&self) -> Result<Gpu, GpuError> {
        self.open_with(&GpuOptions::default()).await
    }

    /// Opens this adapter with the features that `options` ask for; the options by which adapters are selected are
    /// ignored.
    ///
    /// # Errors
    ///
    /// As [`AdapterSummary::open`].
    pub async fn open_with(&self, options: &GpuOptions) -> Result<Gpu, GpuError> {
        let Self { info, limits, .. } = self;
        if !self.shortfalls.is_empty() {
            return Err(GpuError::BelowLimits { adapter: info.name.clone(), shortfalls: self.shortfalls.clone() });
        }
        let mut required_limits = Limits::default().or_worse_values_from(limits);
        // With larger bindings, the weights of fully connected layers need not be split.
        required_limits.max_buffer_size = limits.max_buffer_size;
        required_limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size;
        let has_matrices = options.cooperative_matrices && select::matrix_config(&self.adapter).is_some();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("alexnet-wgpu"),
            required_features: self.features & USEFUL_FEATURES
                | if has_matrices { MATRIX_FEATURES } else { Features::empty() },
            required_limits,
            experimental_features: match has_matrices {
                // SAFETY: of the experimental features, only cooperative matrices are asked for. gemm_cooperative.wgsl uses
                // them in uniform control flow and within its arrays (conformance/bounds.rs).
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            ..Default::default()
        };
        let opened = self.adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|source| GpuError::Open { adapter: info.name.clone(), source })?;
        Ok(Gpu::from_device(device, queue)?.with_cooperative_matrices(&self.adapter))
    }
}

/// A limit that is too low.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortfall {
    /// The limit's name in WebGPU.
    pub limit: &'static str,
    /// The value needed.
    pub needed: u64,
    /// The actual value.
    pub found: u64,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of at least {}, found {}", self.limit, self.needed, self.found)
    }
}

/// The limits that the shaders need for any network; all are within WebGPU's defaults.
pub(crate) const BASE_LIMITS: Limits = Limits {
    max_buffer_size: 16 << 20,
    max_storage_buffer_binding_size: 16 << 20,
    max_uniform_buffer_binding_size: 256,
    max_storage_buffers_per_shader_stage: 5,
    max_sampled_textures_per_shader_stage: 2,
    max_bindings_per_bind_group: 6,
    max_compute_workgroup_storage_size: 16384,
    max_compute_invocations_per_workgroup: 256,
    max_compute_workgroup_size_x: 256,
    max_compute_workgroup_size_y: 64,
    max_compute_workgroup_size_z: 1,
    max_compute_workgroups_per_dimension: 65535,
    ..Limits::downlevel_webgl2_defaults()
};

/// The limits of `found` that are lower than in `required`.
pub(crate) fn shortfalls(required: &Limits, found: &Limits) -> Vec<Shortfall> {
    macro_rules! lacking {
        ($($limit:literal $field:ident),* $(,)?) => {
            [$(($limit, u64::from(required.$field), u64::from(found.$field))),*]
        };
    }
    let limits = lacking![
        "maxBufferSize" max_buffer_size,
        "maxStorageBufferBindingSize" max_storage_buffer_binding_size,
        "maxUniformBufferBindingSize" max_uniform_buffer_binding_size,
        "maxStorageBuffersPerShaderStage" max_storage_buffers_per_shader_stage,
        "maxSampledTexturesPerShaderStage" max_sampled_textures_per_shader_stage,
        "maxStorageTexturesPerShaderStage" max_storage_textures_per_shader_stage,
        "maxTextureDimension2D" max_texture_dimension_2d,
        "maxBindingsPerBindGroup" max_bindings_per_bind_group,
        "maxComputeWorkgroupStorageSize" max_compute_workgroup_storage_size,
        "maxComputeInvocationsPerWorkgroup" max_compute_invocations_per_workgroup,
        "maxComputeWorkgroupSizeX" max_compute_workgroup_size_x,
        "maxComputeWorkgroupSizeY" max_compute_workgroup_size_y,
        "maxComputeWorkgroupsPerDimension" max_compute_workgroups_per_dimension,
    ];
    let lacking = limits.into_iter().filter(|(_, needed, found)| found < needed);
    lacking.map(|(limit, needed, found)| Shortfall { limit, needed, found }).collect()
}

/// Optional features that make a network faster; none is required.
pub(crate) const USEFUL_FEATURES: Features =
    Features::SUBGROUP.union(Features::SHADER_F16).union(Features::TIMESTAMP_QUERY).union(Features::PIPELINE_CACHE);

impl Gpu {
    /// Opens the best adapter that `options` allow; a hardware GPU is preferred to a software adapter.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoAdapter`] when no adapter matches; otherwise as [`AdapterSummary::open`].
    pub async fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        // A number is an index into the list of all adapters.
        let by_name = options.adapter.as_deref().is_none_or(|text| text.parse::<usize>().is_err());
        let without_gl =
            (options.backends.is_none() && by_name && !may_have_gpu()).then_some(Some(Backends::all() - Backends::GL));
        for backends in without_gl.into_iter().chain([options.listed()]) {
            let allowed = options.allowed(Self::adapters(backends).await);
            if let Some(adapter) = allowed.first() {
                return adapter.open_with(options).await;
            }
        }
        // Lists the adapters of other backends too, for users who asked for only one.
        let name = |a: AdapterSummary| format!("{} ({})", a.info.name, a.info.backend);
        let found = Self::adapters(None).await.into_iter().map(name).collect();
        Err(GpuError::NoAdapter { wanted: wanted(options), found })
    }

    /// Blocking form of [`Gpu::open`].
    ///
    /// # Errors
    ///
    /// As [`Gpu::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(options: &GpuOptions) -> Result<Self, GpuError> {
        pollster::block_on(Self::open(options))
    }

    /// The adapter of the environment variable ALEXNET_ADAPTER, or the best one. With ALEXNET_SHADER_CHECKS=1, shaders check
    /// every index.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let options = GpuOptions::default().adapter(std::env::var("ALEXNET_ADAPTER").ok());
        let gpu = Self::open_blocking(&options).unwrap_or_else(|error| panic!("{error}"));
        let checks = std::env::var("ALEXNET_SHADER_CHECKS").is_ok_and(|value| value == "1");
        gpu.with_checks(if checks { Checks::On } else { Checks::Off })
    }

    /// Uses a device and queue that the host owns. Their state is left alone: no error callback or lost-device callback
    /// is set. [`crate::Pipeline::required_limits`] and [`crate::Pipeline::required_features`] return what to request
    /// when making the device.
    ///
    /// # Errors
    ///
    /// [`GpuError::BelowLimits`] lists every limit of the device that is too low for any network.
    pub fn from_device(device: Device, queue: Queue) -> Result<Self, GpuError> {
        let info = device.adapter_info();
        let lacking = shortfalls(&BASE_LIMITS, &device.limits());
        if !lacking.is_empty() {
            return Err(GpuError::BelowLimits { adapter: info.name, shortfalls: lacking });
        }
        Ok(Self {
            device,
            queue,
            info,
            blocklist: Blocklist::default(),
            checks: Checks::default(),
            matrix: None,
            compiled: Arc::default(),
            #[cfg(not(target_arch = "wasm32"))]
            kept: None,
            #[cfg(test)]
            compiler: None,
        })
    }

    /// Makes the planner avoid these kernel variants on this device, in addition to earlier ones. Explicit choices of a
    /// [`PipelineBuilder`](crate::PipelineBuilder) take precedence.
    pub fn avoid(mut self, blocklist: impl IntoIterator<Item = BlockedVariant>) -> Self {
        self.blocklist.extend(blocklist);
        self
    }

    /// Sets whether shaders on this device check every index. A pipeline's builder may override this.
    pub fn with_checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// Uses cooperative matrices on a host's device that was made with [`Pipeline::required_features`] of a
    /// [`KernelConfig::with_cooperative_matrices`]. `adapter` is the device's, which tells the sizes of its matrices.
    /// This has no effect on a device without those features. They are used for [`Arithmetic::Fast`] only.
    ///
    /// [`Arithmetic::Fast`]: crate::Arithmetic::Fast
    /// [`Pipeline::required_features`]: crate::Pipeline::required_features
    pub fn with_cooperative_matrices(mut self, adapter: &Adapter) -> Self {
        if self.device.features().contains(MATRIX_FEATURES) {
            self.matrix = select::matrix_config(adapter);
        }
        self
    }

    /// The kernel configuration with cooperative matrices, if the device has those.
    pub(crate) fn matrix_config(&self) -> Option<KernelConfig> {
        self.matrix
    }

    /// Stands in for a device with the cooperative matrices of `config`, whose kernels [`Gpu::compiler`] replaces.
    #[cfg(test)]
    pub(crate) fn with_matrices_of(mut self, config: KernelConfig) -> Self {
        self.matrix = Some(config);
        self
    }

    /// The features that `config` needs and the device lacks.
    pub(crate) fn missing_features(&self, config: KernelConfig) -> Features {
        #[cfg(test)]
        if self.compiler.is_some() && self.matrix == Some(config) {
            return Features::empty();
        }
        Pipeline::required_features(config) - self.device.features()
    }

    /// The reason why the device cannot run `config`, if it cannot.
    pub(crate) fn refusal(&self, config: KernelConfig) -> Option<String> {
        select::refusal(&self.info, self.device.features(), self.matrix, config)
    }

    /// Whether shaders check every index.
    pub(crate) fn checks(&self) -> Checks {
        self.checks
    }

    /// Keeps a persistent pipeline cache in `folder`: a file per adapter and driver with the pipelines that the driver
    /// compiled, loaded if it exists. This has no effect on backends other than Vulkan, and on a host's device without
    /// [`Features::PIPELINE_CACHE`]. A file that does not fit is replaced.
    ///
    /// # Safety
    ///
    /// Drivers trust the cached data: nobody but this library may write to the folder.
    #[cfg(not(target_arch = "wasm32"))]
    pub unsafe fn keep_pipelines(mut self, folder: &std::path::Path) -> Self {
        // SAFETY: the caller promises the same.
        self.kept = unsafe { KeptPipelines::open(&self.device, &self.info, folder) }.map(Arc::new);
        self
    }

    /// The pipeline cache, if there is one.
    pub(crate) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        #[cfg(not(target_arch = "wasm32"))]
        return self.kept.as_ref().map(|kept| kept.cache());
        #[cfg(target_arch = "wasm32")]
        None
    }

    /// Writes the device's pipelines to the persistent cache.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn store_pipelines(&self) {
        if let Some(kept) = &self.kept {
            kept.store();
        }
    }

    /// Returns the kernel variants that the planner avoids.
    pub fn blocklist(&self) -> &Blocklist {
        &self.blocklist
    }

    /// Returns every kernel configuration that runs on this device, blocked or not. Of the broadcast ones, the one with
    /// the most lanes comes first; the one with cooperative matrices comes last.
    pub fn kernel_configs(&self) -> Vec<KernelConfig> {
        let exact = select::kernel_configs(&self.info, self.device.features());
        exact.into_iter().chain(self.matrix_config()).collect()
    }

    /// Returns all adapters of `backends` (all backends where `None`), in order of preference: [`Gpu::open`] takes the
    /// first.
    pub async fn adapters(backends: Option<Backends>) -> Vec<AdapterSummary> {
        let mut all: Vec<_> = find(backends).await.into_iter().map(AdapterSummary::new).collect();
        all.sort_by_key(|a| preference(&a.info, !a.shortfalls.is_empty()));
        all.iter_mut().enumerate().for_each(|(index, adapter)| adapter.index = index);
        all
    }

    /// Blocking form of [`Gpu::adapters`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn adapters_blocking(backends: Option<Backends>) -> Vec<AdapterSummary> {
        pollster::block_on(Self::adapters(backends))
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Returns the name, driver, backend and type of the adapter.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// The pipelines compiled on this device so far, by their sources. Networks share them.
    pub(crate) fn compiled(&self) -> MutexGuard<'_, HashMap<String, Compiled>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of lanes per subgroup, where it is fixed and shaders may use subgroups.
    pub fn subgroup_lanes(&self) -> Option<u32> {
        select::subgroup_lanes(&self.info, self.device.features())
    }
}

/// Whether this machine may have a GPU. Without one, OpenGL cannot have a better adapter than Vulkan, so its 10 MB of
/// libraries need not be loaded.
fn may_have_gpu() -> bool {
    // Device nodes of Mesa's drivers; of NVIDIA, Arm and Qualcomm; and of Windows' Linux subsystem.
    const NODES: [&str; 5] = ["/dev/dri", "/dev/nvidiactl", "/dev/mali0", "/dev/kgsl-3d0", "/dev/dxg"];
    cfg!(not(target_os = "linux")) || NODES.iter().any(|node| std::path::Path::new(node).exists())
}

async fn find(backends: Option<Backends>) -> Vec<wgpu::Adapter> {
    let backends = backends.unwrap_or_else(Backends::all);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Validation of this library's own calls is for its tests, which turn it on (WGPU_VALIDATION=1).
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    #[cfg(target_arch = "wasm32")]
    return instance.request_adapter(&Default::default()).await.into_iter().collect();
    #[cfg(not(target_arch = "wasm32"))]
    instance.enumerate_adapters(backends).await
}

/// The sort key of adapters, best first: sufficient before insufficient, hardware before software, native APIs before
/// OpenGL.
fn preference(info: &AdapterInfo, unfit: bool) -> (bool, u8, bool) {
    let kind = match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    (unfit, kind, info.backend == Backend::Gl)
}

fn wanted(options: &GpuOptions) -> String {
    let backends = options.backends.unwrap_or_else(wgpu::Instance::enabled_backend_features) - Backends::NOOP;
    let names: Vec<String> = backends.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    match &options.adapter {
        Some(text) => format!("named `{text}` for {}", names.join(", ")),
        None => format!("for {}", names.join(", ")),
    }
}

/// No device could be opened, or its limits are too low.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter of this machine matches.
    #[error(
        "no GPU adapter {wanted}; found {}",
        if found.is_empty() {
            "none: install a graphics driver, or a software one (Mesa's lavapipe)".into()
        } else {
            format!("{}: choose one of them", found.join(", "))
        }
    )]
    NoAdapter {
        /// The adapter that was asked for.
        wanted: String,
        /// The adapters found, each with its backend.
        found: Vec<String>,
    },
    /// The limits of the adapter or device are below what the shaders need.
    #[error(
        "adapter `{adapter}` is too small: expected {}; choose another adapter or request these limits when creating the \
         device",
        shortfalls.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    BelowLimits {
        /// The adapter's name.
        adapter: String,
        /// Every limit that is too low.
        shortfalls: Vec<Shortfall>,
    },
    /// The driver failed to open the device.
    #[error("cannot open a device on adapter `{adapter}`: {source}; update its driver or choose another adapter")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// The driver's error.
        source: wgpu::RequestDeviceError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webgpu_defaults_are_enough() {
        assert_eq!(shortfalls(&BASE_LIMITS, &Limits::default()), []);
    }

    #[test]
    fn every_shortfall_is_listed() {
        let limits = Limits { max_compute_invocations_per_workgroup: 128, max_buffer_size: 1024, ..Limits::default() };
        let lacking = shortfalls(&BASE_LIMITS, &limits);
        assert_eq!(lacking.len(), 2);
        let error = GpuError::BelowLimits { adapter: "tiny".into(), shortfalls: lacking }.to_string();
        assert!(error.contains("maxBufferSize of at least 16777216, found 1024"), "{error}");
        assert!(error.contains("maxComputeInvocationsPerWorkgroup of at least 256, found 128"), "{error}");
        // WebGL 2 has no compute shaders at all.
        assert!(!shortfalls(&BASE_LIMITS, &Limits::downlevel_webgl2_defaults()).is_empty());
    }
}
