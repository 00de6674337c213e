//! The Rust half of each shader: its settings, its uniform, how its weights are packed and how many workgroups it takes.

mod config;
mod gemm;
mod grouped_conv;
mod packing;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod roofline;
mod rows_layout;
mod templates;
mod top_k;
mod winograd;

pub use config::{Algorithm, Checks, Family, KernelConfig, Precision, Storage, UnknownPrecision};
use gemm::{BROADCAST_ROWS, TILED_ROWS};
pub(crate) use gemm::{Convolution, Gemm};
pub(crate) use grouped_conv::GroupedConv;
pub(crate) use packing::Packing;
pub(crate) use rows_layout::RowsLayout;
pub(crate) use top_k::top_k;
pub(crate) use winograd::Winograd;

use crate::{activation::Activation, shape::Shape};

/// Texels in a row of a texture that stands for a flat array, a power of two: not every driver divides quickly.
pub(crate) const TEXTURE_WIDTH: u32 = 4096;

/// Invocations of a workgroup in the shaders that have one invocation an output.
pub(crate) const WORKGROUP: u32 = 64;

/// The most workgroups of a dispatch along an axis that every WebGPU device takes.
pub(crate) const MAX_WORKGROUPS: u32 = 65_535;

/// The numbers of the bindings in group 0, as the shaders have them.
pub(crate) mod binding {
    /// What a kernel reads (shaders/input.wgsl).
    pub const X: u32 = 0;
    /// What it writes (shaders/output.wgsl).
    pub const Y: u32 = 1;
    /// Its uniform.
    pub const UNIFORM: u32 = 2;
    /// Packed weights (shaders/packed.wgsl).
    pub const WEIGHTS: u32 = 3;
    /// One vec4 a channel quad, in a storage buffer.
    pub const BIAS: u32 = 4;
    /// What each column's weights are multiplied with, for [`Precision::Int8`](super::Precision::Int8).
    pub const SCALES: u32 = 5;
}

/// What a kernel does with an array that it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
    /// Both, of a storage buffer.
    #[cfg_attr(not(test), expect(dead_code, reason = "no kernel of inference updates an array"))]
    ReadWrite,
}

/// One binding of a kernel, besides its uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Binding {
    /// Its number in group 0.
    pub number: u32,
    pub access: Access,
    /// Where the array lives that is bound.
    pub storage: Storage,
    /// What the array's quads are of.
    pub precision: Precision,
}

impl Binding {
    /// An array of `vec4<f32>` that is read.
    pub const fn read(number: u32, storage: Storage) -> Self {
        Self { number, access: Access::Read, storage, precision: Precision::F32 }
    }

    /// An array of `vec4<f32>` that is written.
    pub const fn write(number: u32, storage: Storage) -> Self {
        Self { number, access: Access::Write, storage, precision: Precision::F32 }
    }
}

