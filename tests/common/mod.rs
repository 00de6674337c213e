//! Shared functions of the tests on a device.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::OnceLock;

use alexnet_wgpu::{
    Checks, Family, Gpu, GpuOptions, KernelConfig, Layer, Op, Precision, Storage, Tensor, Weights, reference, wgpu,
};

/// The device for the tests: the machine's best, or the one named in the environment variable `ALEXNET_ADAPTER`. With
/// `ALEXNET_SHADER_CHECKS=1`, shaders check every index.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let _ = env_logger::try_init();
        let options = GpuOptions::default().adapter(std::env::var("ALEXNET_ADAPTER").ok());
        let checks = std::env::var("ALEXNET_SHADER_CHECKS").is_ok_and(|value| value == "1");
        let gpu = Gpu::open_blocking(&options).unwrap_or_else(|e| panic!("{e}")).with_checks(if checks {
            Checks::On
        } else {
            Checks::Off
        });
        let info = gpu.info();
        println!("adapter: {} ({}, {})", info.name, info.backend, info.driver_info);
        gpu
    })
}

/// Every kernel configuration that the device can run.
pub fn configs(gpu: &Gpu) -> Vec<KernelConfig> {
    let mut families = vec![Family::WorkgroupTiled];
    if gpu.device().features().contains(wgpu::Features::SUBGROUP) {
        let lanes = gpu.info().subgroup_min_size;
        families
            .extend([4, 8, 16].into_iter().filter(|&l| l <= lanes).map(|lanes| Family::SubgroupBroadcast { lanes }));
    }
    let all = |family| Storage::ALL.map(|storage| KernelConfig::new(family, storage));
    families.into_iter().flat_map(all).collect()
}

/// The error of `found` against the f64 twin's output for `x`, activations of several pictures: ‖found − twin‖ over the norm
/// of the sums of magnitudes. Rounding errors are in proportion to those, which unlike the result are free of cancellation.
pub fn layer_error(
    layer: &Layer,
    weights: &Weights,
    precision: Precision,
    x: &[f32],
    found: &[f32],
) -> Result<f64, String> {
    let twin = |weights: &Weights, x: &[f32]| -> Vec<f64> {
        let pictures = x.chunks_exact(layer.input.len()).map(|picture| {
            let picture: Vec<f64> = picture.iter().map(|&v| f64::from(v)).collect();
            reference::run_layer(layer, weights, &picture).unwrap()
        });
        pictures.flatten().collect()
    };
    let held = match layer.op {
        Op::Linear(_) => held_in(precision, &layer.name, weights),
        _ => weights.clone(),
    };
    let expected = twin(&held, x);
    let scale = match layer.op {
        Op::Conv(_) | Op::Linear(_) => {
            let magnitude = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<f32>>();
            let mut absolute = held;
            for (_, tensor) in absolute.iter_mut() {
                *tensor = Tensor::from_f32(tensor.shape(), magnitude(&tensor.to_f32()));
            }
            twin(&absolute, &magnitude(x))
        }
        _ => expected.clone(),
    };
    if found.len() != expected.len() {
        return Err(format!("{} numbers, expected {}", found.len(), expected.len()));
    }
    let difference: Vec<f64> = found.iter().zip(&expected).map(|(&f, e)| f64::from(f) - e).collect();
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    Ok(norm(&difference) / norm(&scale).max(1e-30))
}

/// The weights of a fully connected layer in a device's precision.
fn held_in(precision: Precision, layer: &str, weights: &Weights) -> Weights {
    let mut weights = weights.clone();
    let Some(tensor) = weights.get_mut(&format!("{layer}.weight")) else { return weights };
    let mut values = tensor.to_f32().to_vec();
    let output = values.len() / tensor.shape()[0];
    match precision {
        Precision::F32 => {}
        Precision::F16 => values.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32()),
        Precision::Int8 => {
            for output in values.chunks_exact_mut(output) {
                let scale = output.iter().fold(0.0f32, |max, v| max.max(v.abs())) / 127.0;
                output.iter_mut().for_each(|v| *v = (*v / scale).round() * scale);
            }
        }
        other => panic!("no twin holds weights in {other}"),
    }
    *tensor = Tensor::from_f32(tensor.shape(), values);
    weights
}
