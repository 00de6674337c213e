//! The kernels that measure an adapter's peak throughput: shaders/roofline_*.wgsl.

use super::{Family, Kernel, KernelConfig, WORKGROUP, Work};

/// Iterations of the loop of roofline_multiply.wgsl.
const LOOPS: u32 = 64;
/// vec4s that roofline_read.wgsl reads per iteration of its loop.
const UNROLLED: u32 = 32;
/// Workgroups of both kernels: enough for a large GPU.
const WORKGROUPS: u32 = 2048;

/// vec4s of the input that the dispatches read.
pub(crate) const INPUT_QUADS: u64 = OUTPUT_QUADS * UNROLLED as u64;
/// The maximum number of vec4s that they write.
pub(crate) const OUTPUT_QUADS: u64 = WORKGROUPS as u64 * WORKGROUP as u64;
/// Floating-point operations of [`multiply`]: 16 turns of four vec4s, with a multiplication and an addition each.
pub(crate) const OPERATIONS: u64 = OUTPUT_QUADS * LOOPS as u64 * 16 * 16 * 2;

/// The kernel that multiplies and adds in registers.
pub(crate) fn multiply() -> Work {
    let mut kernel = Kernel::pointwise("roofline_multiply");
    kernel.settings.push(("LOOPS", LOOPS));
    work(kernel, INPUT_QUADS as u32)
}

/// The kernel that reads the input once.
pub(crate) fn read(config: KernelConfig) -> Work {
    // Processors run a workgroup's subgroups one after the other. With a single subgroup, memory is read in order.
    let width = match config.family {
        Family::SubgroupBroadcast { lanes } => config.streaming_lanes(lanes),
        Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => WORKGROUP,
    };
    let kernel = Kernel::new("roofline_read", [("WORKGROUP", width), ("UNROLLED", UNROLLED)]);
    work(kernel, UNROLLED * WORKGROUP / width)
}

fn work(kernel: Kernel, uniform: u32) -> Work {
    Work::new(kernel, bytemuck::bytes_of(&uniform), [WORKGROUPS, 1, 1])
}
