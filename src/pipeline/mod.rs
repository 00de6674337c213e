//! A network on a device: kernels chosen, weights packed and uploaded, bind groups chained.
//!
//! [`Pipeline::builder`] does all of that once; a run is then one encode, one submission and one small
//! readback.
//!
//! What is made when, for hosts that share their device: [`Builder::build`] makes every buffer, texture, pipeline and
//! bind group, submits the uploads and polls the device once in a while. [`Pipeline::texture_input`] and
//! [`Pipeline::buffer_input`] make a bind group and a uniform. Whatever records into an encoder of the host
//! ([`Pipeline::encode`], [`Pipeline::encode_slice`], [`Pipeline::ticket`], [`Input::encode`]) makes nothing on the
//! device, and neither submits nor polls. [`Pipeline::run`] and its kind make a readback buffer, submit and wait.

#[cfg(not(target_arch = "wasm32"))]
mod ceilings;
mod compile;
#[cfg(test)]
mod conformance;
pub(crate) mod examine;
mod executable;
mod input;
mod list;
mod memory;
mod profile;
mod requirements;
mod slice;
mod ticket;
mod tune;
#[cfg(not(target_arch = "wasm32"))]
mod wait;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use wgpu::{Buffer, BufferUsages, CommandEncoder};

#[cfg(not(target_arch = "wasm32"))]
pub use ceilings::Ceilings;
pub use compile::Checks;
pub use input::{Input, InputError, TextureSource};
pub use list::{PlannedDispatch, plan};
pub use profile::LayerTime;
pub use slice::Slices;
pub use ticket::Ticket;
pub use tune::{Candidate, Choice, TuneError, Tuning};

use crate::{
    gpu::{Gpu, Shortfall},
    kernels::{Algorithm, Precision, Style, activation_quads},
    lower::{Inference, LayerOutput},
    network::{Layer, Network, NetworkError},
    program::{Algorithms, Options, ProgramError, Step},
    scopes::Scopes,
    select::{self, Denial, Denials},
    shape::Shape,
    weights::{Weights, WeightsError},
};
use executable::Executable;
use input::Layout;
use memory::Memory;

/// A network on a device, ready to run any number of times.
///
/// Several pipelines share a device, and the shaders that they have in common. Threads share a pipeline: each run is
/// whole, one after another in the order of their submissions. A run is then the input and the encoded layers in one
/// command buffer ([`Input::encode`] and [`Pipeline::encode`] with the same encoder), or a call of [`Pipeline::run`]
/// or its kind.
#[derive(Debug)]
pub struct Pipeline {
    gpu: Gpu,
    network: Network,
    weights: Weights,
    settings: Settings,
    style: Style,
    inference: Inference,
    executable: Executable,
    /// Where tickets read the largest outputs from.
    ring: ticket::Ring,
    /// Layers that each run copies, by the step after which it does.
    kept: Vec<Kept>,
    /// The number of the run that began last.
    runs: AtomicU64,
}

/// A copy of one layer's activation.
#[derive(Debug)]
struct Kept {
    layer: String,
    output: LayerOutput,
    quads: u64,
    buffer: Buffer,
}

/// That an activation is copied to a buffer after some step.
struct Copy<'a> {
    output: LayerOutput,
    quads: u64,
    buffer: &'a Buffer,
}

/// One of the largest outputs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Entry {
    /// Index of the class.
    pub index: u32,
    /// Its output: a probability where the network ends in a softmax.
    pub value: f32,
}

/// What a pipeline is made of; see [`Pipeline::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<'a> {
    gpu: &'a Gpu,
    network: &'a Network,
    weights: &'a Weights,
    settings: Settings,
    progress: Option<Progress<'a>>,
}

/// Who is told how many bytes of how many are uploaded.
#[derive(Clone, Copy)]
struct Progress<'a>(&'a (dyn Fn(u64, u64) + Sync));

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// What a [`Builder`] is told.
#[derive(Clone, Debug)]
struct Settings {
    batch: usize,
    top: usize,
    style: Option<Style>,
    algorithms: Algorithms,
    precision: Precision,
    /// Besides those of the device.
    denials: Denials,
    checks: Checks,
    keep: Vec<String>,
    tickets: usize,
}

