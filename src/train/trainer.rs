//! A network in training on a device.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Optimizer, PendingReport, TrainError,
    program::{Place, TrainingOptions, TrainingProgram, is_trainable, without_softmax},
    report::Pass,
};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::{Algorithm, Family, KernelConfig, Storage},
    network::Network,
    program::{Algorithms, Options},
    runtime::{PipelineError, RunError, avoid, executable::Executable, memory::Memory, requirements, ticket::Ring},
    weights::Weights,
};

/// The number of passes whose results may be under way.
const TICKETS: usize = 8;

/// Builder of a [`Trainer`]; see [`Trainer::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TrainerBuilder<'a> {
    gpu: &'a Gpu,
    network: &'a Network,
    weights: &'a Weights,
    batch: usize,
    at_once: Option<usize>,
    optimizer: Optimizer,
    weight_decay: f32,
    bias_rate: f32,
    bias_decay: f32,
    dropout: f32,
    clip: Option<f32>,
    seed: u64,
    rates: BTreeMap<String, f32>,
    class_weights: Vec<f32>,
    config: Option<KernelConfig>,
    algorithms: Algorithms,
    state: Option<&'a TrainerState>,
}

/// What a training goes on from, exactly: see [`Trainer::state`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrainerState {
    /// The number of steps taken.
    pub steps: u64,
    /// All parameters of the network.
    pub weights: Weights,
    /// The optimiser's arrays: `layer.weight.moment1`, `layer.weight.moment2` and so on, each in the shape of its parameters.
    pub moments: Weights,
}

impl TrainerState {
    /// A state after `steps` steps, without parameters.
    pub fn new(steps: u64) -> Self {
        Self { steps, weights: Weights::default(), moments: Weights::default() }
    }
}

/// A network in training. Everything is allocated when it is built: memory does not grow.
///
/// ```
/// use alexnet_wgpu::{
///     Gpu, GpuOptions, Linear, Network, Shape,
///     train::{Init, Optimizer, Trainer, initial_weights},
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// // Two numbers, and whether the first is the larger.
/// let network = Network::builder("larger", Shape::vector(2)).linear("fc", Linear::new(2)).softmax("prob").build()?;
/// let weights = initial_weights(&network, Init::Torch, 1);
/// let mut trainer =
///     Trainer::builder(&gpu, &network, &weights).batch(4).optimizer(Optimizer::SGD).build()?;
/// let (inputs, classes) = ([0.9, 0.1, 0.2, 0.8, 0.7, 0.3, 0.4, 0.6], [0, 1, 0, 1]);
/// for _ in 0..50 {
///     // Recorded and submitted; the report comes later.
///     let mut report = trainer.step(&inputs, &classes, 0.1)?;
///     let report = trainer.wait(&mut report)?;
///     println!("step {}: loss {:.3}", report.step, report.loss);
/// }
/// assert_eq!(trainer.evaluate(&inputs, &classes)?.correct, 4);
/// let trained = trainer.weights()?;
/// # assert!(trained.tensor("fc.weight").is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer {
    pub(super) gpu: Gpu,
    pub(super) network: Network,
    /// Those that are not trained.
    pub(super) weights: Weights,
    pub(super) program: TrainingProgram,
    pub(super) executable: Executable,
    pub(super) ring: Ring<Vec<[f32; 4]>>,
    optimizer: Optimizer,
    pub(super) batch: usize,
    pub(super) at_once: usize,
    classes: usize,
    class_weights: Vec<f32>,
    seed: u64,
    pub(super) steps: u64,
}

/// The `TrainingStep` struct of shaders/step.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Step {
    seed: [u32; 2],
    number: u32,
    first_image: u32,
    rate: f32,
    dropout: u32,
    corrections: [f32; 2],
}

impl<'a> TrainerBuilder<'a> {
    /// Sets the largest number of images of a step. The default is 64.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets the number of images that are computed at once; the gradients of a step's parts are added up. The default is the
    /// whole batch. Fewer take less memory.
    pub fn at_once(mut self, images: usize) -> Self {
        self.at_once = Some(images);
        self
    }

    /// Sets the optimiser. The default is [`Optimizer::SGD`].
    pub fn optimizer(mut self, optimizer: Optimizer) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// Sets the factor of the parameters that is added to their gradients, or with AdamW taken off. The default is 0.
    pub fn weight_decay(mut self, decay: f32) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Sets factors of the biases' learning rate and weight decay. The default is 1 for both; Caffe's AlexNet has 2 and 0.
    pub fn biases(mut self, rate: f32, decay: f32) -> Self {
        (self.bias_rate, self.bias_decay) = (rate, decay);
        self
    }

