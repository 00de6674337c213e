//! The builder of a pipeline.

use std::{collections::BTreeMap, fmt, sync::atomic::AtomicU64};

use wgpu::BufferUsages;

use super::{
    Pipeline, PipelineError, TopEntry, avoid,
    executable::Executable,
    input::{self, Layout},
    memory::Memory,
    pipeline::Kept,
    requirements,
    run::pictures,
    ticket,
};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::{Algorithm, Arithmetic, Checks, KernelConfig, Precision},
    lower::Inference,
    network::Network,
    program::{Algorithms, Options},
    select::{BlockedVariant, Blocklist},
    weights::Weights,
};

/// The number of largest outputs that a run finds by default.
pub(super) const TOP: usize = 5;

/// Builder of a [`Pipeline`]; see [`Pipeline::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PipelineBuilder<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) network: &'a Network,
    pub(super) weights: &'a Weights,
    pub(super) settings: Settings,
    pub(super) progress: Option<Progress<'a>>,
}

/// Callback for upload progress: bytes uploaded, and bytes in total.
#[derive(Clone, Copy)]
pub(super) struct Progress<'a>(&'a (dyn Fn(u64, u64) + Sync));

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// The settings of a [`PipelineBuilder`].
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) batch: usize,
    pub(super) top: usize,
    pub(super) config: Option<KernelConfig>,
    pub(super) algorithms: Algorithms,
    pub(super) precision: Precision,
    pub(super) arithmetic: Arithmetic,
    /// In addition to the device's blocklist.
    pub(super) blocklist: Blocklist,
    /// The device's setting where `None`.
    pub(super) checks: Option<Checks>,
    pub(super) keep: Vec<String>,
    pub(super) tickets: usize,
}

impl<'a> PipelineBuilder<'a> {
    /// Sets the batch size, 1 to [`MAX_BATCH`](crate::MAX_BATCH) images per run. The default is 1.
    pub fn batch(mut self, batch: usize) -> Self {
        self.settings.batch = batch;
        self
    }

    /// Sets how many of the largest outputs [`Pipeline::run_top`] finds, capped at the number of outputs. The default
    /// is 5.
    pub fn top(mut self, k: usize) -> Self {
        self.settings.top = k;
        self
    }

    /// Sets the kernel configuration. The default is the one that suits the adapter best.
    pub fn kernel_config(mut self, config: KernelConfig) -> Self {
        self.settings.config = Some(config);
        self
    }

    /// Sets the algorithm of the convolution or fully connected layer called `layer`. The default is the one that suits
    /// the adapter best. An unknown layer is an error of [`PipelineBuilder::build`].
    pub fn algorithm(mut self, layer: impl Into<String>, algorithm: Algorithm) -> Self {
        self.settings.algorithms.insert(layer.into(), algorithm);
        self
    }

    /// Sets the precision of the fully connected layers' weights on the device. The default is [`Precision::F32`].
    pub fn precision(mut self, precision: Precision) -> Self {
        self.settings.precision = precision;
        self
    }