/// A shader in one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kernel {
    /// File in `shaders/`, without its ending.
    pub shader: &'static str,
    /// What it binds. The layout of its bind group, the limits that a device must have and the tests follow from this.
    pub bindings: Vec<Binding>,
    /// Values the file is rendered with.
    pub settings: Vec<(&'static str, u32)>,
    /// Values of its pipeline-overridable constants.
    pub constants: Vec<(&'static str, u32)>,
    /// The workgroups of its dispatch, where they are too many along an axis and folded (shaders/grid.wgsl).
    pub grid: Option<[u32; 3]>,
}

impl Kernel {
    /// The shader with these settings, which binds nothing yet.
    pub fn new(shader: &'static str, settings: impl Into<Vec<(&'static str, u32)>>) -> Self {
        Self { shader, bindings: vec![], settings: settings.into(), constants: vec![], grid: None }
    }

    /// A kernel with one invocation an output quad, [`WORKGROUP`] of them a workgroup along x.
    pub fn pointwise(shader: &'static str) -> Self {
        Self::new(shader, [("WORKGROUP", WORKGROUP)])
    }

    /// The same with a further binding.
    pub fn with_binding(mut self, binding: Binding) -> Self {
        self.bindings.push(binding);
        self.bindings.sort();
        self
    }

    /// What is bound to `number`, if anything.
    pub fn binding(&self, number: u32) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.number == number)
    }

    /// The same kernel, which ends with `activation` of an output of so many channels. Whether it is a ReLU or none is in the
    /// uniform, so that these share a kernel.
    pub fn with_activation(mut self, activation: Activation, channels: usize) -> Self {
        match activation {
            Activation::None | Activation::Relu => {}
            Activation::Relu6 => self.settings.push(("RELU6", 1)),
            Activation::LeakyRelu { slope } => self.settings.push(("LEAKY_RELU", slope.to_bits())),
            // Half, and no zero, where channels pad the last quad.
            Activation::Sigmoid => self.settings.push(("SIGMOID", channels as u32)),
            Activation::Tanh => self.settings.push(("TANH", 1)),
        }
        self
    }

    /// What a device must offer to run it.
    #[cfg(test)]
    pub fn features(&self) -> wgpu::Features {
        let subgroups = self.shader.ends_with("_broadcast") || self.shader.ends_with("_quads");
        if subgroups { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() }
    }

    /// The precision of its packed weights, if it has any.
    pub fn weights(&self) -> Option<Precision> {
        self.binding(binding::WEIGHTS).map(|binding| binding.precision)
    }

    /// What this kernel is, in a word or two: for lists and labels.
    pub fn label(&self) -> String {
        let mut label = self.shader.to_string();
        for (name, value) in self.settings.iter().filter(|(n, _)| *n != "WORKGROUP" && !n.ends_with("_THREADS")) {
            label += &match *name {
                "RELU6" | "LEAKY_RELU" | "SIGMOID" | "TANH" | "DILATED" => format!(" {}", name.to_lowercase()),
                _ => format!(" {}={value}", name.to_lowercase()),
            };
        }
        if let Some(precision @ (Precision::F16 | Precision::Int8)) = self.weights() {
            label += &format!(" {precision}");
        }
        if let Some(texture) =
            self.bindings.iter().map(|binding| binding.storage).find(|&s| s != Storage::StorageBuffer)
        {
            label += &format!(" {}", texture.name());
        }
        if self.grid.is_some() {
            label += " folded";
        }
        label
    }
}

/// One dispatch of a kernel that binds nothing yet.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub kernel: Kernel,
    /// The bytes of its uniform.
    pub uniform: Vec<u8>,
    pub workgroups: [u32; 3],
    /// Multiply-adds of its matrix product, if it is one: with the channels that pad a quad.
    pub multiply_adds: u64,
}

impl Work {
    /// A dispatch of `kernel` with the bytes of its uniform.
    pub fn new(kernel: Kernel, uniform: &[u8], workgroups: [u32; 3]) -> Self {
        Self { kernel, uniform: uniform.to_vec(), workgroups, multiply_adds: 0 }
    }

    /// The same with no more workgroups along an axis than every device takes: more are dispatched as rows of that many, and
    /// the kernel finds out which of its grid each one is.
    ///
    /// # Errors
    ///
    /// The number of workgroups, where there are too many in all.
    pub fn folded(mut self) -> Result<Self, u128> {
        if self.workgroups.iter().any(|&n| n > MAX_WORKGROUPS) {
            let all: u128 = self.workgroups.iter().map(|&n| u128::from(n)).product();
            let rows = all.div_ceil(MAX_WORKGROUPS.into());
            // Which number a workgroup has is computed in 32 bits.
            if rows * u128::from(MAX_WORKGROUPS) > u32::MAX.into() {
                return Err(all);
            }
            self.kernel.grid = Some(self.workgroups);
            self.workgroups = [MAX_WORKGROUPS, rows as u32, 1];
        }
        Ok(self)
    }
}

/// vec4s that an activation of one picture takes: channels last, padded to a multiple of four.
pub(crate) fn activation_quads(shape: Shape) -> usize {
    shape.height * shape.width * shape.channels.div_ceil(4)
}

/// The workgroups of a [pointwise](Kernel::pointwise) kernel for `batch` outputs of `shape`.
pub(crate) fn pointwise_workgroups(shape: Shape, batch: usize) -> [u32; 3] {
    let quads = (shape.width * shape.channels.div_ceil(4)) as u32;
    [quads.div_ceil(WORKGROUP), shape.height as u32, batch as u32]
}

/// Whether a ReLU follows, as uniforms have it.
pub(crate) fn relu_flag(activation: Activation) -> u32 {
    (activation == Activation::Relu).into()
}

/// The setting with which a shader that slides a window reads a dilation: without one, it is the same shader for all.
pub(crate) fn dilated(dilation: [usize; 2]) -> Option<(&'static str, u32)> {
    (dilation != [1, 1]).then_some(("DILATED", 1))
}
