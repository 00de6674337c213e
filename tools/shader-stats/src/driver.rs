//! A Vulkan device that compiles and never runs.

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char},
    ptr, slice,
};

use ash::{Entry, ext, khr, vk};

use crate::shader::Shader;

/// The driver's only device. What is made on it lives as long as the process.
pub struct Driver {
    name: String,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    has_matrices: bool,
}

/// What the driver says about a pipeline.
pub struct Report {
    /// Lanes of a subgroup.
    pub wave: u32,
    /// By name, in lower case.
    pub statistics: BTreeMap<String, u64>,
    pub assembly: String,
}

/// A driver that is missing or refuses.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("no Vulkan loader ({0}): install libvulkan1")]
    Loader(#[from] ash::LoadingError),
    #[error("expected one Vulkan device, found {0}: choose the driver and the chip as scripts/amd-stats.sh does")]
    Devices(usize),
    #[error("{0} does not tell what it compiles: expected VK_KHR_pipeline_executable_properties")]
    Silent(String),
    #[error("Vulkan: {0}")]
    Vulkan(#[from] vk::Result),
}

fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Driver {
    pub fn new() -> Result<Self, DriverError> {
        // SAFETY: the loader and the driver are the system's; every structure lives as long as its call.
        unsafe {
            let entry = Entry::load()?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&create, None)?;
            let devices = instance.enumerate_physical_devices()?;
            let &[physical] = devices.as_slice() else { return Err(DriverError::Devices(devices.len())) };

            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut properties);
            let device_name = text(&properties.properties.device_name);
            let name = format!("{device_name}, {}", text(&driver.driver_info));

            let available = instance.enumerate_device_extension_properties(physical)?;
            let has = |name: &CStr| available.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
            if !has(khr::pipeline_executable_properties::NAME) {
                return Err(DriverError::Silent(name));
            }
            let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];

            // All that the chip can do: more than wgpu asks for, and what of it changes code (robust buffers) wgpu
            // turns on too.
            let mut vulkan11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut vulkan12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut vulkan13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
            let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
            let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut vulkan11)
                .push_next(&mut vulkan12)
                .push_next(&mut vulkan13)
                .push_next(&mut executable);
            let has_matrices = has(khr::cooperative_matrix::NAME);
            if has_matrices {
                extensions.push(khr::cooperative_matrix::NAME.as_ptr());
                features = features.push_next(&mut matrices);
            }
            if has(ext::robustness2::NAME) {
                extensions.push(ext::robustness2::NAME.as_ptr());
                features = features.push_next(&mut robustness);
            }
            instance.get_physical_device_features2(physical, &mut features);

            let queue = vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0]);
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(slice::from_ref(&queue))
                .enabled_extension_names(&extensions)
                .push_next(&mut features);
            let device = instance.create_device(physical, &create, None)?;
            let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { name, device, executables, has_matrices })
        }
    }

    /// Device and driver.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has cooperative matrices.
    pub fn has_matrices(&self) -> bool {
        self.has_matrices
    }

    /// Compiles a compute shader.
    pub fn compile(&self, shader: &Shader) -> Result<Report, DriverError> {
        let device = &self.device;
        let compute = vk::ShaderStageFlags::COMPUTE;
        let binding = |&(binding, kind)| {
            let binding = vk::DescriptorSetLayoutBinding::default().binding(binding).descriptor_type(kind);
            binding.descriptor_count(1).stage_flags(compute)
        };
        let bindings: Vec<_> = shader.bindings.iter().map(binding).collect();
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let range = vk::PushConstantRange::default().stage_flags(compute).size(shader.immediates);
        let ranges = if shader.immediates > 0 { slice::from_ref(&range) } else { &[] };
        // SAFETY: naga wrote the SPIR-V, the layout has its bindings, and every structure lives as long as its call.
        unsafe {
            let module =
                device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&shader.spirv), None)?;
            let set = device.create_descriptor_set_layout(&set, None)?;
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(slice::from_ref(&set));
            let layout = device.create_pipeline_layout(&layout.push_constant_ranges(ranges), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                // As wgpu does on a device with subgroups.
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(compute)
                .module(module)
                .name(c"main");
            let create = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            );
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), slice::from_ref(&create), None);
            self.report(made.map_err(|(_, error)| error)?[0])
        }
    }

    /// # Safety
    ///
    /// `pipeline` is this device's compute pipeline, with statistics and internal representations captured.
    unsafe fn report(&self, pipeline: vk::Pipeline) -> Result<Report, DriverError> {
        let pipeline_info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // A compute pipeline has one executable.
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline is as this function demands.
        let (properties, statistics) = unsafe {
            (
                self.executables.get_pipeline_executable_properties(&pipeline_info)?,
                self.executables.get_pipeline_executable_statistics(&info)?,
            )
        };
        let whole = vk::PipelineExecutableStatisticFormatKHR::UINT64;
        let statistics = statistics
            .iter()
            .filter(|s| s.format == whole)
            // SAFETY: the format says which member of the union is there.
            .map(|s| (text(&s.name).to_lowercase(), unsafe { s.value.u64 }))
            .collect();

        // ash has no wrapper for the texts: first how many, then how long, then the bytes.
        let get = |count: &mut u32, texts: *mut vk::PipelineExecutableInternalRepresentationKHR<'_>| {
            let get = self.executables.fp().get_pipeline_executable_internal_representations_khr;
            // SAFETY: `texts` is null or has `count` elements, whose data is null or has its size.
            unsafe { get(self.device.handle(), &info, count, texts) }.result()
        };
        let mut count = 0;
        get(&mut count, ptr::null_mut())?;
        let mut texts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        get(&mut count, texts.as_mut_ptr())?;
        let mut bytes: Vec<Vec<u8>> = texts.iter().map(|t| vec![0; t.data_size]).collect();
        for (text, bytes) in texts.iter_mut().zip(&mut bytes) {
            text.p_data = bytes.as_mut_ptr().cast();
        }
        get(&mut count, texts.as_mut_ptr())?;
        let assembly = texts.iter().zip(&bytes).find(|(t, _)| text(&t.name).eq_ignore_ascii_case("assembly"));
        let assembly = assembly.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        let wave = properties.first().map_or(0, |p| p.subgroup_size);
        Ok(Report { wave, statistics, assembly })
    }
}