impl<'a> Builder<'a> {
    /// Pictures a run, 1 to [`MAX_BATCH`]; 1 by default.
    pub fn batch(mut self, batch: usize) -> Self {
        self.settings.batch = batch;
        self
    }

    /// How many of the largest outputs [`Pipeline::run_top`] finds; 5 by default, never more than there are outputs.
    pub fn top(mut self, k: usize) -> Self {
        self.settings.top = k;
        self
    }

    /// Which kernels; what suits the adapter best by default.
    pub fn style(mut self, style: Style) -> Self {
        self.settings.style = Some(style);
        self
    }

    /// How the convolution called `layer` is computed; what suits the adapter best by default. A layer that the network does
    /// not have is an error of [`Builder::build`].
    pub fn algorithm(mut self, layer: impl Into<String>, algorithm: Algorithm) -> Self {
        self.settings.algorithms.insert(layer.into(), algorithm);
        self
    }

    /// How the fully connected layers' weights are held on the device; [`Precision::F32`] by default.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.settings.precision = precision;
        self
    }

    /// Has the planner avoid a kernel variant, besides those that [`Gpu::deny`] named. What [`Builder::style`] and
    /// [`Builder::algorithm`] ask for is used all the same.
    pub fn deny(mut self, denial: Denial) -> Self {
        self.settings.denials.0.push(denial);
        self
    }

    /// Whether shaders check every index.
    pub fn checks(mut self, checks: Checks) -> Self {
        self.settings.checks = checks;
        self
    }

    /// Copies the activation of the layer called `name` in every run, to where [`Pipeline::kept`] finds it. Layers
    /// write over each other otherwise.
    pub fn keep(mut self, name: impl Into<String>) -> Self {
        self.settings.keep.push(name.into());
        self
    }

    /// How many tickets ([`Pipeline::ticket`]) may be open at once, each with a small buffer; 3 by default.
    pub fn tickets(mut self, tickets: usize) -> Self {
        self.settings.tickets = tickets;
        self
    }

    /// Has [`Builder::build`] say after each piece how many bytes of weights are uploaded, of how many; on its own thread.
    pub fn progress(mut self, progress: &'a (dyn Fn(u64, u64) + Sync)) -> Self {
        self.progress = Some(Progress(progress));
        self
    }

    /// Compiles, packs, uploads and chains.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when the weights do not fit the network, the network does not fit the adapter, or the
    /// driver refuses.
    pub fn build(self) -> Result<Pipeline, PipelineError> {
        let Self { gpu, network, weights, settings, progress } = self;
        let Settings { batch, top, precision, checks, .. } = settings;
        let device = gpu.device();
        for layer in settings.algorithms.keys().chain(&settings.keep) {
            network.position(layer)?;
        }
        let denials = gpu.denials().and(&settings.denials);
        let allowed = || select::allowed_style(gpu.info(), device.features(), &denials);
        let denied = || PipelineError::Denied { denials: denials.clone() };
        let style = settings.style.or_else(allowed).ok_or_else(denied)?;
        let mut algorithms = settings.algorithms.clone();
        select::avoid_algorithms(network, style, batch, &denials, &mut algorithms);
        requirements::check(gpu, network, &settings, style)?;
        if let Some(reason) = select::refusal(gpu.info(), device.features(), style) {
            return Err(PipelineError::Style { reason });
        }
        weights.check(network)?;

        let limit = Memory::limit(device, style.storage);
        let options = Options { style, batch, precision, algorithms: &algorithms, limit, top: top.max(1) };
        let inference = Inference::lower(network, options)?;
        let scopes = Scopes::push(device);
        input::compile_kernels(gpu, Layout::new(network.input(), inference.input_layout), style.storage, batch)?;
        let progress = progress.map(|Progress(progress)| progress);
        let executable = Executable::load(gpu, &inference.program, weights, checks, progress)?;
        let ring = ticket::Ring::new(device, settings.tickets, batch, inference.top.map_or(0, |(_, k)| k));

        let mut kept = Vec::new();
        for name in &settings.keep {
            let index = network.position(name)?;
            let output = inference.layers[index];
            let quads = (activation_quads(network.layers()[index].output) * batch) as u64;
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(name),
                size: executable.memory(output.array).copy_size(quads),
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            kept.push(Kept { layer: name.clone(), output, quads, buffer });
        }
        if let Some(error) = scopes.pop_now() {
            return Err(error.into());
        }
        Ok(Pipeline {
            gpu: gpu.clone(),
            network: network.clone(),
            weights: weights.clone(),
            settings,
            style,
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
    pub fn builder<'a>(gpu: &'a Gpu, network: &'a Network, weights: &'a Weights) -> Builder<'a> {
        let settings = Settings {
            batch: 1,
            top: 5,
            style: None,
            algorithms: BTreeMap::new(),
            precision: Precision::default(),
            denials: Denials::default(),
            checks: Checks::default(),
            keep: Vec::new(),
            tickets: 3,
        };
        Builder { gpu, network, weights, settings, progress: None }
    }

    /// The same pipeline on another device: for when the device was lost. The weights are those that the first one was
    /// built from; they stay where they were (a memory map, mostly), and are not read meanwhile.
    ///
    /// What the [`Builder`] was told stays, what suits the device is chosen anew: where the new one is another adapter, kernels
    /// and their times may differ, and its own denials ([`Gpu::deny`]) count, not those of the old one. Whatever else was made
    /// for the old pipeline must be made anew: each [`Input`] (the textures and buffers that it reads were lost as well), and
    /// [`Slices`], whose measured times are those of other kernels.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn rebuild(&self, gpu: &Gpu) -> Result<Self, PipelineError> {
        let Self { network, weights, settings, .. } = self;
        Builder { gpu, network, weights, settings: settings.clone(), progress: None }.build()
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Pictures a run.
    pub fn batch(&self) -> usize {
        self.settings.batch
    }

    /// Which kernels run.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Layer and kernel of each step.
    pub fn kernels(&self) -> impl Iterator<Item = (&str, String)> {
        self.steps().map(|(layer, kernel)| (layer.name.as_str(), kernel))
    }

    /// Bytes of buffers and textures on the device.
    pub fn device_bytes(&self) -> u64 {
        self.executable.bytes() + self.kept.iter().map(|kept| kept.buffer.size()).sum::<u64>()
    }

    /// The layer of each step, and its first kernel in a few words.
    fn steps(&self) -> impl Iterator<Item = (&Layer, String)> {
        let Inference { program, forward, .. } = &self.inference;
        let step = |step: &Step| {
            let kernel = program.dispatches_of(step).first().map(|dispatch| dispatch.kernel.label());
            (&self.network.layers()[step.layer], kernel.unwrap_or_default())
        };
        program.steps[..*forward].iter().map(step)
    }

    /// Where the input lies.
    fn input(&self) -> &Memory {
        self.executable.memory(self.inference.input)
    }

    /// Writes the input: `batch` pictures in CHW order, as the network sees them. It takes effect with the next
    /// submission to the queue, whoever makes it: threads that share a pipeline fill it from their own buffers instead
    /// ([`Pipeline::buffer_input`]).
    ///
    /// # Errors
    ///
    /// [`RunError::Input`] when the length is not that of the batch, [`RunError::OutOfMemory`] when the device has no memory
    /// for a copy of it.
    pub fn write_input(&self, input: &[f32]) -> Result<(), RunError> {
        let input = self.lay_out(input)?;
        let scopes = Scopes::push(self.gpu.device());
        self.input().write(self.gpu.queue(), &input);
        scopes.pop_now().map_or(Ok(()), |error| Err(error.into()))
    }

    /// The input as it lies on the device.
    fn lay_out(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        let shape = self.network.input();
        if input.len() != shape.len() * self.batch() {
            return Err(RunError::Input { expected: shape.len() * self.batch(), found: input.len() });
        }
        let quads = self.inference.input_layout.map_or(activation_quads(shape), |l| l.quads());
        let mut laid_out = vec![0.0f32; quads * 4 * self.batch()];
        for (picture, out) in input.chunks_exact(shape.len()).zip(laid_out.chunks_exact_mut(quads * 4)) {
            match self.inference.input_layout {
                Some(layout) => layout.write(picture, out),
                None => from_chw(picture, shape, out),
            }
        }
        Ok(laid_out)
    }

    /// Records one run into `encoder`, on the input that lies there: every layer, then the largest outputs. The host
    /// submits it.
    pub fn encode(&self, encoder: &mut CommandEncoder) {
        self.begin_run();
        self.encode_kept(encoder, 0..self.inference.forward);
        self.encode_top(encoder);
    }

    /// Notes that a run writes over what another one left; gives its number, which no run of any pipeline has had.
    fn begin_run(&self) -> u64 {
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let run = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        self.runs.fetch_max(run, Ordering::Relaxed);
        run
    }

    /// Records steps, and copies of the activations that are to be kept.
    fn encode_kept(&self, encoder: &mut CommandEncoder, steps: Range<usize>) {
        self.encode_copies(encoder, steps, vec![]);
    }

    /// The same with further copies.
    fn encode_copies(&self, encoder: &mut CommandEncoder, steps: Range<usize>, further: Vec<Copy<'_>>) {
        let kept = self.kept.iter().map(|kept| Copy { output: kept.output, quads: kept.quads, buffer: &kept.buffer });
        let within = |copy: &Copy<'_>| {
            let after = copy.output.steps;
            (steps.start < after && after <= steps.end) || (after == 0 && steps.start == 0)
        };
        let mut copies: Vec<_> = kept.chain(further).filter(within).collect();
        // The end of the pass is where an activation can be copied before later layers write over it.
        copies.sort_by_key(|copy| copy.output.steps);
        let mut from = steps.start;
        for Copy { output, quads, buffer } in copies {
            self.executable.encode(encoder, from..output.steps, None);
            from = output.steps;
            self.executable.memory(output.array).copy_to(encoder, quads, buffer);
        }
        self.executable.encode(encoder, from..steps.end, None);
    }

    fn encode_top(&self, encoder: &mut CommandEncoder) {
        let Inference { program, forward, .. } = &self.inference;
        self.executable.encode(encoder, *forward..program.steps.len(), None);
    }

    /// The buffer of the largest outputs, and how many there are for a picture.
    fn top(&self) -> Option<(&Buffer, usize)> {
        let (array, k) = self.inference.top?;
        match self.executable.memory(array) {
            Memory::Buffer(buffer) => Some((buffer, k)),
            Memory::Texture(..) => None,
        }
    }

    /// The largest outputs of each picture as the last run left them on the device: `batch` × `k` of [`Entry`], largest
    /// first. A storage buffer for shaders of the host; `None` where the network does not end in a vector.
    pub fn top_buffer(&self) -> Option<&Buffer> {
        self.top().map(|(entries, _)| entries)
    }

    /// The activation of a layer that [`Builder::keep`] named, as the last run left it on the device. A storage buffer
    /// for shaders of the host: `[picture][row][column][channel / 4]` of `vec4<f32>`, channels last and padded with
    /// zeros.
    pub fn kept(&self, name: &str) -> Option<&Buffer> {
        self.kept.iter().find(|kept| kept.layer == name).map(|kept| &kept.buffer)
    }

    /// Runs the network and reads the last layer: `batch` outputs, CHW each. As [`Pipeline::encode`], it leaves the largest outputs
    /// and the layers to be kept on the device.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the input has the wrong length, the memory cannot be had or the device is lost.
    pub async fn run(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        let last = self.network.layers().last().map(|l| l.name.as_str()).unwrap_or_default();
        let mut activations = self.run_layers(input, &[last]).await?;
        Ok(activations.pop().unwrap_or_default())
    }

    /// Runs the network and reads the activations of the layers called `names`: for each, `batch` activations in
    /// CHW order.
    ///
    /// # Errors
    ///
    /// [`RunError`] when a name is unknown, the input has the wrong length, the memory cannot be had or the device is lost.
    pub async fn run_layers(&self, input: &[f32], names: &[&str]) -> Result<Vec<Vec<f32>>, RunError> {
        let input = self.lay_out(input)?;
        let reading = self
            .submit(|encoder| {
                let mut reads = Vec::new();
                for name in names {
                    reads.push(self.readback(self.activation_bytes(name)?));
                }
                let layers: Vec<(&str, &Buffer)> = names.iter().copied().zip(&reads).collect();
                let copies = self.copies(&layers)?;
                self.encode_input(encoder, &input)?;
                self.begin_run();
                self.encode_copies(encoder, 0..self.inference.forward, copies);
                self.encode_top(encoder);
                Ok(reads)
            })
            .await?;
        let mut activations = Vec::new();
        for (name, values) in names.iter().zip(self.read(reading).await?) {
            activations.push(to_chw(&values, self.network.layer(name)?.output, self.batch()));
        }
        Ok(activations)
    }

    /// Records a run as far as the last of `layers`, and a copy of each one's activation to the start of its buffer:
    /// `batch` times `[row][column][channel]` of f32, the channels padded with zeros to whole fours. What is computed after that
    /// layer stays as an earlier run left it: the largest outputs ([`Pipeline::top_buffer`]), and later ones of the layers that
    /// are kept ([`Pipeline::kept`]).
    ///
    /// A buffer needs `COPY_DST` and at least [`Pipeline::activation_bytes`]; wgpu checks that when the encoder is
    /// submitted.
    ///
    /// # Errors
    ///
    /// [`RunError::Layer`] when a name is unknown.
    pub fn encode_layers(&self, encoder: &mut CommandEncoder, layers: &[(&str, &Buffer)]) -> Result<(), RunError> {
        let copies = self.copies(layers)?;
        let last = copies.iter().map(|copy| copy.output.steps).max().unwrap_or(0);
        self.begin_run();
        self.encode_copies(encoder, 0..last, copies);
        Ok(())
    }

    fn copies<'b>(&self, layers: &[(&str, &'b Buffer)]) -> Result<Vec<Copy<'b>>, RunError> {
        let copy = |&(name, buffer): &(&str, &'b Buffer)| {
            let (output, quads) = self.output(name)?;
            Ok(Copy { output, quads, buffer })
        };
        layers.iter().map(copy).collect()
    }

    /// Bytes that [`Pipeline::encode_layers`] writes for the layer called `name`.
    ///
    /// # Errors
    ///
    /// [`RunError::Layer`] when the name is unknown.
    pub fn activation_bytes(&self, name: &str) -> Result<u64, RunError> {
        let (output, quads) = self.output(name)?;
        Ok(self.executable.memory(output.array).copy_size(quads))
    }

    /// Where the output of the layer called `name` is, and its vec4s.
    fn output(&self, name: &str) -> Result<(LayerOutput, u64), RunError> {
        let index = self.network.position(name)?;
        let quads = activation_quads(self.network.layers()[index].output) * self.batch();
        Ok((self.inference.layers[index], quads as u64))
    }

    /// Runs the network and reads the largest outputs of each picture, largest first.
    ///
    /// # Errors
    ///
    /// [`RunError::NotAVector`] when the last layer's output is not a vector, [`RunError::NotANumber`] when the
    /// outputs are not numbers; otherwise as [`Pipeline::run`].
    pub async fn run_top(&self, input: &[f32]) -> Result<Vec<Vec<Entry>>, RunError> {
        let input = self.lay_out(input)?;
        self.run_top_on(Some(&input)).await
    }

    /// [`Pipeline::run_top`] on the input that was written last.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    pub async fn run_top_again(&self) -> Result<Vec<Vec<Entry>>, RunError> {
        self.run_top_on(None).await
    }

    async fn run_top_on(&self, input: Option<&[f32]>) -> Result<Vec<Vec<Entry>>, RunError> {
        let Some((entries, k)) = self.top() else {
            return Err(RunError::NotAVector { output: self.network.output() });
        };
        let reading = self
            .submit(|encoder| {
                if let Some(input) = input {
                    self.encode_input(encoder, input)?;
                }
                self.encode(encoder);
                let buffer = self.readback(entries.size());
                encoder.copy_buffer_to_buffer(entries, 0, &buffer, 0, entries.size());
                Ok(vec![buffer])
            })
            .await?;
        pictures(self.read(reading).await?.concat(), k)
    }

    /// Records the writing of an input that is laid out already.
    fn encode_input(&self, encoder: &mut CommandEncoder, laid_out: &[f32]) -> Result<(), RunError> {
        let staged = self.input().copy_from(self.gpu.device(), encoder, laid_out);
        staged.ok_or_else(|| RunError::Device("there is no buffer for the input".into()))
    }

    /// Submits what `record` records, and begins to read the buffers that it gives. Whatever is made for a run is made in
    /// `record`: what the device refuses there is an error of the run. On the web, a pipeline that could not be made shows
    /// here.
    async fn submit(
        &self,
        record: impl FnOnce(&mut CommandEncoder) -> Result<Vec<Buffer>, RunError>,
    ) -> Result<Vec<Reading>, RunError> {
        let scopes = Scopes::push(self.gpu.device());
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        let recorded = record(&mut encoder);
        let reading = |buffer: Buffer| {
            let (send, mapped) = futures::channel::oneshot::channel();
            buffer.map_async(wgpu::MapMode::Read, .., move |result| {
                let _ = send.send(result);
            });
            Reading { buffer, mapped }
        };
        let readings = recorded.map(|buffers| {
            self.gpu.queue().submit([encoder.finish()]);
            buffers.into_iter().map(reading).collect()
        });
        match scopes.pop().await {
            Some(error) => Err(error.into()),
            None => readings,
        }
    }

    fn readback(&self, size: u64) -> Buffer {
        self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Waits for the buffers.
    async fn read<T: bytemuck::Pod>(&self, readings: Vec<Reading>) -> Result<Vec<Vec<T>>, RunError> {
        let mut all = Vec::new();
        for Reading { buffer, mapped } in readings {
            // On the web the browser polls.
            #[cfg(target_arch = "wasm32")]
            let result = mapped.await;
            #[cfg(not(target_arch = "wasm32"))]
            let result = wait::wait(self.gpu.device(), mapped).map_err(|e| RunError::Device(e.to_string()))?;
            match result {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(RunError::Device(e.to_string())),
                Err(_) => return Err(RunError::Device("the readback was dropped".into())),
            }
            let bytes = buffer.get_mapped_range(..).map_err(|e| RunError::Device(e.to_string()))?;
            all.push(bytemuck::pod_collect_to_vec(&bytes));
        }
        Ok(all)
    }
}

