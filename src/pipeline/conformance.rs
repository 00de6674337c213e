//! Every shader in every configuration that the planner can choose, without a device: parsed, validated with the
//! capabilities that it declares and no more, and written for each backend.

use std::collections::BTreeSet;

use naga::{
    back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv},
    valid::{Capabilities, ValidationFlags, Validator},
};

use super::{
    Algorithms, Plan,
    input::{buffer_kernel, texture_kernel},
    kernels,
};
use crate::{
    alexnet::Variant,
    kernels::{Algorithm, Family, Kernel, Precision, Storage, Style},
    network::{Conv, LocalResponseNorm, Network, Shape},
};

/// Every kernel of every network in every style and at batches of every kind.
fn kernels_of_all_plans() -> BTreeSet<Kernel> {
    let mut networks: Vec<Network> = Variant::ALL.into_iter().map(|v| v.standard().network().unwrap()).collect();
    networks.push(
        Network::builder("odd", Shape::new(5, 9, 9))
            .conv("depthwise", Conv::new(5, 3).groups(5))
            .local_response_norm("norm", LocalResponseNorm::PAPER)
            .adaptive_avg_pool("pool", 2, 2)
            .build()
            .unwrap(),
    );
    let families = [Family::Tiled].into_iter().chain([4, 8, 16].map(|lanes| Family::Broadcast { lanes }));
    let algorithms = [
        Algorithm::Direct,
        Algorithm::Winograd { tile: 2 },
        Algorithm::Winograd { tile: 4 },
        Algorithm::SplitK { parts: 4 },
    ];
    let mut all = BTreeSet::new();
    for family in families {
        for storage in [Storage::Buffer, Storage::Texture] {
            let style = Style { family, storage };
            all.insert(kernels::top_k(5, 1000, 1, storage).kernel);
            all.extend([kernels::ceiling::read(style).kernel, kernels::ceiling::multiply(storage).kernel]);
            for interleaved in [false, true] {
                all.extend([texture_kernel(interleaved, storage), buffer_kernel(interleaved, storage)]);
            }
            for (network, algorithm) in networks.iter().flat_map(|n| algorithms.map(|a| (n, a))) {
                let layers = network.layers().iter();
                let algorithms: Algorithms = layers.map(|l| (l.name.clone(), algorithm)).collect();
                for (batch, precision) in
                    [1, 2, 3, 7, 8, 9, 64].into_iter().flat_map(|b| Precision::ALL.map(|p| (b, p)))
                {
                    let plans = Plan::all(network, &algorithms, batch, style, precision, (128 << 20) / 16).unwrap();
                    all.extend(plans.into_iter().flat_map(|p| p.dispatches).map(|d| d.kernel));
                }
            }
        }
    }
    all
}

/// WebGPU's default limits of a workgroup: invocations, and bytes of its memory.
const MAX_INVOCATIONS: u32 = 256;
const MAX_STORAGE: u32 = 16384;

#[test]
fn every_shader_is_valid_on_every_backend() {
    let kernels = kernels_of_all_plans();
    assert!(kernels.len() > 30, "{}", kernels.len());
    for kernel in kernels {
        let label = kernel.label();
        let source = kernel.source().unwrap();
        let module =
            naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&source)));
        let mut capabilities = Capabilities::default();
        if source.contains("subgroup") {
            assert!(label.contains("broadcast"), "{label} uses subgroups");
            capabilities |= Capabilities::SUBGROUP;
        }
        if source.contains("unpack2x16float") {
            assert!(label.contains("f16"), "{label} unpacks halves");
            capabilities |= Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        }
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{label}: {}", e.emit_to_string(&source)));

        let constants: PipelineConstants =
            kernel.constants.iter().map(|&(name, value)| (name.to_string(), f64::from(value))).collect();
        let stage = (naga::ShaderStage::Compute, "main".to_string());
        let (module, info) = process_overrides(&module, &info, Some((stage.0, &stage.1)), &constants)
            .unwrap_or_else(|e| panic!("{label}: {e}"));

        let invocations: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(invocations <= MAX_INVOCATIONS, "{label}: {invocations} invocations");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, v)| layouter[v.ty].size).sum();
        assert!(bytes <= MAX_STORAGE, "{label}: {bytes} bytes of workgroup memory");

        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        let entry = spv::PipelineOptions { shader_stage: stage.0, entry_point: stage.1.clone() };
        spv::write_vec(&module, &info, &options, Some(&entry)).unwrap_or_else(|e| panic!("{label}: SPIR-V: {e}"));

        let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, ..Default::default() };
        let entry = hlsl::PipelineOptions { entry_point: Some(stage.clone()) };
        let mut text = String::new();
        let written = hlsl::Writer::new(&mut text, &options, &entry).write(&module, &info, None);
        written.unwrap_or_else(|e| panic!("{label}: HLSL: {e}"));

        let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
        let entry = msl::PipelineOptions { entry_point: Some(stage), ..Default::default() };
        msl::write_string(&module, &info, &options, &entry).unwrap_or_else(|e| panic!("{label}: MSL: {e}"));
    }
}
