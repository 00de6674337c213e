//! A network on a device: its resources, and how runs are recorded.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use wgpu::{Buffer, CommandEncoder};

use super::{RunError, TopEntry, builder::Settings, executable::Executable, memory::Memory, ticket};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::KernelConfig,
    lower::{Inference, LayerOutput},
    network::{Layer, Network},
    program::Step,
    weights::Weights,
};

/// A network on a device, ready to run any number of times.
///
/// Pipelines on the same device share it, and the shaders that they have in common. Threads may share a pipeline: each
/// run is complete, and runs execute in the order of their submissions. For this, a run must be one command buffer with
/// the input and the layers ([`Input::encode`](crate::Input::encode) and [`Pipeline::encode`] with the same encoder),
/// or one call of [`Pipeline::run`] or its like.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) gpu: Gpu,
    pub(super) network: Network,
    pub(super) weights: Weights,
    pub(super) settings: Settings,
    pub(super) config: KernelConfig,
    pub(super) inference: Inference,
    pub(super) executable: Executable,
    /// Readback buffers of the tickets.
    pub(super) ring: ticket::Ring<Vec<Vec<TopEntry>>>,
    /// Layers that each run copies, by the step after which it copies them.
    pub(super) kept: Vec<Kept>,
    /// The number of the run that began last.
    pub(super) runs: AtomicU64,
}

/// A copy of one layer's activation.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) layer: String,
    pub(super) output: LayerOutput,
    pub(super) buffer: Buffer,
}

/// A copy of an activation to a buffer after some step.
pub(super) struct Copy<'a> {
    pub(super) output: LayerOutput,
    pub(super) buffer: &'a Buffer,
}

impl Pipeline {
    /// Returns the device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Returns the network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the batch size: images per run.
    pub fn batch(&self) -> usize {
        self.settings.batch
    }

    /// Returns the kernel configuration.
    pub fn kernel_config(&self) -> KernelConfig {
        self.config
    }

    /// Returns the layer's name and the kernel of each step.
    pub fn kernels(&self) -> impl Iterator<Item = (&str, String)> {
        self.steps().map(|(layer, kernel)| (layer.name.as_str(), kernel))
    }

    /// Returns the size in bytes of its buffers and textures on the device.
    pub fn device_bytes(&self) -> u64 {
        self.executable.bytes() + self.kept.iter().map(|kept| kept.buffer.size()).sum::<u64>()
    }

