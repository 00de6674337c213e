//! An adapter found, or the host's device taken over, and what it can do.

pub(crate) mod error_scopes;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod pipeline_cache;

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
    select::{self, BlockedVariant, Blocklist},
};

/// A device to compute on: one that this library opened, or one that the host owns already.
///
/// Cloning is cheap; clones share the device.
#[derive(Clone, Debug)]
pub struct Gpu {
    device: Device,
    queue: Queue,
    info: AdapterInfo,
    blocklist: Blocklist,
    checks: Checks,
    compiled: Arc<Mutex<HashMap<String, Compiled>>>,
    #[cfg(not(target_arch = "wasm32"))]
    kept: Option<Arc<KeptPipelines>>,
    #[cfg(test)]
    pub(crate) compiler: Option<Compiler>,
}

/// Makes other shaders of kernels than this library's WGSL: another compiler's, or wrong ones.
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

/// Which adapter to open; the default takes the best there is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Only adapters whose name, driver or PCI address contains this text, in any case; or, where it is a number below their
    /// count, the one of this [`AdapterSummary::index`].
    pub adapter: Option<String>,
    /// Only adapters of these backends; all when `None`.
    pub backends: Option<Backends>,
}

impl GpuOptions {
    /// The same for adapters that [`GpuOptions::adapter`] describes; for all of them where it is `None`.
    pub fn adapter(mut self, adapter: Option<String>) -> Self {
        self.adapter = adapter;
        self
    }

    /// The same for adapters of these backends; for all of them where it is `None`.
    pub fn backends(mut self, backends: Option<Backends>) -> Self {
        self.backends = backends;
        self
    }

    /// The backends whose adapters [`GpuOptions::allowed`] takes its choice of: all, where an adapter is meant by its number.
    pub fn listed(&self) -> Option<Backends> {
        let numbered = self.adapter.as_deref().is_some_and(|text| text.parse::<usize>().is_ok());
        self.backends.filter(|_| !numbered)
    }

    /// Those that are allowed, of `adapters`: what [`Gpu::adapters`] lists of [`GpuOptions::listed`].
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

/// An adapter on this machine, and whether it can run a network.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// Its place in the list that it is in, from 0: what tells two of one name apart.
    pub index: usize,
    /// Name, driver, backend, type.
    pub info: AdapterInfo,
    /// What it offers.
    pub features: Features,
    /// What it allows.
    pub limits: Limits,
    /// What it lacks; empty where it will do.
    pub shortfalls: Vec<Shortfall>,
    pub(crate) adapter: Adapter,
}

impl AdapterSummary {
    fn new(adapter: Adapter) -> Self {
        let limits = adapter.limits();
        let shortfalls = shortfalls(&BASE_LIMITS, &limits);
        Self { index: 0, info: adapter.get_info(), features: adapter.features(), limits, shortfalls, adapter }
    }

    /// Whether the name, the driver or the PCI address contains `text`, in any case; true without a text.
    pub fn is_called(&self, text: Option<&str>) -> bool {
        let Some(text) = text.map(str::to_lowercase) else { return true };
        let AdapterInfo { name, driver, driver_info, device_pci_bus_id, .. } = &self.info;
        [name, driver, driver_info, device_pci_bus_id].iter().any(|s| s.to_lowercase().contains(&text))
    }

    /// [`AdapterSummary::open`], waiting for the driver.
    ///
    /// # Errors
    ///
    /// As [`AdapterSummary::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(&self) -> Result<Gpu, GpuError> {
        pollster::block_on(self.open())
    }

    /// Opens this adapter.
    ///
    /// # Errors
    ///
    /// [`GpuError::BelowLimits`] when it is too small, [`GpuError::Open`] when the driver refuses.
    pub async fn open(&self) -> Result<Gpu, GpuError> {
        let Self { info, limits, .. } = self;
        if !self.shortfalls.is_empty() {
            return Err(GpuError::BelowLimits { adapter: info.name.clone(), shortfalls: self.shortfalls.clone() });
        }
        let mut required_limits = Limits::default().or_worse_values_from(limits);
        // Larger bindings save splitting the fully connected layers' weights.
        required_limits.max_buffer_size = limits.max_buffer_size;
        required_limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("alexnet-wgpu"),
            required_features: self.features & USEFUL_FEATURES,
            required_limits,
            ..Default::default()
        };
        let opened = self.adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|source| GpuError::Open { adapter: info.name.clone(), source })?;
        Gpu::from_device(device, queue)
    }
}

