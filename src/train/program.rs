//! A network's training step as a program: forward pass, loss, backward pass, and the optimiser.

use std::{collections::BTreeMap, ops::Range};

use super::Optimizer;
use crate::{
    activation::Below,
    kernels::{
        Packing, RowsLayout, Storage,
        binding::{ADDEND, BIAS_GRADIENT, GRADIENT, MASK, NORM, X, Y},
        gradients,
        reduce::{self, Reduced},
    },
    layers::Op,
    lower::{self, activation_of, check_activation, lay_out, lower_forward},
    network::{Layer, Network},
    program::{
        Array, ArrayId, Backward, Forward, MAX_BATCH, Options, PackedWeights, Parameter, Pass, Program, ProgramError,
        Role, Trained, Training, Updating, read, update_bindings, write,
    },
    shape::Shape,
};

/// How a network is trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrainingOptions<'a> {
    /// `batch` is the number of images of a pass.
    pub lowering: Options<'a>,
    pub optimizer: Optimizer,
    pub weight_decay: f32,
    /// Factors of the biases' rate and decay.
    pub bias_rate: f32,
    pub bias_decay: f32,
    /// Factors of single layers' rates; those with 0 are not trained.
    pub rates: &'a BTreeMap<String, f32>,
    pub dropout: f32,
    /// The norm of all gradients together that they are scaled down to where it is larger.
    pub clip: Option<f32>,
    /// Whether a step has several passes, whose gradients are added up.
    pub accumulates: bool,
}

impl TrainingOptions<'_> {
    /// The factor of a layer's rate.
    fn rate(&self, layer: &Layer) -> f32 {
        self.rates.get(&layer.name).copied().unwrap_or(1.0)
    }

    /// Factors of the rate and of the decay of a layer's bias or weights.
    fn factors(&self, layer: &Layer, is_bias: bool) -> [f32; 2] {
        let [rate, decay] = if is_bias { [self.bias_rate, self.bias_decay] } else { [1.0; 2] };
        [rate * self.rate(layer), decay * self.weight_decay]
    }

    /// Whether the layer's parameters are updated.
    fn is_updated(&self, layer: &Layer) -> bool {
        is_trainable(layer) && self.rate(layer) != 0.0
    }

    /// How the layer's parameters are updated, if they are. What is added up or clipped is updated after the backward pass.
    fn updating(&self, step: ArrayId, layer: &Layer) -> Option<Updating> {
        let is_at_once = !self.accumulates && self.clip.is_none();
        let at_once = is_at_once.then(|| self.optimizer.step(self.factors(layer, false)));
        self.is_updated(layer).then_some(Updating { step, moments: self.optimizer.moments(), at_once })
    }

    /// What layer `index` needs, of which `step` has what differs from step to step.
    fn of_layer(&self, step: ArrayId, index: usize, layer: &Layer) -> Training {
        let step = (self.dropout > 0.0).then_some(step);
        // A step reads a fully connected layer's many weights a few times only: a copy would cost more than it gains.
        let in_place = self.is_updated(layer) && matches!(layer.op, Op::Linear(_));
        Training { step, dropout: self.dropout, layer: index as u32, in_place }
    }
}

/// An array of trained parameters.
#[derive(Clone, Debug)]
pub(crate) struct Master {
    /// The tensor's name.
    pub tensor: String,
    pub place: Place,
    /// The parameters, in a storage buffer.
    pub array: ArrayId,
    /// The optimiser's arrays, laid out as they are.
    pub moments: Vec<ArrayId>,
    /// `None` where the kernel that computes it updates the parameters.
    pub gradient: Option<ArrayId>,
}

/// An array of parameters that is to be updated.
#[derive(Debug)]
struct Update {
    master: Master,
    /// Where the forward pass reads the parameters, if not in the master.
    copy: Option<ArrayId>,
    /// Which numbers are parameters, where some of the packing are none.
    mask: Option<ArrayId>,
    /// Factors of the rate and of the decay.
    factors: [f32; 2],
}

/// What of a tensor an array holds.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Column blocks of a weight.
    Weight(Packing, Range<u32>),
    /// The whole bias.
    Bias(Packing),
}

/// A training step.
#[derive(Clone, Debug)]
pub(crate) struct TrainingProgram {
    pub program: Program,
    pub input: ArrayId,
    pub input_layout: Option<RowsLayout>,
    /// Class and weight of each image (shaders/cross_entropy.wgsl).
    pub targets: ArrayId,
    /// What differs from step to step (shaders/step.wgsl).
    pub step: ArrayId,
    /// Of each image.
    pub results: ArrayId,
    pub masters: Vec<Master>,
    /// Of each layer, the number of steps after which its output is complete, and the output.
    pub outputs: Vec<(usize, ArrayId)>,
    /// The steps of the program that compute the loss; the others follow.
    pub evaluation: usize,
    /// Those that compute the gradients. Where gradients are neither added up nor clipped, parameters are updated among them.
    pub backward: usize,
}

