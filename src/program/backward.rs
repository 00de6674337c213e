//! Lowering of a layer's backward pass into a program.

use super::{Array, ArrayId, Bound, Options, Parameter, Program, ProgramError, Role, parameters::PackedWeights, read};
use crate::{
    activation::Below,
    kernels::{
        Access, Precision, RowsLayout, Storage, Work, activation_quads,
        binding::{MASK, MOMENT1, MOMENT2, PARAMETERS, STEP},
        gradients::OptimizerStep,
    },
    shape::Shape,
};

/// What a layer needs of a training step, beside its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Training {
    /// The array of what differs from step to step (shaders/step.wgsl); `None` where nothing is dropped.
    pub step: Option<ArrayId>,
    /// The probability with which dropout drops a number.
    pub dropout: f32,
    /// The layer's number, for random numbers of its own.
    pub layer: u32,
    /// Whether the layer reads its weights from the storage buffer that an optimiser updates, where kernels read weights from
    /// textures. Else a texture has a copy, which is written in every step. Weights that Winograd's algorithm transforms in
    /// every step are always read from the buffer.
    pub in_place: bool,
}

/// Parameters that are trained, with their gradient.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    /// The array that the forward pass reads.
    pub array: ArrayId,
    pub is_bias: bool,
    /// The optimiser's arrays, laid out as they are.
    pub moments: Vec<ArrayId>,
    /// Which numbers are parameters, where the packing has places without one, whose gradient is not zero.
    pub mask: Option<ArrayId>,
    /// Their gradient, laid out as they are; `None` where they are updated already.
    pub gradient: Option<ArrayId>,
}

/// What an update binds, beside the gradient.
pub(crate) fn update_bindings(
    step: ArrayId,
    parameters: ArrayId,
    moments: &[ArrayId],
    mask: Option<ArrayId>,
) -> impl Iterator<Item = Bound> {
    let updated = |number, array| Bound { number, access: Access::ReadWrite, array };
    let moments = [MOMENT1, MOMENT2].into_iter().zip(moments).map(move |(number, &moment)| updated(number, moment));
    [read(STEP, step), updated(PARAMETERS, parameters)].into_iter().chain(moments).chain(mask.map(|m| read(MASK, m)))
}

/// How a layer's parameters are updated.
#[derive(Clone, Debug)]
pub(crate) struct Updating {
    /// The array of what differs from step to step.
    pub step: ArrayId,
    /// The number of the optimiser's arrays for each array of parameters.
    pub moments: usize,
    /// The optimiser's step of the weights, where it may be taken as soon as their gradient is there.
    pub at_once: Option<OptimizerStep>,
}

/// The arrays of a layer whose forward pass is lowered.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub x: ArrayId,
    pub y: ArrayId,
    /// Arrays that the forward pass keeps for the backward pass.
    pub kept: Vec<ArrayId>,
    /// The parameters that it added to the program.
    pub parameters: std::ops::Range<usize>,
    /// The layout of `x`, if not the usual one.
    pub input_layout: Option<RowsLayout>,
}

/// The state of a layer while its backward pass is lowered into a program.
pub(crate) struct Backward<'a> {
    pub options: Options<'a>,
    /// The layer's name.
    pub name: &'a str,
    /// The shape of its input.
    pub input: Shape,
    /// The shape of its output.
    pub output: Shape,
    pub forward: &'a Forward,
    /// The gradient of its output.
    pub gradient: ArrayId,
    /// The activation function in which the layer before it ends.
    pub below: Below,
    pub training: Training,
    /// How its parameters are updated, if they are trained.
    pub updating: Option<Updating>,
    /// Whether the gradient of its input is wanted.
    pub wants_input: bool,
    /// Whether gradients are added to those that are there, which are kept from one run to the next.
    pub accumulates: bool,
    /// The gradient of its input, once it is lowered.
    pub input_gradient: Option<ArrayId>,
    /// Its trained parameters, once it is lowered.
    pub trained: Vec<Trained>,
    pub program: &'a mut Program,
}

impl Backward<'_> {
    /// The array of the gradient of its input.
    pub fn dx(&mut self) -> ArrayId {
        if let Some(dx) = self.input_gradient {
            return dx;
        }
        let dx = self.like_input();
        self.input_gradient = Some(dx);
        dx
    }

    /// A further array that is laid out as its input.
    pub fn like_input(&mut self) -> ArrayId {
        let quads = activation_quads(self.input) * self.options.batch;
        self.scratch(quads, self.options.config.storage)
    }

    /// An array between the layer's dispatches.
    pub fn scratch(&mut self, quads: usize, storage: Storage) -> ArrayId {
        self.program.array(Array::quads("gradient", quads, storage, Role::Temporary))
    }

    /// Adds a dispatch.
    pub fn dispatch(&mut self, work: Work, bound: &[Bound]) -> Result<(), ProgramError> {
        self.program.dispatch(self.name, work, bound)
    }

    /// The layer's packed weights and the array of its bias.
    pub fn parameters(&self) -> Option<(PackedWeights, ArrayId)> {
        match &self.program.parameters[self.forward.parameters.clone()] {
            [Parameter::Weights(weights), Parameter::Vector(bias), ..] => Some(((**weights).clone(), bias.array)),
            _ => None,
        }
    }

    /// An array for the gradient of the parameters in `array`.
    pub fn gradient_of(&mut self, array: ArrayId) -> ArrayId {
        let role = if self.accumulates { Role::State } else { Role::Temporary };
        self.like("parameter gradient", array, role)
    }

    /// The optimiser's arrays for the parameters in `array`.
    pub fn moments_of(&mut self, array: ArrayId) -> Vec<ArrayId> {
        let moments = self.updating.as_ref().map_or(0, |updating| updating.moments);
        (0..moments).map(|_| self.like("moment", array, Role::State)).collect()
    }

    /// An array laid out as the parameters in `array`, in a storage buffer.
    fn like(&mut self, label: &'static str, array: ArrayId, role: Role) -> ArrayId {
        let Array { bytes, .. } = *self.program.get(array);
        let storage = Storage::StorageBuffer;
        self.program.array(Array { label, bytes, precision: Precision::F32, storage, role })
    }
}
