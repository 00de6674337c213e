//! Memory planning by liveness: arrays share memory if their lifetimes do not overlap.

use std::{cmp::Reverse, collections::BTreeSet, ops::RangeInclusive};

use super::{Array, ArrayId, Program, Role};
use crate::kernels::{Access, Precision, Storage, TEXTURE_WIDTH, texture_height};

/// A piece of memory that one array uses, or several in turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Allocation {
    /// The label of the first array in it.
    pub label: &'static str,
    pub bytes: u64,
    pub precision: Precision,
    pub storage: Storage,
    /// Whether dispatches write it.
    pub written: bool,
}

impl Allocation {
    /// Size in bytes on a device; a texture has whole rows, and one or two more where their number would be a power of two.
    pub fn device_bytes(&self) -> u64 {
        match self.storage {
            Storage::StorageBuffer => self.bytes,
            Storage::StorageTexture | Storage::SampledTexture => {
                let texels = self.bytes.div_ceil(self.precision.quad_bytes());
                texture_height(texels) * u64::from(TEXTURE_WIDTH) * self.precision.quad_bytes()
            }
        }
    }
}

/// The allocation of each array of a program.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPlan {
    pub allocations: Vec<Allocation>,
    /// Index of each array's allocation.
    of: Vec<usize>,
}

impl MemoryPlan {
    /// Index of the allocation of an array.
    pub fn of(&self, id: ArrayId) -> usize {
        self.of[id.0]
    }
}

/// An allocation of temporaries, with their lifetimes.
struct Shared {
    index: usize,
    kind: (Storage, Precision),
    lives: Vec<RangeInclusive<usize>>,
}

impl Program {
    /// Assigns temporaries of one kind to the same memory if their lifetimes do not overlap: the largest first, each to
    /// the first allocation that is free throughout its lifetime ("greedy by size": Pisarchyk, Lee 2020, "Efficient
    /// memory management for deep neural net inference"). Every other array has memory of its own.
    pub fn plan_memory(&self) -> MemoryPlan {
        let mut allocations: Vec<Allocation> = Vec::new();
        let writes = self.dispatches.iter().flat_map(|dispatch| &dispatch.bound);
        let updated: BTreeSet<ArrayId> =
            writes.filter(|bound| bound.access != Access::Read).map(|bound| bound.array).collect();
        let mut allocate = |index: usize| {
            let Array { label, bytes, precision, storage, role } = self.arrays[index];
            // Training updates parameters.
            let written = role != Role::Parameter || updated.contains(&ArrayId(index));
            allocations.push(Allocation { label, bytes, precision, storage, written });
            allocations.len() - 1
        };
        let mut of = vec![0; self.arrays.len()];
        let (mut temporaries, others): (Vec<usize>, Vec<usize>) =
            (0..self.arrays.len()).partition(|&index| self.arrays[index].role == Role::Temporary);
        for index in others {
            of[index] = allocate(index);
        }
        temporaries.sort_by_key(|&index| Reverse(self.arrays[index].bytes));
        let lives = self.lives();
        let mut all: Vec<Shared> = Vec::new();
        for index in temporaries {
            let array = &self.arrays[index];
            let (kind, life) = ((array.storage, array.precision), &lives[index]);
            let overlaps = |other: &RangeInclusive<usize>| life.start() <= other.end() && other.start() <= life.end();
            match all.iter_mut().find(|shared| shared.kind == kind && !shared.lives.iter().any(overlaps)) {
                Some(shared) => {
                    shared.lives.push(life.clone());
                    of[index] = shared.index;
                }
                None => {
                    of[index] = allocate(index);
                    all.push(Shared { index: of[index], kind, lives: vec![life.clone()] });
                }
            }
        }
        MemoryPlan { allocations, of }
    }

    /// The lifetime of each array in dispatches: from the first that binds it to the last, and to the end of the step
    /// that writes it, where a host may copy it. Empty where nothing binds it.
    fn lives(&self) -> Vec<RangeInclusive<usize>> {
        // Empty, until a dispatch binds it.
        #[expect(clippy::reversed_empty_ranges, reason = "a range that any other one grows")]
        let mut lives = vec![usize::MAX..=0; self.arrays.len()];
        for step in &self.steps {
            for index in step.dispatches.clone() {
                for bound in &self.dispatches[index].bound {
                    let end = if bound.access == Access::Read { index } else { step.dispatches.end - 1 };
                    let life = &mut lives[bound.array.0];
                    *life = index.min(*life.start())..=end.max(*life.end());
                }
            }
        }
        lives
    }
}
