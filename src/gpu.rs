//! An adapter found, or the host's device taken over, and what it can do.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wgpu::{AdapterInfo, Backend, Backends, Device, DeviceType, Features, Limits, Queue};

/// A device to compute on: one that this library opened, or one that the host owns already.
///
/// Cloning is cheap; clones share the device.
#[derive(Clone, Debug)]
pub struct Gpu {
    device: Device,
    queue: Queue,
    info: AdapterInfo,
    compiled: Arc<Mutex<HashMap<String, Compiled>>>,
}

/// A compute pipeline and the layout of its bind group.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// Which adapter to open; the default takes the best there is.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Only adapters whose name or driver contains this text, in any case.
    pub adapter: Option<String>,
    /// Only adapters of these backends; all when `None`.
    pub backends: Option<Backends>,
}

/// An adapter on this machine, and whether it can run a network.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// Name, driver, backend, type.
    pub info: AdapterInfo,
    /// What it offers.
    pub features: Features,
    /// What it allows.
    pub limits: Limits,
    /// What it lacks; empty where it will do.
    pub shortfalls: Vec<Shortfall>,
}

/// A limit below what the shaders need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The limit's name in WebGPU.
    pub limit: &'static str,
    /// What the shaders need.
    pub needed: u64,
    /// What there is.
    pub found: u64,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of at least {}, found {}", self.limit, self.needed, self.found)
    }
}

/// What the shaders need of a device; all of it within WebGPU's defaults.
fn shortfalls(limits: &Limits) -> Vec<Shortfall> {
    let needs: [(&'static str, u64, u64); 10] = [
        ("maxBufferSize", 16 << 20, limits.max_buffer_size),
        ("maxStorageBufferBindingSize", 16 << 20, limits.max_storage_buffer_binding_size),
        ("maxUniformBufferBindingSize", 256, limits.max_uniform_buffer_binding_size),
        ("maxStorageBuffersPerShaderStage", 5, limits.max_storage_buffers_per_shader_stage.into()),
        ("maxBindingsPerBindGroup", 6, limits.max_bindings_per_bind_group.into()),
        ("maxComputeWorkgroupStorageSize", 16384, limits.max_compute_workgroup_storage_size.into()),
        ("maxComputeInvocationsPerWorkgroup", 256, limits.max_compute_invocations_per_workgroup.into()),
        ("maxComputeWorkgroupSizeX", 256, limits.max_compute_workgroup_size_x.into()),
        ("maxComputeWorkgroupSizeY", 64, limits.max_compute_workgroup_size_y.into()),
        ("maxComputeWorkgroupsPerDimension", 65535, limits.max_compute_workgroups_per_dimension.into()),
    ];
    let lacking = needs.into_iter().filter(|(_, needed, found)| found < needed);
    lacking.map(|(limit, needed, found)| Shortfall { limit, needed, found }).collect()
}

/// Features that make a network faster where they are there; none is required.
pub(crate) const USEFUL_FEATURES: Features =
    Features::SUBGROUP.union(Features::SHADER_F16).union(Features::TIMESTAMP_QUERY);

impl Gpu {
    /// Opens an adapter: the best that `options` allow, a real GPU before a software one.
    ///
    /// # Errors
    ///
    /// [`GpuError::NoAdapter`] when nothing fits, [`GpuError::BelowLimits`] when what fits is too small,
    /// [`GpuError::Open`] when the driver refuses.
    pub async fn new(options: &GpuOptions) -> Result<Self, GpuError> {
        let mut adapters = find(options.backends).await;
        adapters.sort_by_key(|a| preference(&a.get_info(), !shortfalls(&a.limits()).is_empty()));
        let matching = adapters.iter().find(|a| matches(&a.get_info(), options.adapter.as_deref()));
        let Some(adapter) = matching else {
            return Err(GpuError::NoAdapter {
                wanted: wanted(options),
                found: adapters.iter().map(|a| a.get_info().name).collect(),
            });
        };

        let limits = adapter.limits();
        let lacking = shortfalls(&limits);
        if !lacking.is_empty() {
            return Err(GpuError::BelowLimits { adapter: adapter.get_info().name, shortfalls: lacking });
        }
        let mut required_limits = Limits::default().or_worse_values_from(&limits);
        // Larger bindings save splitting the fully connected layers' weights.
        required_limits.max_buffer_size = limits.max_buffer_size;
        required_limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("alexnet-wgpu"),
            required_features: adapter.features() & USEFUL_FEATURES,
            required_limits,
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|source| GpuError::Open { adapter: adapter.get_info().name, source })?;
        Self::from_device(device, queue)
    }

    /// [`Gpu::new`] for programs without an executor; waits for the driver.
    ///
    /// # Errors
    ///
    /// As [`Gpu::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        pollster::block_on(Self::new(options))
    }

    /// Takes the device and queue that the host owns. Nothing of theirs is changed: no error callback, no
    /// lost-device callback.
    ///
    /// # Errors
    ///
    /// [`GpuError::BelowLimits`] lists every limit of the device that is too low.
    pub fn from_device(device: Device, queue: Queue) -> Result<Self, GpuError> {
        let info = device.adapter_info();
        let lacking = shortfalls(&device.limits());
        if !lacking.is_empty() {
            return Err(GpuError::BelowLimits { adapter: info.name, shortfalls: lacking });
        }
        Ok(Self { device, queue, info, compiled: Arc::default() })
    }

    /// All adapters of `backends` (all when `None`), the one that [`Gpu::new`] would take first.
    pub async fn adapters(backends: Option<Backends>) -> Vec<AdapterSummary> {
        let summary = |a: wgpu::Adapter| {
            let limits = a.limits();
            let shortfalls = shortfalls(&limits);
            AdapterSummary { info: a.get_info(), features: a.features(), limits, shortfalls }
        };
        let mut all: Vec<_> = find(backends).await.into_iter().map(summary).collect();
        all.sort_by_key(|a| preference(&a.info, !a.shortfalls.is_empty()));
        all
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
        let fixed = self.info.subgroup_min_size == self.info.subgroup_max_size;
        (fixed && self.device.features().contains(Features::SUBGROUP)).then_some(self.info.subgroup_min_size)
    }
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