impl TrainingProgram {
    /// Lowers a network that ends in a vector of logits, or in a softmax of one.
    pub fn lower(network: &Network, options: TrainingOptions<'_>) -> Result<Self, ProgramError> {
        let lowering = options.lowering;
        if !(1..=MAX_BATCH).contains(&lowering.batch) {
            return Err(ProgramError::Batch { found: lowering.batch });
        }
        let layers = without_softmax(network);
        let Some(last) = layers.last().filter(|last| last.output == Shape::vector(last.output.channels)) else {
            return Err(ProgramError::Untrainable {
                layer: network.layers().last().map(|layer| layer.name.clone()).unwrap_or_default(),
                reason: "expected a vector of classes at the network's end".into(),
            });
        };
        let mut program = Program::default();
        let (input, input_layout) = lower::input_array(&mut program, network, lowering, Role::Input);
        let buffer = |label, quads, role| Array::quads(label, quads, Storage::StorageBuffer, role);
        let step = program.array(buffer("step", 2, Role::Input));
        let targets = program.array(buffer("targets", lowering.batch, Role::Input));

        let (mut forward, mut outputs): (Vec<Forward>, Vec<(usize, ArrayId)>) = (vec![], vec![]);
        let mut x = input;
        for (index, layer) in layers.iter().enumerate() {
            let training = options.of_layer(step, index, layer);
            let passed =
                lower_forward(&mut program, lowering, layer, x, training, input_layout.filter(|_| index == 0))?;
            program.end_step(Pass::FORWARD, index);
            x = passed.y;
            outputs.push((program.steps.len(), x));
            forward.push(passed);
        }
        let classes = last.output.channels;
        let results = program.array(buffer("results", lowering.batch, Role::Output));
        let quads = classes.div_ceil(4) * lowering.batch;
        let gradient = program.array(Array::quads("gradient", quads, lowering.config.storage, Role::Temporary));
        let ending = activation_of(layers, &forward, x);
        check_activation(last, ending)?;
        let bound = [read(X, x), write(Y, gradient), read(ADDEND, targets), write(BIAS_GRADIENT, results)];
        program.dispatch("loss", gradients::cross_entropy(classes, lowering.batch, ending), &bound)?;
        program.end_step(Pass::LOSS, layers.len() - 1);
        let evaluation = program.steps.len();

        let mut this = Self {
            program,
            input,
            input_layout,
            targets,
            step,
            results,
            masters: vec![],
            outputs,
            evaluation,
            backward: evaluation,
        };
        this.lower_backward(layers, &forward, gradient, options)?;
        Ok(this)
    }

    fn lower_backward(
        &mut self,
        layers: &[Layer],
        forward: &[Forward],
        mut gradient: ArrayId,
        options: TrainingOptions<'_>,
    ) -> Result<(), ProgramError> {
        let first = layers.iter().position(|layer| options.is_updated(layer)).unwrap_or(layers.len());
        let mut pending = Vec::new();
        for (index, layer) in layers.iter().enumerate().skip(first).rev() {
            let passed = &forward[index];
            if passed.x == passed.y {
                continue;
            }
            let below = activation_of(layers, forward, passed.x);
            let mut backward = Backward {
                options: options.lowering,
                name: &layer.name,
                input: layer.input,
                output: layer.output,
                forward: passed,
                gradient,
                below: Below { activation: below, ..Below::default() },
                training: options.of_layer(self.step, index, layer),
                updating: options.updating(self.step, layer),
                wants_input: index > first,
                accumulates: options.accumulates,
                input_gradient: None,
                trained: vec![],
                program: &mut self.program,
            };
            if index > first {
                check_activation(layer, below)?;
            }
            layer.op.operation().lower_backward(&mut backward)?;
            let (trained, below) = (backward.trained, backward.input_gradient);
            self.program.end_step(Pass::BACKWARD, index);
            let updates = self.updates(layer, passed, trained, options);
            if options.accumulates || options.clip.is_some() {
                pending.push((index, updates));
            } else {
                self.lower_updates(index, layer, updates, None, options)?;
            }
            gradient = below.unwrap_or(gradient);
        }
        self.backward = self.program.steps.len();
        let norm = options.clip.map(|_| self.lower_norm(first, &pending)).transpose()?;
        for (index, updates) in pending {
            self.lower_updates(index, &layers[index], updates, norm, options)?;
        }
        Ok(())
    }

