//! A desktop app that shows what AlexNet sees: the library's example of a program that shares its GPU device.
//!
//! [`App`] is everything in the window and knows nothing of how the window is made; `main.rs` gives it one. The network
//! lives on a thread of its own ([`worker`]), and what it computes is drawn by the GPU where it lies ([`maps`]).

mod about;
mod app;
mod classes;
mod compare;
mod entry;
mod export;
mod filters;
pub mod heat;
mod legend;
mod likeness;
mod look;
pub mod maps;
mod menus;
mod messages;
mod numbers;
mod picture_panel;
pub mod pictures;
mod settings;
mod strip;
pub mod tiles;
mod train;
mod training;
mod undo;
mod views;
pub mod weights;
pub mod worker;
mod zoom;

pub use app::{App, Session};
pub use filters::Filters;
pub use settings::{Settings, View};

use alexnet_wgpu::wgpu;

/// What the window's device is asked for beyond what a window needs: what makes a network faster, where it is there.
pub fn device_descriptor(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
    let limits = adapter.limits();
    wgpu::DeviceDescriptor {
        label: Some("window and network"),
        required_features: adapter.features()
            & (wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY),
        required_limits: wgpu::Limits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_texture_dimension_2d: limits.max_texture_dimension_2d,
            ..wgpu::Limits::default().or_worse_values_from(&limits)
        },
        ..Default::default()
    }
}