/// A buffer that is being read.
struct Reading {
    buffer: Buffer,
    mapped: Mapped,
}

type MapResult = Result<(), wgpu::BufferAsyncError>;
type Mapped = futures::channel::oneshot::Receiver<MapResult>;

/// The `k` entries of each picture.
fn pictures(entries: Vec<Entry>, k: usize) -> Result<Vec<Vec<Entry>>, RunError> {
    if entries.iter().any(|e| e.index == u32::MAX) {
        return Err(RunError::NotANumber);
    }
    Ok(entries.chunks_exact(k).map(<[Entry]>::to_vec).collect())
}

fn begin<'e>(
    encoder: &'e mut CommandEncoder,
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
) -> wgpu::ComputePass<'e> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("alexnet-wgpu"), timestamp_writes })
}

/// CHW to channels-last quads; `out` is zero.
fn from_chw(picture: &[f32], shape: Shape, out: &mut [f32]) {
    let padded = shape.channels.div_ceil(4) * 4;
    for (c, plane) in picture.chunks_exact(shape.height * shape.width).enumerate() {
        for (&value, pixel) in plane.iter().zip(out.chunks_exact_mut(padded)) {
            pixel[c] = value;
        }
    }
}

/// Channels-last quads to CHW.
fn to_chw(quads: &[f32], shape: Shape, batch: usize) -> Vec<f32> {
    let padded = shape.channels.div_ceil(4) * 4;
    let pixels = shape.height * shape.width;
    let mut out = Vec::with_capacity(shape.len() * batch);
    for picture in quads.chunks_exact(padded * pixels).take(batch) {
        for c in 0..shape.channels {
            out.extend(picture.iter().skip(c).step_by(padded));
        }
    }
    out
}

