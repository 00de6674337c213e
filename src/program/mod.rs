//! A computation as a value, without a device: arrays, and dispatches that bind them.
//!
//! `lower.rs` makes a program from a network. A device runs it, and so do the test harnesses. Lists, limits and
//! measurements are derived from it.

mod backward;
mod error;
mod lowering;
mod memory;
mod parameters;

use std::ops::Range;

pub(crate) use backward::{Backward, Forward, Trained, Training, Updating, update_bindings};
pub use error::ProgramError;
pub(crate) use lowering::{Algorithms, Lowering, Options, WeightArrays};
pub(crate) use memory::{Allocation, MemoryPlan};
pub(crate) use parameters::{Numbers, PackedWeights, Parameter, Sink, Vector};

use crate::kernels::{Access, Binding, Kernel, Precision, Storage, Work};

/// The maximum batch size.
pub const MAX_BATCH: usize = 1024;

/// Bytes of one `vec4<f32>`.
pub(crate) const QUAD: u64 = 16;

/// The index of an array in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ArrayId(pub usize);

/// A flat array of `vec4<f32>`, or of weights in quads of [`Precision::quad_bytes`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub label: &'static str,
    pub bytes: u64,
    pub precision: Precision,
    /// Where the array lives.
    pub storage: Storage,
    pub role: Role,
}

impl Array {
    /// An array of `quads` vec4s.
    pub fn quads(label: &'static str, quads: usize, storage: Storage, role: Role) -> Self {
        Self { label, bytes: quads as u64 * QUAD, precision: Precision::F32, storage, role }
    }

    /// The number of quads.
    pub fn len(&self) -> u64 {
        self.bytes.div_ceil(self.precision.quad_bytes())
    }
}

/// The role of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Written by the host before a run.
    Input,
    /// Written once, before the first run ([`Parameter`]).
    Parameter,
    /// Zero before the first run, and kept from one run to the next.
    State,
    /// Written and then read within a run. It shares memory with others whose lifetimes do not overlap.
    Temporary,
    /// Written by a run and kept until the next, for the host to read.
    Output,
}

/// An array in a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub number: u32,
    pub access: Access,
    pub array: ArrayId,
}

/// An array that is read, at binding `number`.
pub(crate) const fn read(number: u32, array: ArrayId) -> Bound {
    Bound { number, access: Access::Read, array }
}

/// An array that is written.
pub(crate) const fn write(number: u32, array: ArrayId) -> Bound {
    Bound { number, access: Access::Write, array }
}

/// One dispatch of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub kernel: Kernel,
    /// The bytes of its uniform.
    pub uniform: Vec<u8>,
    pub workgroups: [u32; 3],
    /// Multiply-adds of the matrix product, if it is one, including channels that pad a quad.
    pub multiply_adds: u64,
    /// An array for each binding of the kernel, by binding number.
    pub bound: Vec<Bound>,
}

/// The part of a computation that a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass(pub &'static str);

impl Pass {
    /// A network's layers, in order.
    pub const FORWARD: Self = Self("forward");
    /// The largest outputs.
    pub const TOP: Self = Self("top");
    /// The distances between two images, layer by layer.
    pub const DISTANCE: Self = Self("distance");
    /// Their sums and maxima.
    pub const REDUCTION: Self = Self("reduction");
    /// The loss and its gradient.
    pub const LOSS: Self = Self("loss");
    /// A network's layers from the last to the first.
    pub const BACKWARD: Self = Self("backward");
    /// The optimiser.
    pub const UPDATE: Self = Self("update");
}

/// Consecutive dispatches that are measured and spread over frames as one: a layer's dispatches in a pass.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub pass: Pass,
    /// Index of the layer.
    pub layer: usize,
    pub dispatches: Range<usize>,
}

/// Arrays, and the dispatches that read and write them in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub arrays: Vec<Array>,
    pub dispatches: Vec<Dispatch>,
    /// All dispatches, in order.
    pub steps: Vec<Step>,
    /// The contents of the arrays of [`Role::Parameter`].
    pub parameters: Vec<Parameter>,
}

impl Program {
    /// Adds an array.
    pub fn array(&mut self, array: Array) -> ArrayId {
        self.arrays.push(array);
        ArrayId(self.arrays.len() - 1)
    }

    /// Adds an array of `quads` vec4s in a storage buffer, which `numbers` computes from the model's weights.
    pub fn vector(&mut self, label: &'static str, quads: usize, numbers: Numbers) -> ArrayId {
        let array = self.array(Array::quads(label, quads, Storage::StorageBuffer, Role::Parameter));
        self.parameters.push(Parameter::Vector(Vector { array, numbers }));
        array
    }

    /// The array with this id.
    pub fn get(&self, id: ArrayId) -> &Array {
        &self.arrays[id.0]
    }

    /// Adds a dispatch of `layer`. The storage of the bound arrays selects the variant of its kernel.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Workgroups`].
    pub fn dispatch(&mut self, layer: &str, work: Work, bound: &[Bound]) -> Result<(), ProgramError> {
        let fail = |found| ProgramError::Workgroups { layer: layer.into(), found };
        let Work { mut kernel, uniform, workgroups, multiply_adds } = work.folded().map_err(fail)?;
        let mut bound = bound.to_vec();
        bound.sort_by_key(|b| b.number);
        for &Bound { number, access, array } in &bound {
            let Array { storage, precision, .. } = *self.get(array);
            kernel = kernel.with_binding(Binding { number, access, storage, precision });
        }
        self.dispatches.push(Dispatch { kernel, uniform, workgroups, multiply_adds, bound });
        Ok(())
    }

    /// Ends a step with all dispatches since the last one. Without dispatches, no step is added.
    pub fn end_step(&mut self, pass: Pass, layer: usize) {
        let begin = self.steps.last().map_or(0, |step| step.dispatches.end);
        if begin < self.dispatches.len() {
            self.steps.push(Step { pass, layer, dispatches: begin..self.dispatches.len() });
        }
    }

    /// The dispatches of a step.
    pub fn dispatches_of(&self, step: &Step) -> &[Dispatch] {
        &self.dispatches[step.dispatches.clone()]
    }
}
