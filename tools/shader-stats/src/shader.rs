//! WGSL to SPIR-V with the options that wgpu's Vulkan backend gives naga (wgpu-hal 30, src/vulkan) for a shader that
//! is made without run-time checks.

use alexnet_wgpu::PlannedDispatch;
use ash::vk::DescriptorType;
use naga::{
    AddressSpace, ImageClass, TypeInner,
    back::{PipelineConstants, pipeline_constants::process_overrides, spv},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid::{Capabilities, ValidationFlags, Validator},
};

/// A shader as the driver takes it.
pub struct Shader {
    pub spirv: Vec<u32>,
    /// Bindings of group 0.
    pub bindings: Vec<(u32, DescriptorType)>,
    /// Bytes of immediate data.
    pub immediates: u32,
    /// Invocations of a workgroup.
    pub invocations: u32,
}

/// A shader that naga refuses.
#[derive(Debug, thiserror::Error)]
#[error("layer `{layer}`, kernel `{kernel}`: {reason}")]
pub struct ShaderError {
    layer: String,
    kernel: String,
    reason: String,
}

pub fn compile(dispatch: &PlannedDispatch) -> Result<Shader, ShaderError> {
    let fail = |reason| ShaderError { layer: dispatch.layer.clone(), kernel: dispatch.kernel.clone(), reason };
    let source = &dispatch.wgsl;
    let module = naga::front::wgsl::parse_str(source).map_err(|e| fail(e.emit_to_string(source)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| fail(e.emit_to_string(source)))?;
    let constants: PipelineConstants =
        dispatch.constants.iter().map(|&(name, value)| (name.to_string(), f64::from(value))).collect();
    let entry = (naga::ShaderStage::Compute, "main");
    let (module, info) = process_overrides(&module, &info, Some(entry), &constants).map_err(|e| fail(e.to_string()))?;

    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: entry.0, entry_point: entry.1.into() };
    let spirv = spv::write_vec(&module, &info, &options, Some(&pipeline)).map_err(|e| fail(e.to_string()))?;

    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| fail(e.to_string()))?;
    let (mut bindings, mut immediates) = (Vec::new(), 0);
    for (_, variable) in module.global_variables.iter() {
        let kind = match (variable.space, &module.types[variable.ty].inner) {
            (AddressSpace::Immediate, _) => {
                immediates = layouter[variable.ty].size;
                continue;
            }
            (AddressSpace::Uniform, _) => DescriptorType::UNIFORM_BUFFER,
            (AddressSpace::Storage { .. }, _) => DescriptorType::STORAGE_BUFFER,
            (_, TypeInner::Image { class: ImageClass::Storage { .. }, .. }) => DescriptorType::STORAGE_IMAGE,
            (_, TypeInner::Image { .. }) => DescriptorType::SAMPLED_IMAGE,
            (_, TypeInner::Sampler { .. }) => DescriptorType::SAMPLER,
            _ => continue,
        };
        if let Some(binding) = &variable.binding {
            bindings.push((binding.binding, kind));
        }
    }
    let invocations = module.entry_points.iter().map(|e| e.workgroup_size.iter().product::<u32>()).sum();
    Ok(Shader { spirv, bindings, immediates, invocations })
}