fn matches(info: &AdapterInfo, text: Option<&str>) -> bool {
    let Some(text) = text.map(str::to_lowercase) else { return true };
    [&info.name, &info.driver, &info.driver_info].iter().any(|s| s.to_lowercase().contains(&text))
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
        "no GPU adapter {wanted}; found {}: install a graphics driver, or Mesa's software Vulkan \
         (Debian and Ubuntu: apt install mesa-vulkan-drivers; Fedora: dnf install mesa-vulkan-drivers)",
        if found.is_empty() { "none".into() } else { found.join(", ") }
    )]
    NoAdapter {
        /// What was looked for.
        wanted: String,
        /// The adapters that are there.
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
        assert_eq!(shortfalls(&Limits::default()), []);
    }

    #[test]
    fn every_shortfall_is_listed() {
        let limits = Limits { max_compute_invocations_per_workgroup: 128, max_buffer_size: 1024, ..Limits::default() };
        let lacking = shortfalls(&limits);
        assert_eq!(lacking.len(), 2);
        let error = GpuError::BelowLimits { adapter: "tiny".into(), shortfalls: lacking }.to_string();
        assert!(error.contains("maxBufferSize of at least 16777216, found 1024"), "{error}");
        assert!(error.contains("maxComputeInvocationsPerWorkgroup of at least 256, found 128"), "{error}");
        // WebGL 2 has no compute shaders at all.
        assert!(!shortfalls(&Limits::downlevel_webgl2_defaults()).is_empty());
    }
}