    /// Sets how exactly products are computed. The default is [`Arithmetic::Exact`]. An explicit
    /// [`PipelineBuilder::kernel_config`] takes precedence.
    pub fn arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.settings.arithmetic = arithmetic;
        self
    }

    /// Makes the planner avoid a kernel variant, in addition to those of [`Gpu::avoid`]. An explicit
    /// [`PipelineBuilder::kernel_config`] or [`PipelineBuilder::algorithm`] takes precedence.
    pub fn avoid(mut self, blocked: BlockedVariant) -> Self {
        self.settings.blocklist.extend([blocked]);
        self
    }

    /// Sets whether shaders check every index. The default is the device's setting ([`Gpu::with_checks`]).
    pub fn checks(mut self, checks: Checks) -> Self {
        self.settings.checks = Some(checks);
        self
    }

    /// Copies the activation of the layer called `name` in every run to a buffer that [`Pipeline::kept`] returns.
    /// Without this, later layers overwrite it.
    pub fn keep(mut self, name: impl Into<String>) -> Self {
        self.settings.keep.push(name.into());
        self
    }

    /// Sets how many tickets ([`Pipeline::ticket`]) may be open at once. Each has a small buffer. The default is 3.
    pub fn tickets(mut self, tickets: usize) -> Self {
        self.settings.tickets = tickets;
        self
    }

    /// Sets a callback that [`PipelineBuilder::build`] calls after each piece of the upload, with the bytes of weights
    /// uploaded so far and in total. It runs on the thread that calls `build`.
    pub fn progress(mut self, progress: &'a (dyn Fn(u64, u64) + Sync)) -> Self {
        self.progress = Some(Progress(progress));
        self
    }

    /// Compiles the kernels, packs and uploads the weights, and makes the bind groups.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when the weights do not fit the network, the network does not fit the adapter, or the
    /// driver refuses.
    pub fn build(self) -> Result<Pipeline, PipelineError> {
        let Self { gpu, network, weights, settings, progress } = self;
        let Settings { batch, top, precision, checks, .. } = settings;
        let checks = checks.unwrap_or(gpu.checks());
        let device = gpu.device();
        for layer in settings.algorithms.keys().chain(&settings.keep) {
            network.position(layer)?;
        }
        let blocklist = gpu.blocklist().and(&settings.blocklist);
        let config = settings.config.map_or_else(|| avoid::allowed_config(gpu, &blocklist, settings.arithmetic), Ok)?;
        requirements::check_config(config)?;
        let mut algorithms = settings.algorithms.clone();
        avoid::avoid_algorithms(network, config, batch, &blocklist, &mut algorithms);
        requirements::check(gpu, network, &settings, config)?;
        if let Some(reason) = gpu.refusal(config) {
            return Err(PipelineError::KernelConfig { reason });
        }
        weights.check(network)?;

        let limit = Memory::limit(device, config.storage);
        let options = Options { config, batch, precision, algorithms: &algorithms, limit, top: top.max(1) };
        let inference = Inference::lower(network, options)?;
        let layout = Layout::new(network.input(), inference.input_layout);
        let input_kernels = input::kernels(layout, config.storage, batch)?;
        let compile_further = || input::compile_kernels(gpu, &input_kernels);
        let scopes = Scopes::push(device);
        let progress = progress.map(|Progress(progress)| progress);
        let executable = Executable::load(gpu, &inference.program, weights, checks, progress, compile_further)?;
        let k = inference.top.map_or(0, |(_, k)| k);
        let size = (batch * k * size_of::<TopEntry>()) as u64;
        let decode = move |bytes: &[u8]| pictures(bytemuck::pod_collect_to_vec(bytes), k);
        let ring = ticket::Ring::new(device, settings.tickets, size, decode);

        let mut kept = Vec::new();
        for name in &settings.keep {
            let output = inference.layers[network.position(name)?];
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(name),
                size: executable.memory(output.array).copy_size(inference.program.get(output.array).len()),
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            kept.push(Kept { layer: name.clone(), output, buffer });
        }
        if let Some(error) = scopes.pop_now() {
            return Err(error.into());
        }
        Ok(Pipeline {
            gpu: gpu.clone(),
            network: network.clone(),
            weights: weights.clone(),
            settings,
            config,
            inference,
            executable,
            ring,
            kept,
            runs: AtomicU64::new(0),
        })
    }
}

impl Pipeline {
    /// Starts a pipeline for `network` with `weights` on `gpu`.
    pub fn builder<'a>(gpu: &'a Gpu, network: &'a Network, weights: &'a Weights) -> PipelineBuilder<'a> {
        let settings = Settings {
            batch: 1,
            top: TOP,
            config: None,
            algorithms: BTreeMap::new(),
            precision: Precision::default(),
            arithmetic: Arithmetic::default(),
            blocklist: Blocklist::default(),
            checks: None,
            keep: Vec::new(),
            tickets: 3,
        };
        PipelineBuilder { gpu, network, weights, settings, progress: None }
    }

    /// Makes the same pipeline on another device, for use after the device was lost. The weights are the ones that the
    /// first pipeline was built from. They stay where they were (usually in a memory map), and are not read in the
    /// meantime.
    ///
    /// The settings of the [`PipelineBuilder`] are kept, and everything else is chosen anew to suit the device. On a
    /// different adapter, kernels and their times may differ. The new device's blocklist ([`Gpu::avoid`]) applies, not
    /// the old one's. Everything else that was made for the old pipeline must be made anew: each
    /// [`Input`](crate::Input), because the textures and buffers that it reads were lost too, and each
    /// [`FrameBudget`](crate::FrameBudget), because its measured times are those of other kernels.
    ///
    /// # Errors
    ///
    /// As [`PipelineBuilder::build`].
    pub fn rebuild(&self, gpu: &Gpu) -> Result<Self, PipelineError> {
        let Self { network, weights, settings, .. } = self;
        PipelineBuilder { gpu, network, weights, settings: settings.clone(), progress: None }.build()
    }
}