    /// Sets the probability with which dropout layers drop a number. The default is 0.5.
    pub fn dropout(mut self, probability: f32) -> Self {
        self.dropout = probability;
        self
    }

    /// Scales all gradients of a step down together where their norm is larger than this, as PyTorch's `clip_grad_norm_` does
    /// (Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1). They are all kept
    /// until the last is there, which takes as much memory as the parameters. The default is not to.
    pub fn clip(mut self, norm: f32) -> Self {
        self.clip = Some(norm);
        self
    }

    /// Sets the seed of the dropout's random numbers. The default is 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets a factor of a layer's learning rate; 0 leaves its parameters as they are.
    pub fn rate(mut self, layer: impl Into<String>, factor: f32) -> Self {
        self.rates.insert(layer.into(), factor);
        self
    }

    /// Sets a factor of each class's part in the gradients. The default is 1 for all.
    pub fn class_weights(mut self, weights: Vec<f32>) -> Self {
        self.class_weights = weights;
        self
    }

    /// Sets the kernel configuration. The default is the one that suits the adapter best. Broadcast kernels of four lanes
    /// have no backward pass: tiled ones run instead.
    pub fn kernel_config(mut self, config: KernelConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Sets the algorithm of the convolution called `layer`: [`Algorithm::Winograd`], for itself and the gradient of its input
    /// where it applies, or with any other, directly. The default is Winograd's where that pays on adapters that are a processor,
    /// and directly on GPUs, where it has not been measured. A network's first layer is computed directly if stride × channels
    /// is a multiple of four.
    pub fn algorithm(mut self, layer: impl Into<String>, algorithm: Algorithm) -> Self {
        self.algorithms.insert(layer.into(), algorithm);
        self
    }

    /// Goes on from a state: its parameters, moments and number of steps. All else must be set as it was.
    pub fn resume(mut self, state: &'a TrainerState) -> Self {
        self.state = Some(state);
        self
    }

    /// Compiles the kernels, uploads the parameters, and allocates everything.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the network does not end in a vector of classes, an option is out of its range, or the device
    /// cannot do it.
    pub fn build(self) -> Result<Trainer, TrainError> {
        let Self { gpu, network, batch, optimizer, .. } = self;
        self.check()?;
        let weights = self.state.map_or(self.weights, |state| &state.weights);
        weights.check(network)?;
        let config = avoid::backward_config(gpu, self.config)?;
        let at_once = self.at_once.unwrap_or(batch).min(batch);
        // The optimiser's arrays are in storage buffers, whatever the weights are in.
        let limit = |storage| Memory::limit(gpu.device(), storage);
        let limit = limit(config.storage).min(limit(Storage::StorageBuffer));
        let algorithms = &self.algorithms(config, at_once);
        let lowering = Options { config, batch: at_once, precision: Default::default(), algorithms, limit, top: 0 };
        let options = TrainingOptions {
            lowering,
            optimizer,
            weight_decay: self.weight_decay,
            bias_rate: self.bias_rate,
            bias_decay: self.bias_decay,
            rates: &self.rates,
            dropout: self.dropout,
            clip: self.clip,
            accumulates: at_once < batch,
        };
        let program = TrainingProgram::lower(network, options)?;
        requirements::check_program(gpu, &program.program, config)?;
        let scopes = Scopes::push(gpu.device());
        let executable = Executable::load(gpu, &program.program, weights, gpu.checks(), None, || ())?;
        let decode = |bytes: &[u8]| Ok(bytemuck::pod_collect_to_vec(bytes));
        let ring = Ring::new(gpu.device(), TICKETS, program.program.get(program.results).bytes, decode);
        if let Some(state) = self.state {
            write_moments(gpu, &program, &executable, state)?;
        }
        if let Some(error) = scopes.pop_now() {
            return Err(PipelineError::from(error).into());
        }
        Ok(Trainer {
            gpu: gpu.clone(),
            network: network.clone(),
            weights: weights.clone(),
            program,
            executable,
            ring,
            optimizer,
            batch,
            at_once,
            classes: without_softmax(network).last().map_or(0, |layer| layer.output.len()),
            class_weights: self.class_weights,
            seed: self.seed,
            steps: self.state.map_or(0, |state| state.steps),
        })
    }

    /// The layers' algorithms, but for those computed directly.
    fn algorithms(&self, config: KernelConfig, batch: usize) -> Algorithms {
        let mut algorithms = self.algorithms.clone();
        if matches!(config.family, Family::SubgroupBroadcast { .. }) {
            for layer in self.network.layers() {
                let best = || avoid::allowed_algorithm(config, layer, batch, self.gpu.blocklist());
                algorithms.entry(layer.name.clone()).or_insert_with(best);
            }
        }
        algorithms
    }

    /// Checks the options, as [`TrainerBuilder::build`] does first.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when an option is out of its range, or no layer is trained.
    pub fn check(&self) -> Result<(), TrainError> {
        let fail = |expected: String| Err(TrainError::Option { expected });
        if let Err(expected) = self.optimizer.check() {
            return fail(expected);
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return fail(format!("a dropout of at least 0 and less than 1, found {}", self.dropout));
        }
        if let Some(found) = self.clip.filter(|norm| !(*norm > 0.0 && norm.is_finite())) {
            return fail(format!("a norm above 0 to clip gradients at, found {found}"));
        }
        if self.batch == 0 || self.at_once == Some(0) {
            return fail("at least one image at once, found 0".into());
        }
        let factors = [self.weight_decay, self.bias_rate, self.bias_decay];
        if let Some(found) = factors.iter().chain(self.rates.values()).find(|v| !(v.is_finite() && **v >= 0.0)) {
            return fail(format!("rates and decays that are finite and not negative, found {found}"));
        }
        if self.class_weights.iter().any(|v| !(v.is_finite() && *v >= 0.0)) {
            return fail("weights of classes that are finite and not negative".into());
        }
        for name in self.rates.keys().chain(self.algorithms.keys()) {
            self.network.position(name).map_err(PipelineError::from)?;
        }
        let rate = |name: &str| self.rates.get(name).copied().unwrap_or(1.0);
        if !self.network.layers().iter().any(|layer| is_trainable(layer) && rate(&layer.name) > 0.0) {
            return fail("a layer to train: a convolution or a fully connected layer whose rate is not 0".into());
        }
        Ok(())
    }
}

impl Trainer {
    /// Starts a trainer of `network` from `weights` on `gpu`. A softmax at the network's end becomes part of the loss.
    pub fn builder<'a>(gpu: &'a Gpu, network: &'a Network, weights: &'a Weights) -> TrainerBuilder<'a> {
        TrainerBuilder {
            gpu,
            network,
            weights,
            batch: 64,
            at_once: None,
            optimizer: Optimizer::SGD,
            weight_decay: 0.0,
            bias_rate: 1.0,
            bias_decay: 1.0,
            dropout: 0.5,
            clip: None,
            seed: 0,
            rates: BTreeMap::new(),
            class_weights: Vec::new(),
            config: None,
            algorithms: Algorithms::new(),
            state: None,
        }
    }

    /// Takes a step: the gradients of the mean cross-entropy of the images' classes, and the optimiser's update with
    /// learning rate `rate`. `inputs` are preprocessed images in CHW order, one after the other, at most as many as the batch.
    ///
    /// It is recorded and submitted; the report comes later. Only when the reports of several steps are under way does it
    /// wait for the device.
    ///
    /// # Errors
    ///
    /// [`TrainError::Images`] when inputs and classes do not fit, and errors of the device.
    pub fn step(&mut self, inputs: &[f32], classes: &[usize], rate: f32) -> Result<PendingReport, TrainError> {
        self.check(inputs, classes)?;
        if classes.len() > self.batch {
            return Err(TrainError::Images {
                expected: format!("at most {} images a step", self.batch),
                found: classes.len().to_string(),
            });
        }
        self.steps += 1;
        let mut pending = PendingReport::new(self.steps, rate, classes);
        let passes = classes.len().div_ceil(self.at_once);
        let len = self.network.input().len();
        let weight = 1.0 / classes.len() as f32;
        for (pass, classes) in classes.chunks(self.at_once).enumerate() {
            let first = pass * self.at_once;
            self.write(&inputs[first * len..][..classes.len() * len], classes, weight);
            self.write_step(first, rate, true);
            let last = pass + 1 == passes;
            let steps = self.program.program.steps.len();
            let end = if last { steps } else { self.program.backward };
            pending.passes.push(self.submit(pass == 0, 0..end)?);
        }
        Ok(pending)
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Bytes on the device.
    pub fn device_bytes(&self) -> u64 {
        self.executable.bytes()
    }

    pub(super) fn check(&self, inputs: &[f32], classes: &[usize]) -> Result<(), TrainError> {
        let fail = |expected, found: String| Err(TrainError::Images { expected, found });
        let len = self.network.input().len();
        if classes.is_empty() || inputs.len() != classes.len() * len {
            return fail(
                format!("{len} numbers for each of at least one class"),
                format!("{} numbers and {} classes", inputs.len(), classes.len()),
            );
        }
        if let Some(&class) = classes.iter().find(|&&class| class >= self.classes) {
            return fail(format!("classes below {}", self.classes), class.to_string());
        }
        Ok(())
    }

    /// Writes images and their classes, with the queue's next submission. Images that are missing have no weight.
    pub(super) fn write(&self, inputs: &[f32], classes: &[usize], weight: f32) {
        let TrainingProgram { input, targets, .. } = self.program;
        let (shape, queue) = (self.network.input(), self.gpu.queue());
        self.executable.memory(input).write(queue, &self.program.lay_out(shape, inputs));
        let mut rows = vec![[0.0; 4]; self.at_once];
        for (row, &class) in rows.iter_mut().zip(classes) {
            let factor = self.class_weights.get(class).copied().unwrap_or(1.0);
            *row = [class as f32, weight * factor, 0.0, 0.0];
        }
        self.executable.memory(targets).write(queue, rows.as_flattened());
    }

    pub(super) fn write_step(&self, first_image: usize, rate: f32, dropout: bool) {
        let step = Step {
            seed: [self.seed as u32, (self.seed >> 32) as u32],
            number: self.steps as u32,
            first_image: first_image as u32,
            rate,
            dropout: dropout.into(),
            corrections: self.optimizer.corrections(self.steps.max(1)),
        };
        // Bits: some of them are no numbers.
        if let Memory::Buffer(buffer) = self.executable.memory(self.program.step) {
            self.gpu.queue().write_buffer(buffer, 0, bytemuck::bytes_of(&step));
        }
    }

    /// Runs steps of the program and returns a ticket for the images' results. `begins` is whether gradients are added up
    /// from zero.
    pub(super) fn submit(&self, begins: bool, steps: Range<usize>) -> Result<Pass, TrainError> {
        #[cfg(target_arch = "wasm32")]
        let reserved = self.ring.reserve()?;
        #[cfg(not(target_arch = "wasm32"))]
        let reserved = self.reserve()?;
        let scopes = Scopes::push(self.gpu.device());
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        if begins && self.at_once < self.batch {
            for master in &self.program.masters {
                if let Some(gradient) = master.gradient
                    && let Memory::Buffer(buffer) = self.executable.memory(gradient)
                {
                    encoder.clear_buffer(buffer, 0, None);
                }
            }
        }
        self.executable.encode(&mut encoder, steps, None);
        let ticket = match self.executable.memory(self.program.results) {
            Memory::Buffer(results) => reserved.ticket(&mut encoder, results),
            Memory::Texture(..) => return Err(RunError::Device("the results are in no buffer".into()).into()),
        };
        self.gpu.queue().submit([encoder.finish()]);
        match scopes.pop_now() {
            Some(error) => Err(PipelineError::from(error).into()),
            None => Ok(Pass::new(ticket)),
        }
    }
}

/// Writes the moments of `state`, all of which must be there.
fn write_moments(
    gpu: &Gpu,
    program: &TrainingProgram,
    executable: &Executable,
    state: &TrainerState,
) -> Result<(), TrainError> {
    for master in &program.masters {
        let Some(parameters) = state.weights.get(&master.tensor) else { continue };
        for (index, &array) in master.moments.iter().enumerate() {
            let name = format!("{}.moment{}", master.tensor, index + 1);
            let moment = state
                .moments
                .get(&name)
                .ok_or_else(|| TrainError::State { expected: format!("a tensor `{name}`"), found: "none".into() })?;
            if moment.shape() != parameters.shape() {
                return Err(TrainError::State {
                    expected: format!("`{name}` of shape {:?}", parameters.shape()),
                    found: format!("{:?}", moment.shape()),
                });
            }
            let packed = match &master.place {
                Place::Weight(packing, blocks) => packing.pack(blocks.clone(), &moment.to_f32()),
                Place::Bias(packing) => packing.pack_columns(&moment.to_f32()),
            };
            executable.memory(array).write(gpu.queue(), &packed);
        }
    }
    Ok(())
}
