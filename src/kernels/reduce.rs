//! The Rust half of reductions: sums and largest values (shaders/reduce.wgsl).

use std::ops::Range;

use super::{Kernel, WORKGROUP, Work};

/// vec4s that an invocation of a reduction reduces to one.
const RUN: usize = 64;

/// The number of results of a step of a reduction of `count` vec4s.
pub(crate) fn reduced(count: usize) -> usize {
    count.div_ceil(RUN)
}

/// What a step of a reduction reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduced {
    /// The results of another step.
    Results,
    /// Four values per vec4.
    Scalars,
    /// Four values per vec4, of which the squares are summed; those that a mask leaves out are not, where one is bound.
    Squares,
}

/// One step of a reduction of these vec4s. Results are written from `first_out` on.
pub(crate) fn reduce(quads: Range<usize>, first_out: usize, of: Reduced) -> Work {
    let uniform = [quads.start, quads.end, first_out].map(|n| n as u32);
    let number = match of {
        Reduced::Results => 0,
        Reduced::Scalars => 1,
        Reduced::Squares => 2,
    };
    let settings = [("WORKGROUP", WORKGROUP), ("RUN", RUN as u32), ("OF", number)];
    let workgroups = [(reduced(quads.len()) as u32).div_ceil(WORKGROUP), 1, 1];
    Work::new(Kernel::new("reduce", settings), bytemuck::cast_slice(&uniform), workgroups)
}