/// A limit below what is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The limit's name in WebGPU.
    pub limit: &'static str,
    /// What is needed.
    pub needed: u64,
    /// What there is.
    pub found: u64,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of at least {}, found {}", self.limit, self.needed, self.found)
    }
}

/// What the shaders need of a device, whatever the network; all of it within WebGPU's defaults.
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

/// Which of the limits that `required` can raise are lower in `found`.
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

/// Features that make a network faster where they are there; none is required.
pub(crate) const USEFUL_FEATURES: Features =
    Features::SUBGROUP.union(Features::SHADER_F16).union(Features::TIMESTAMP_QUERY).union(Features::PIPELINE_CACHE);

impl Gpu {
    /// Opens an adapter: the best that `options` allow, a real GPU before a software one.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoAdapter`] when nothing fits; otherwise as [`AdapterSummary::open`].
    pub async fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        // A number is that of a list of all.
        let by_name = options.adapter.as_deref().is_none_or(|text| text.parse::<usize>().is_err());
        let without_gl =
            (options.backends.is_none() && by_name && !may_have_gpu()).then_some(Some(Backends::all() - Backends::GL));
        for backends in without_gl.into_iter().chain([options.listed()]) {
            let allowed = options.allowed(Self::adapters(backends).await);
            if let Some(adapter) = allowed.first() {
                return adapter.open().await;
            }
        }
        // Those of other interfaces are there too, for whoever asked for one alone.
        let name = |a: AdapterSummary| format!("{} ({})", a.info.name, a.info.backend);
        let found = Self::adapters(None).await.into_iter().map(name).collect();
        Err(GpuError::NoAdapter { wanted: wanted(options), found })
    }

    /// [`Gpu::open`], waiting for the driver.
    ///
    /// # Errors
    ///
    /// As [`Gpu::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_blocking(options: &GpuOptions) -> Result<Self, GpuError> {
        pollster::block_on(Self::open(options))
    }

    /// Takes the device and queue that the host owns. Nothing of theirs is changed: no error callback, no
    /// lost-device callback. [`crate::Pipeline::required_limits`] and [`crate::Pipeline::required_features`] say what to
    /// ask for when making the device.
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
            compiled: Arc::default(),
            #[cfg(not(target_arch = "wasm32"))]
            kept: None,
            #[cfg(test)]
            compiler: None,
        })
    }

    /// The same device, on which the planner avoids these kernel variants too. What a
    /// [`PipelineBuilder`](crate::PipelineBuilder) is told to use, it uses all the same.
    pub fn avoid(mut self, blocklist: impl IntoIterator<Item = BlockedVariant>) -> Self {
        self.blocklist.extend(blocklist);
        self
    }

    /// The same device, on which shaders check every index, or do not, unless a pipeline's builder says otherwise.
    pub fn with_checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// Whether shaders check every index.
    pub(crate) fn checks(&self) -> Checks {
        self.checks
    }

    /// The same device, which keeps what its driver compiles in a file in `folder`, one for each adapter and driver, and
    /// starts with what was kept there before. Where a backend or a host's device keeps no pipelines (other than Vulkan;
    /// without [`Features::PIPELINE_CACHE`]), nothing changes; a file that does not fit is written anew.
    ///
    /// # Safety
    ///
    /// Drivers trust what they compiled: nobody but this library may write to the folder.
    #[cfg(not(target_arch = "wasm32"))]
    pub unsafe fn keep_pipelines(mut self, folder: &std::path::Path) -> Self {
        // SAFETY: the caller promises the same.
        self.kept = unsafe { KeptPipelines::open(&self.device, &self.info, folder) }.map(Arc::new);
        self
    }

    /// What pipelines are made with.
    pub(crate) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        #[cfg(not(target_arch = "wasm32"))]
        return self.kept.as_ref().map(|kept| kept.cache());
        #[cfg(target_arch = "wasm32")]
        None
    }

    /// Writes the pipelines of this device to where they are kept.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn store_pipelines(&self) {
        if let Some(kept) = &self.kept {
            kept.store();
        }
    }

    /// Which kernel variants the planner avoids.
    pub fn blocklist(&self) -> &Blocklist {
        &self.blocklist
    }

    /// Every kernel configuration that runs on this device, blocked or not; of those that broadcast, the one with the most lanes first.
    pub fn kernel_configs(&self) -> Vec<KernelConfig> {
        select::kernel_configs(&self.info, self.device.features())
    }

    /// All adapters of `backends` (all when `None`), the one that [`Gpu::open`] would take first.
    pub async fn adapters(backends: Option<Backends>) -> Vec<AdapterSummary> {
        let mut all: Vec<_> = find(backends).await.into_iter().map(AdapterSummary::new).collect();
        all.sort_by_key(|a| preference(&a.info, !a.shortfalls.is_empty()));
        all.iter_mut().enumerate().for_each(|(index, adapter)| adapter.index = index);
        all
    }

    /// [`Gpu::adapters`], waiting for the drivers.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn adapters_blocking(backends: Option<Backends>) -> Vec<AdapterSummary> {
        pollster::block_on(Self::adapters(backends))
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Name, driver, backend and type of the adapter.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// What was compiled on this device so far, by what it was made of: networks share it.
    pub(crate) fn compiled(&self) -> MutexGuard<'_, HashMap<String, Compiled>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lanes of a subgroup where their number is fixed and shaders may use them.
    pub fn subgroup_lanes(&self) -> Option<u32> {
        select::subgroup_lanes(&self.info, self.device.features())
    }
}

