//! The gradient of a layer on a device.

use super::{
    ExplainError,
    program::{GradientOptions, GradientProgram, Values},
};
use crate::{
    activation::BackwardRule,
    gpu::{Gpu, error_scopes::Scopes},
    kernels::KernelConfig,
    network::Network,
    program::{Algorithms, Options},
    runtime::{
        PipelineError, RunError, avoid, executable::Executable, memory::Memory, readback, requirements, to_chw,
        wait::Poller,
    },
    shape::Shape,
    weights::Weights,
};

/// Builder of a [`LayerGradient`]; see [`LayerGradient::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct LayerGradientBuilder<'a> {
    gpu: &'a Gpu,
    network: &'a Network,
    weights: &'a Weights,
    of: Option<String>,
    by: Option<String>,
    rule: BackwardRule,
    batch: usize,
    config: Option<KernelConfig>,
}

/// The gradient of a layer's output with respect to the network's input, or to the output of an earlier layer.
///
/// ```
/// use alexnet_wgpu::{
///     Gpu, GpuOptions, Linear, Network, Shape,
///     explain::LayerGradient,
///     train::{Init, initial_weights},
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// let network = Network::builder("linear", Shape::vector(3)).linear("fc", Linear::new(2)).build()?;
/// let weights = initial_weights(&network, Init::Torch, 1);
/// let gradient = LayerGradient::builder(&gpu, &network, &weights).build()?;
/// // That of the second output is the second row of the weights.
/// let run = gradient.run_blocking(&[0.5, -1.0, 2.0], &[0.0, 1.0])?;
/// assert_eq!(run.gradient, weights.tensor("fc.weight")?.to_f32()[3..]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LayerGradient {
    gpu: Gpu,
    program: GradientProgram,
    executable: Executable,
}

/// The numbers of a [`LayerGradient`] for one or more images, each image's in CHW order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GradientRun {
    /// The output of the layer that is differentiated.
    pub output: Vec<f32>,
    /// The output of the layer by which it is; empty for the network's input.
    pub at: Vec<f32>,
    /// The gradient.
    pub gradient: Vec<f32>,
}

impl<'a> LayerGradientBuilder<'a> {
    /// Sets the layer whose output is differentiated. The default is the last one, or the one before a softmax at the end.
    pub fn of(mut self, layer: impl Into<String>) -> Self {
        self.of = Some(layer.into());
        self
    }

    /// Sets the earlier layer by whose output it is. The default is the network's input.
    pub fn by(mut self, layer: impl Into<String>) -> Self {
        self.by = Some(layer.into());
        self
    }