/// A pipeline that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The weights are not those of the network.
    #[error(transparent)]
    Tensors(#[from] WeightsError),
    /// The network cannot be lowered to dispatches, or its weights not be packed.
    #[error(transparent)]
    Program(ProgramError),
    /// The adapter cannot run the kernels asked for.
    #[error("these kernels do not run on this adapter: {reason}; leave the choice of style to the library")]
    Style {
        /// Why.
        reason: String,
    },
    /// There is no such layer to keep, or to compute by an algorithm.
    #[error(transparent)]
    Layer(#[from] NetworkError),
    /// The device was made without what the network needs.
    #[error(
        "{device} is too small for this network: expected {}; ask for it when making the device \
         (`Pipeline::required_features`, `required_limits`), or use a smaller batch",
        features.iter_names().map(|(name, _)| format!("the feature {name}"))
            .chain(shortfalls.iter().map(ToString::to_string)).collect::<Vec<_>>().join("; ")
    )]
    Requirements {
        /// The device, by its adapter's name.
        device: String,
        /// Every feature that the device lacks.
        features: wgpu::Features,
        /// Every limit of the device that is too low.
        shortfalls: Vec<Shortfall>,
    },
    /// Nothing is left that is not denied.
    #[error("every style of kernels that runs on this adapter is denied ({denials}): deny fewer")]
    Denied {
        /// What is denied.
        denials: Denials,
    },
    /// A shader does not compile on this adapter.
    #[error("kernel `{kernel}` does not compile on this adapter: {reason}; please report it with the adapter's name")]
    Shader {
        /// The kernel.
        kernel: String,
        /// What the compiler said.
        reason: String,
    },
    /// The device has too little memory.
    #[error("the device has too little memory for this network and batch: {0}; use a smaller batch")]
    OutOfMemory(String),
    /// The driver refused something.
    #[error(
        "the device refused to build the network: {0}; if it is not lost, please report it with the adapter's name"
    )]
    Device(String),
}