/// Whether this machine may have a GPU. Where it has none, OpenGL can have no better adapter than Vulkan, and its libraries
/// need not be loaded: 10 MB of them.
fn may_have_gpu() -> bool {
    // Mesa's drivers; those of NVIDIA, Arm and Qualcomm; Windows' in its Linux.
    const NODES: [&str; 5] = ["/dev/dri", "/dev/nvidiactl", "/dev/mali0", "/dev/kgsl-3d0", "/dev/dxg"];
    cfg!(not(target_os = "linux")) || NODES.iter().any(|node| std::path::Path::new(node).exists())
}

async fn find(backends: Option<Backends>) -> Vec<wgpu::Adapter> {
    let backends = backends.unwrap_or_else(Backends::all);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Validation of this library's own calls is what its tests turn on (WGPU_VALIDATION=1).
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    #[cfg(target_arch = "wasm32")]
    return instance.request_adapter(&Default::default()).await.into_iter().collect();
    #[cfg(not(target_arch = "wasm32"))]
    instance.enumerate_adapters(backends).await
}

/// Smaller is better: fit before unfit, real GPUs before software, native APIs before OpenGL.
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

/// No device to compute on, or one that is too small.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// Nothing on this machine fits.
    #[error(
        "no GPU adapter {wanted}; found {}",
        if found.is_empty() {
            "none: install a graphics driver, or a software one (Mesa's lavapipe)".into()
        } else {
            format!("{}: choose one of them", found.join(", "))
        }
    )]
    NoAdapter {
        /// What was looked for.
        wanted: String,
        /// The adapters that are there, with the graphics interface of each.
        found: Vec<String>,
    },
    /// The adapter or device is below what the shaders need.
    #[error(
        "adapter `{adapter}` is too small: expected {}; choose another adapter or ask for these limits when making the device",
        shortfalls.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    BelowLimits {
        /// The adapter's name.
        adapter: String,
        /// Everything that it lacks.
        shortfalls: Vec<Shortfall>,
    },
    /// The driver would not open the device.
    #[error("adapter `{adapter}` does not open: {source}; update its driver or choose another adapter")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// What the driver said.
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
