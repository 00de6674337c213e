//! Lowering of a layer's backward pass into a program.

use super::{Array, ArrayId, Bound, Options, Parameter, Program, ProgramError, Role, parameters::PackedWeights};
use crate::{
    activation::Below,
    kernels::{Precision, RowsLayout, Storage, Work, activation_quads},
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
    /// Their gradient, laid out as they are.
    pub gradient: ArrayId,
    pub is_bias: bool,
    /// Whether the packing has places without a parameter, whose gradient is not zero.
    pub has_gaps: bool,
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
    /// Whether its parameters are trained.
    pub is_trained: bool,
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

    /// An array for the gradient of the parameters in `array`, in a storage buffer.
    pub fn gradient_of(&mut self, array: ArrayId, is_bias: bool, has_gaps: bool) -> ArrayId {
        let role = if self.accumulates { Role::State } else { Role::Temporary };
        let Array { bytes, .. } = *self.program.get(array);
        let storage = Storage::StorageBuffer;
        let gradient = Array { label: "parameter gradient", bytes, precision: Precision::F32, storage, role };
        let gradient = self.program.array(gradient);
        self.trained.push(Trained { array, gradient, is_bias, has_gaps });
        gradient
    }
}
