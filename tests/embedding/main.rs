//! The library inside a host's frame: on the host's device and in its encoder, with the same results as alone.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../common/mod.rs"]
mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    AlexNet, Algorithm, Blocklist, Conv, Family, FrameBudget, Gpu, Input, InputError, KernelConfig, LayerTime, Linear,
    Model, Network, Picture, Pipeline, PipelineError, Preprocessing, RunError, Shape, Storage, Tensor, TextureSource,
    TopEntry, Weights, splitmix, wgpu,
};
use pollster::block_on;
use wgpu::{BufferUsages, Features, Limits, TextureFormat, TextureUsages, util::DeviceExt as _};

/// The adapter of `common::gpu`, requested again.
fn adapter() -> wgpu::Adapter {
    instance().1
}

/// An instance of the host's own, and the adapter of `common::gpu` in it.
fn instance() -> (wgpu::Instance, wgpu::Adapter) {
    let info = common::gpu().info();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = info.backend.into();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = block_on(instance.enumerate_adapters(info.backend.into()));
    (instance, adapters.into_iter().find(|a| a.get_info().name == info.name).unwrap())
}

/// A device of the host's own.
fn host(required_features: Features, required_limits: Limits) -> (wgpu::Device, wgpu::Queue) {
    let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    block_on(adapter().request_device(&descriptor)).unwrap()
}

/// One kernel configuration of each family and each storage.
fn configs() -> [KernelConfig; 3] {
    let best = KernelConfig::for_adapter(&adapter());
    [
        KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer),
        KernelConfig::new(best.family, Storage::StorageBuffer),
        KernelConfig::new(best.family, Storage::StorageTexture),
    ]
}

fn tiny() -> (Network, Weights) {
    let network = AlexNet::UNGROUPED.width(0.05).head(8, 8).classes(10).network().unwrap();
    let weights = Weights::random(&network, 1);
    (network, weights)
}

/// A distinct random input.
fn noise(network: &Network, seed: u64) -> Vec<f32> {
    splitmix::uniform(seed, network.input().len(), 0.5)
}

fn submit(gpu: &Gpu, record: impl FnOnce(&mut wgpu::CommandEncoder)) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    record(&mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

fn wait(gpu: &Gpu) {
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
}

/// The contents of a buffer, read through a copy.
fn read<T: bytemuck::Pod>(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<T> {
    let copy = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    submit(gpu, |encoder| encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size()));
    copy.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    wait(gpu);
    let bytes = copy.get_mapped_range(..).unwrap();
    bytemuck::pod_collect_to_vec(&bytes)
}

/// The numbers of `input` in a buffer of the host.
fn own_input(gpu: &Gpu, pipeline: &Pipeline, input: &[f32]) -> Input {
    let buffer = gpu.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(input),
        usage: BufferUsages::STORAGE,
    });
    pipeline.buffer_input(buffer.as_entire_buffer_binding()).unwrap()
}

mod requirements;

mod inputs;

mod results;

mod frame_budget;

mod losses;

mod sharing;

#[cfg(target_os = "linux")]
mod memory;
