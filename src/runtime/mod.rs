//! A network on a device: kernels chosen, weights packed and uploaded, bind groups made.
//!
//! [`Pipeline::builder`] does this once. A run is then one encode, one submission and one small readback.
//!
//! For hosts that share their device, this is where resources are made. [`PipelineBuilder::build`] makes every buffer,
//! texture, pipeline and bind group, submits the uploads, and polls the device now and then.
//! [`Pipeline::texture_input`] and [`Pipeline::buffer_input`] make a bind group and a uniform. The methods that record
//! into the host's encoder ([`Pipeline::encode`], [`Pipeline::encode_slice`], [`Pipeline::ticket`], [`Input::encode`])
//! make nothing on the device, and neither submit nor poll. [`Pipeline::run`] and its like make a readback buffer,
//! submit and wait.

pub(crate) mod avoid;
#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod bound_dispatch;
mod builder;
mod compile;
mod error;
pub(crate) mod executable;
mod frame_budget;
pub(crate) mod input;
mod list;
pub(crate) mod memory;
mod pipeline;
pub(crate) mod profile;
pub(crate) mod readback;
pub(crate) mod requirements;
#[cfg(not(target_arch = "wasm32"))]
mod roofline;
mod run;
pub(crate) mod ticket;
mod tune;
pub(crate) mod wait;

pub use builder::PipelineBuilder;
pub use error::{PipelineError, RunError};
pub use frame_budget::FrameBudget;
pub use input::{Input, InputError, TextureSource};
#[cfg(test)]
pub(crate) use input::{buffer_kernel, texture_kernel};
pub use list::{PlannedDispatch, device_bytes, plan};
pub use pipeline::Pipeline;
pub use profile::LayerTime;
#[cfg(not(target_arch = "wasm32"))]
pub use roofline::Roofline;
pub use run::TopEntry;
pub(crate) use run::to_chw;
pub use ticket::{LayerReadback, Ticket};
pub use tune::{Candidate, TuneError, TunedConfig, Tuning};

/// Begins a compute pass.
fn begin<'e>(
    encoder: &'e mut wgpu::CommandEncoder,
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
) -> wgpu::ComputePass<'e> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("alexnet-wgpu"), timestamp_writes })
}