    /// The layer of each step, and a short description of its first kernel.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Layer, String)> {
        let Inference { program, forward, .. } = &self.inference;
        let step = |step: &Step| {
            let kernel = program.dispatches_of(step).first().map(|dispatch| dispatch.kernel.label());
            (&self.network.layers()[step.layer], kernel.unwrap_or_default())
        };
        program.steps[..*forward].iter().map(step)
    }

    /// The memory of the input.
    pub(super) fn input(&self) -> &Memory {
        self.executable.memory(self.inference.input)
    }

    /// Writes the input: `batch` preprocessed images in CHW order. It takes effect with the next submission to the
    /// queue by any thread, so threads that share a pipeline should fill it from their own buffers instead
    /// ([`Pipeline::buffer_input`]).
    ///
    /// # Errors
    ///
    /// [`RunError::Input`] when the length does not match the batch, [`RunError::OutOfMemory`] when the device has no
    /// memory for a copy of it.
    pub fn write_input(&self, input: &[f32]) -> Result<(), RunError> {
        let input = self.lay_out(input)?;
        let scopes = Scopes::push(self.gpu.device());
        self.input().write(self.gpu.queue(), &input);
        scopes.pop_now().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Converts the input to its layout on the device.
    pub(super) fn lay_out(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        let shape = self.network.input();
        if input.len() != shape.len() * self.batch() {
            return Err(RunError::Input { expected: shape.len() * self.batch(), found: input.len() });
        }
        Ok(self.inference.lay_out(shape, input))
    }

    /// Records one run on the input in place into `encoder`: every layer, then the largest outputs. The host submits
    /// the encoder.
    pub fn encode(&self, encoder: &mut CommandEncoder) {
        self.begin_run();
        self.encode_kept(encoder, 0..self.inference.forward);
        self.encode_top(encoder);
    }

    /// Begins a run, which overwrites the previous one. Returns its number, unique among the runs of all pipelines.
    pub(super) fn begin_run(&self) -> u64 {
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let run = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        self.runs.fetch_max(run, Ordering::Relaxed);
        run
    }

    /// Records steps, and copies of the kept activations.
    pub(super) fn encode_kept(&self, encoder: &mut CommandEncoder, steps: Range<usize>) {
        self.encode_copies(encoder, steps, vec![]);
    }

    /// Records steps, copies of the kept activations, and the given copies.
    pub(super) fn encode_copies(&self, encoder: &mut CommandEncoder, steps: Range<usize>, further: Vec<Copy<'_>>) {
        let kept = self.kept.iter().map(|kept| Copy { output: kept.output, buffer: &kept.buffer });
        let within = |copy: &Copy<'_>| {
            let after = copy.output.steps;
            (steps.start < after && after <= steps.end) || (after == 0 && steps.start == 0)
        };
        let mut copies: Vec<_> = kept.chain(further).filter(within).collect();
        // An activation can be copied when a pass ends, before later layers overwrite it.
        copies.sort_by_key(|copy| copy.output.steps);
        let mut from = steps.start;
        for Copy { output, buffer } in copies {
            self.executable.encode(encoder, from..output.steps, None);
            from = output.steps;
            self.executable.memory(output.array).copy_to(encoder, self.quads(output), buffer);
        }
        self.executable.encode(encoder, from..steps.end, None);
    }

    pub(super) fn encode_top(&self, encoder: &mut CommandEncoder) {
        let Inference { program, forward, .. } = &self.inference;
        self.executable.encode(encoder, *forward..program.steps.len(), None);
    }

    /// The buffer of the largest outputs, and their number per image.
    pub(super) fn top(&self) -> Option<(&Buffer, usize)> {
        let (array, k) = self.inference.top?;
        match self.executable.memory(array) {
            Memory::Buffer(buffer) => Some((buffer, k)),
            Memory::Texture(..) => None,
        }
    }

    /// Returns the buffer of each image's largest outputs from the last run: `batch` × `k` of
    /// [`TopEntry`](crate::TopEntry), largest first. It is a storage buffer that the host's shaders can read. `None`
    /// where the network does not end in a vector.
    pub fn top_buffer(&self) -> Option<&Buffer> {
        self.top().map(|(entries, _)| entries)
    }

    /// Returns the buffer with the activation, from the last run, of a layer named in
    /// [`PipelineBuilder::keep`](crate::PipelineBuilder::keep). It is a storage buffer that the host's shaders can
    /// read: `[picture][row][column][channel / 4]` of `vec4<f32>`, channels last and padded with zeros.
    pub fn kept(&self, name: &str) -> Option<&Buffer> {
        self.kept.iter().find(|kept| kept.layer == name).map(|kept| &kept.buffer)
    }

    /// Records a run up to the last of `layers`, and a copy of each one's activation to the start of its buffer:
    /// `batch` times `[row][column][channel]` of f32, with the channels padded with zeros to a multiple of four.
    /// Results computed after that layer keep the values of an earlier run: the largest outputs
    /// ([`Pipeline::top_buffer`]), and the later kept layers ([`Pipeline::kept`]).
    ///
    /// Each buffer needs the usage `COPY_DST` and at least [`Pipeline::activation_bytes`] bytes; wgpu checks both when
    /// the encoder is submitted.
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

    pub(super) fn copies<'b>(&self, layers: &[(&str, &'b Buffer)]) -> Result<Vec<Copy<'b>>, RunError> {
        let copy = |&(name, buffer): &(&str, &'b Buffer)| Ok(Copy { output: self.output(name)?, buffer });
        layers.iter().map(copy).collect()
    }

    /// Returns the number of bytes that [`Pipeline::encode_layers`] writes for the layer called `name`.
    ///
    /// # Errors
    ///
    /// [`RunError::Layer`] when the name is unknown.
    pub fn activation_bytes(&self, name: &str) -> Result<u64, RunError> {
        let output = self.output(name)?;
        Ok(self.executable.memory(output.array).copy_size(self.quads(output)))
    }

    /// The output of the layer called `name`.
    pub(super) fn output(&self, name: &str) -> Result<LayerOutput, RunError> {
        Ok(self.inference.layers[self.network.position(name)?])
    }

    /// The size of an output in vec4s.
    pub(super) fn quads(&self, output: LayerOutput) -> u64 {
        self.inference.program.get(output.array).len()
    }
}