impl From<ProgramError> for PipelineError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Weights(error) => Self::Tensors(error),
            other => Self::Program(other),
        }
    }
}

impl From<wgpu::Error> for PipelineError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(error.to_string()),
            other => Self::Device(other.to_string()),
        }
    }
}

/// A run that gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input has the wrong length.
    #[error("expected an input of {expected} numbers (batch × channels × height × width), found {found}")]
    Input {
        /// Numbers that the batch takes.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// There is no such layer.
    #[error(transparent)]
    Layer(#[from] NetworkError),
    /// The network's output has no largest entries.
    #[error("expected a network that ends in a vector, found an output of {output}: read its layers instead")]
    NotAVector {
        /// The output's shape.
        output: Shape,
    },
    /// The outputs are NaN.
    #[error("the network's outputs are not numbers: check the input and the weights for very large values")]
    NotANumber,
    /// All tickets are open.
    #[error("all {tickets} tickets are open: take or drop an older one first, or build with more `tickets`")]
    Busy {
        /// How many there are.
        tickets: usize,
    },
    /// The command buffer that a ticket was recorded into was dropped.
    #[error("the run was recorded but never submitted: submit the encoder that `Pipeline::ticket` was given")]
    NotSubmitted,
    /// The device has too little memory for what the run reads and writes.
    #[error(
        "the device has too little memory for this run: {0}; read fewer layers at once, free other memory of the device, or \
         build with a smaller batch"
    )]
    OutOfMemory(String),
    /// The device was lost or refused.
    #[error("the device did not finish: {0}; it may be lost, make one again and `Pipeline::rebuild` on it")]
    Device(String),
}

impl From<wgpu::Error> for RunError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(error.to_string()),
            other => Self::Device(other.to_string()),
        }
    }
}