    /// The squared norm of all gradients together.
    fn lower_norm(&mut self, first: usize, pending: &[(usize, Vec<Update>)]) -> Result<ArrayId, ProgramError> {
        let gradient = |update: &Update| Some((update.master.gradient?, update.mask));
        let all = || pending.iter().flat_map(|(_, updates)| updates).filter_map(gradient);
        let quads = |program: &Program, gradient: ArrayId| program.get(gradient).len() as usize;
        let sums = all().map(|(gradient, _)| reduce::reduced(quads(&self.program, gradient))).sum();
        let buffer = |label, quads| Array::quads(label, quads, Storage::StorageBuffer, Role::Temporary);
        let squares = self.program.array(buffer("squares", sums));
        let norm = self.program.array(buffer("norm", 1));
        let mut at = 0;
        for (gradient, mask) in all() {
            let quads = quads(&self.program, gradient);
            let work = reduce::reduce(0..quads, at, Reduced::Squares);
            let mut bound = vec![read(X, gradient), write(Y, squares)];
            bound.extend(mask.map(|mask| read(MASK, mask)));
            self.program.dispatch("norm", work, &bound)?;
            at += reduce::reduced(quads);
        }
        lower::reduce(&mut self.program, (squares, (0, sums), Reduced::Results), (norm, 0))?;
        self.program.end_step(Pass::UPDATE, first);
        Ok(norm)
    }

    /// What is updated of a layer.
    fn updates(
        &mut self,
        layer: &Layer,
        forward: &Forward,
        trained: Vec<Trained>,
        options: TrainingOptions<'_>,
    ) -> Vec<Update> {
        if trained.is_empty() {
            return vec![];
        }
        let Some((weights, masters)) = self.masters_of(forward) else { return vec![] };
        let update = |Trained { array, is_bias, moments, mask, gradient }| {
            let blocks = weights.chunks.iter().find(|(_, chunk)| *chunk == array).map(|(blocks, _)| blocks.clone());
            let place = match blocks {
                Some(blocks) if !is_bias => Place::Weight(weights.packing.clone(), blocks),
                _ => Place::Bias(weights.packing.clone()),
            };
            let tensor = format!("{}.{}", layer.name, if is_bias { "bias" } else { "weight" });
            let master = masters.get(&array).copied().unwrap_or(array);
            Update {
                master: Master { tensor, place, array: master, moments, gradient },
                copy: (master != array).then_some(array),
                mask,
                factors: options.factors(layer, is_bias),
            }
        };
        trained.into_iter().map(update).collect()
    }

    /// The optimiser's step for the parameters of a layer.
    fn lower_updates(
        &mut self,
        index: usize,
        layer: &Layer,
        updates: Vec<Update>,
        norm: Option<ArrayId>,
        options: TrainingOptions<'_>,
    ) -> Result<(), ProgramError> {
        if updates.is_empty() {
            return Ok(());
        }
        for Update { master, copy, mask, factors } in updates {
            if let Some(gradient) = master.gradient {
                let mut bound = vec![read(GRADIENT, gradient)];
                bound.extend(update_bindings(self.step, master.array, &master.moments, mask));
                bound.extend(copy.map(|copy| write(Y, copy)));
                bound.extend(norm.map(|norm| read(NORM, norm)));
                let quads = self.program.get(master.array).len() as usize;
                let work = options.optimizer.step(factors).update(quads, options.clip);
                self.program.dispatch(&layer.name, work, &bound)?;
            }
            self.masters.push(master);
        }
        self.program.end_step(Pass::UPDATE, index);
        Ok(())
    }

    /// A layer's packed weights, and the storage buffers beside those of its arrays that are textures.
    fn masters_of(&mut self, forward: &Forward) -> Option<(PackedWeights, BTreeMap<ArrayId, ArrayId>)> {
        let Some(Parameter::Weights(weights)) = self.program.parameters.get(forward.parameters.start) else {
            return None;
        };
        let weights = (**weights).clone();
        let mut masters = BTreeMap::new();
        if self.program.get(weights.chunks.first()?.1).storage != Storage::StorageBuffer {
            let mut copies = weights.clone();
            for (_, array) in &mut copies.chunks {
                let copy = Array { storage: Storage::StorageBuffer, ..self.program.get(*array).clone() };
                let copy = self.program.array(copy);
                masters.insert(*array, copy);
                *array = copy;
            }
            self.program.parameters.push(Parameter::Weights(Box::new(copies)));
        }
        Some((weights, masters))
    }

    /// Lays out images (CHW) on the device; missing ones are zero.
    pub fn lay_out(&self, shape: Shape, images: &[f32]) -> Vec<f32> {
        lay_out(&self.program, self.input, self.input_layout, shape, images)
    }
}

/// The layers before a softmax at the end, which is a part of the loss.
pub(crate) fn without_softmax(network: &Network) -> &[Layer] {
    match network.layers() {
        [layers @ .., last] if last.op == Op::Softmax => layers,
        layers => layers,
    }
}

/// Whether the layer has parameters that are trained. Those of a batch normalisation stay as they are.
pub(crate) fn is_trainable(layer: &Layer) -> bool {
    matches!(layer.op, Op::Conv(_) | Op::Linear(_))
}
