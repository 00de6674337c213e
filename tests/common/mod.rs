//! What the tests on a device share.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::OnceLock;

use alexnet_wgpu::{Family, Gpu, GpuOptions, Storage, Style, wgpu};

/// The device that the tests run on: the best of the machine, or the one that the environment variable
/// `ALEXNET_ADAPTER` names.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let _ = env_logger::try_init();
        let options = GpuOptions { adapter: std::env::var("ALEXNET_ADAPTER").ok(), backends: None };
        let gpu = Gpu::open(&options).unwrap_or_else(|e| panic!("{e}"));
        let info = gpu.info();
        println!("adapter: {} ({}, {})", info.name, info.backend, info.driver_info);
        gpu
    })
}

/// Every style that the device can run.
pub fn styles(gpu: &Gpu) -> Vec<Style> {
    let mut families = vec![Family::Tiled];
    if gpu.device().features().contains(wgpu::Features::SUBGROUP) {
        let lanes = gpu.info().subgroup_min_size;
        families.extend([4, 8, 16].into_iter().filter(|&l| l <= lanes).map(|lanes| Family::Broadcast { lanes }));
    }
    let all = |family| Storage::ALL.map(|storage| Style { family, storage });
    families.into_iter().flat_map(all).collect()
}