    /// Sets how gradients pass activation functions. The default is by their derivatives.
    pub fn rule(mut self, rule: BackwardRule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets the largest number of images of a run. The default is 1.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets the kernel configuration. The default is the one that suits the adapter best. Broadcast kernels of four lanes
    /// have no backward pass: tiled ones run instead.
    pub fn kernel_config(mut self, config: KernelConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Compiles the kernels, uploads the parameters, and allocates everything.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] when the network lacks a layer, the one does not come after the other, or the device cannot do it.
    pub fn build(self) -> Result<LayerGradient, ExplainError> {
        let Self { gpu, network, rule, batch, .. } = self;
        let last = crate::train::without_softmax(network).len().saturating_sub(1);
        let of = self.of.map_or(Ok(last), |name| network.position(&name))?;
        let by = self.by.map(|name| network.position(&name)).transpose()?;
        if by.is_some_and(|by| by >= of) {
            return Err(ExplainError::Option {
                expected: format!("a layer before `{}`", network.layers()[of].name),
                found: by.map_or_else(String::new, |by| format!("`{}`", network.layers()[by].name)),
            });
        }
        let weights =
            self.weights.of_network(&network.up_to(&network.layers()[of].name)?).map_err(PipelineError::from)?;
        let config = avoid::backward_config(gpu, self.config)?;
        let limit = Memory::limit(gpu.device(), config.storage);
        let algorithms = &Algorithms::new();
        let lowering = Options { config, batch, precision: Default::default(), algorithms, limit, top: 0 };
        let program =
            GradientProgram::lower(network, GradientOptions { lowering, of, by, rule }).map_err(PipelineError::from)?;
        requirements::check_program(gpu, &program.program, config)?;
        let scopes = Scopes::push(gpu.device());
        let executable = Executable::load(gpu, &program.program, &weights, gpu.checks(), None, || ())?;
        match scopes.pop_now() {
            Some(error) => Err(PipelineError::from(error).into()),
            None => Ok(LayerGradient { gpu: gpu.clone(), program, executable }),
        }
    }
}

impl LayerGradient {
    /// Starts a gradient of `network` with `weights` on `gpu`.
    pub fn builder<'a>(gpu: &'a Gpu, network: &'a Network, weights: &'a Weights) -> LayerGradientBuilder<'a> {
        LayerGradientBuilder {
            gpu,
            network,
            weights,
            of: None,
            by: None,
            rule: BackwardRule::default(),
            batch: 1,
            config: None,
        }
    }

    /// Returns the largest number of images of a run.
    pub fn batch(&self) -> usize {
        self.program.batch
    }

    /// Returns the shape of the network's input.
    pub fn input(&self) -> Shape {
        self.program.input.shape
    }

    /// Returns the shape of the output that is differentiated.
    pub fn output(&self) -> Shape {
        self.program.of.shape
    }

    /// Returns the shape of the gradient.
    pub fn shape(&self) -> Shape {
        self.program.gradient.shape
    }

    /// Returns the bytes on the device.
    pub fn device_bytes(&self) -> u64 {
        self.executable.bytes()
    }

    /// Computes the gradients of one or more images (N·CHW), up to the batch. `seeds` has as many outputs of the differentiated
    /// layer: the factor of each number, as it is before the layer's activation function. A 1 at a class, and zeros, give the
    /// gradient of this class's score.
    ///
    /// # Errors
    ///
    /// [`RunError::Input`] when the lengths do not fit, and errors of the device.
    pub async fn run(&self, inputs: &[f32], seeds: &[f32]) -> Result<GradientRun, RunError> {
        self.run_on(inputs, Some(seeds), Poller::Thread).await
    }

    /// Blocking form of [`LayerGradient::run`].
    ///
    /// # Errors
    ///
    /// As [`LayerGradient::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, inputs: &[f32], seeds: &[f32]) -> Result<GradientRun, RunError> {
        pollster::block_on(self.run_on(inputs, Some(seeds), Poller::Caller))
    }

    /// Computes the differentiated layer's output for one or more images, up to the batch.
    ///
    /// # Errors
    ///
    /// As [`LayerGradient::run`].
    pub async fn outputs(&self, inputs: &[f32]) -> Result<Vec<f32>, RunError> {
        Ok(self.run_on(inputs, None, Poller::Thread).await?.output)
    }

    /// Blocking form of [`LayerGradient::outputs`].
    ///
    /// # Errors
    ///
    /// As [`LayerGradient::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn outputs_blocking(&self, inputs: &[f32]) -> Result<Vec<f32>, RunError> {
        Ok(pollster::block_on(self.run_on(inputs, None, Poller::Caller))?.output)
    }

    /// Without seeds, no gradient.
    pub(super) async fn run_on(
        &self,
        inputs: &[f32],
        seeds: Option<&[f32]>,
        poller: Poller,
    ) -> Result<GradientRun, RunError> {
        let GradientProgram { input, seed, of, by, gradient, batch, .. } = self.program;
        let count = self.count(input.shape, inputs)?;
        if let Some(seeds) = seeds
            && self.count(seed.shape, seeds)? != count
        {
            return Err(RunError::Input { expected: count * seed.shape.len(), found: seeds.len() });
        }
        let wanted: Vec<Values> = match seeds {
            Some(_) => by.into_iter().chain([of, gradient]).collect(),
            None => vec![of],
        };
        let reading = readback::submit(&self.gpu, |encoder| {
            for (values, numbers) in [(input, Some(inputs)), (seed, seeds)] {
                let Some(numbers) = numbers else { continue };
                let laid_out = self.program.lay_out(values, numbers);
                let staged = self.executable.memory(values.array).copy_from(self.gpu.device(), encoder, &laid_out);
                staged.ok_or_else(|| RunError::Device("there is no buffer for the input".into()))?;
            }
            let (mut done, mut buffers) = (0, vec![]);
            for values in &wanted {
                // A temporary is overwritten by later steps.
                self.executable.encode(encoder, done..values.steps, None);
                done = values.steps;
                let program = (&self.executable, &self.program.program);
                buffers.push(readback::copy(&self.gpu, encoder, program, values.array));
            }
            Ok(buffers)
        });
        let read = readback::read::<f32>(&self.gpu, reading.await?, poller).await?;
        let numbers = |(values, quads): (&Values, Vec<f32>)| {
            let mut chw = to_chw(&quads, values.shape, batch);
            chw.truncate(count * values.shape.len());
            chw
        };
        let mut read: Vec<Vec<f32>> = wanted.iter().zip(read).map(numbers).collect();
        let gradient = seeds.and_then(|_| read.pop()).unwrap_or_default();
        let output = read.pop().unwrap_or_default();
        Ok(GradientRun { output, at: read.pop().unwrap_or_default(), gradient })
    }

    /// The number of images that `numbers` are.
    fn count(&self, shape: Shape, numbers: &[f32]) -> Result<usize, RunError> {
        let count = numbers.len() / shape.len();
        if !numbers.len().is_multiple_of(shape.len()) || !(1..=self.program.batch).contains(&count) {
            return Err(RunError::Input { expected: shape.len() * self.program.batch, found: numbers.len() });
        }
        Ok(count)
    }
}
