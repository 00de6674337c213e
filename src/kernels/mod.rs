//! The Rust half of each shader: settings, uniform, packing of weights and workgroup count.

pub(crate) mod compare;
mod config;
mod gemm;
pub(crate) mod gradients;
mod grouped_conv;
mod packing;
pub(crate) mod reduce;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod roofline;
mod rows_layout;
mod templates;
mod top_k;
mod window;
mod winograd;

pub use config::{
    Algorithm, Arithmetic, Checks, Family, KernelConfig, Precision, Storage, UnknownArithmetic, UnknownPrecision,
};
use gemm::{BROADCAST_ROWS, TILED_ROWS};
pub(crate) use gemm::{Convolution, Gemm};
pub(crate) use grouped_conv::GroupedConv;
pub(crate) use packing::Packing;
pub(crate) use rows_layout::RowsLayout;
pub(crate) use top_k::top_k;
pub(crate) use window::{WindowUniform, dilated};
pub(crate) use winograd::{Filters, Winograd};

use crate::{activation::Activation, shape::Shape};

/// Texels per row of a texture that holds a flat array. A power of two, since division is slow on some drivers.
pub(crate) const TEXTURE_WIDTH: u32 = 4096;

/// The rows of a texture that holds so many texels: never a power of two. lavapipe before Mesa 23 compiles a pipeline once
/// more for textures that differ in whether their sizes are powers of two.
pub(crate) fn texture_height(texels: u64) -> u64 {
    match texels.div_ceil(TEXTURE_WIDTH.into()) {
        0..=2 => 3,
        rows => rows + u64::from(rows.is_power_of_two()),
    }
}

/// Invocations per workgroup, in the shaders with one invocation per output.
pub(crate) const WORKGROUP: u32 = 64;

/// The maximum number of workgroups along an axis that every WebGPU device supports.
pub(crate) const MAX_WORKGROUPS: u32 = 65_535;

/// Binding numbers in group 0, as in the shaders.
pub(crate) mod binding {
    /// The array that a kernel reads (shaders/input.wgsl).
    pub const X: u32 = 0;
    /// The array that it writes (shaders/output.wgsl).
    pub const Y: u32 = 1;
    /// Its uniform.
    pub const UNIFORM: u32 = 2;
    /// Packed weights (shaders/packed.wgsl).
    pub const WEIGHTS: u32 = 3;
    /// One vec4 per channel quad, in a storage buffer.
    pub const BIAS: u32 = 4;
    /// The factor of each column's weights, for [`Precision::Int8`](super::Precision::Int8).
    pub const SCALES: u32 = 5;
    /// The gradient of a layer's output (shaders/gradient.wgsl).
    pub const GRADIENT: u32 = 6;
    /// The gradient of the bias, or the results of a loss.
    pub const BIAS_GRADIENT: u32 = 7;
    /// A second array that is read (shaders/addend.wgsl).
    pub const ADDEND: u32 = 8;
    /// The positions that max pooling took.
    pub const TAKEN: u32 = 9;
    /// What differs from step to step of training (shaders/step.wgsl).
    pub const STEP: u32 = 10;
    /// The parameters that an optimiser updates, and its moments.
    pub const PARAMETERS: u32 = 11;
    pub const MOMENT1: u32 = 12;
    pub const MOMENT2: u32 = 13;
    /// Where a packing has parameters.
    pub const MASK: u32 = 14;
    /// The squared norm of all gradients.
    pub const NORM: u32 = 15;
    /// The features that LPIPS compares with.
    pub const OTHERS: u32 = 16;
}

/// How a kernel accesses an array that it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
    /// Read and written, in a storage buffer.
    ReadWrite,
}

/// A binding of a kernel, other than its uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Binding {
    /// The binding number in group 0.
    pub number: u32,
    pub access: Access,
    /// The storage of the bound array.
    pub storage: Storage,
    /// The precision of the array's quads.
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
    /// File name in `shaders/`, without extension.
    pub shader: &'static str,
    /// Its bindings. The bind group layout, the required limits and the tests derive from them.
    pub bindings: Vec<Binding>,
    /// Values that the template is rendered with.
    pub settings: Vec<(&'static str, u32)>,
    /// Values of its pipeline-overridable constants.
    pub constants: Vec<(&'static str, u32)>,
    /// The workgroup count of its dispatch, where an axis exceeds the maximum and the grid is folded
    /// (shaders/grid.wgsl).
    pub grid: Option<[u32; 3]>,
}

impl Kernel {
    /// The shader with these settings, without bindings.
    pub fn new(shader: &'static str, settings: impl Into<Vec<(&'static str, u32)>>) -> Self {
        Self { shader, bindings: vec![], settings: settings.into(), constants: vec![], grid: None }
    }

    /// A kernel with one invocation per output quad, and [`WORKGROUP`] invocations per workgroup along x.
    pub fn pointwise(shader: &'static str) -> Self {
        Self::new(shader, [("WORKGROUP", WORKGROUP)])
    }

    /// Adds a binding.
    pub fn with_binding(mut self, binding: Binding) -> Self {
        self.bindings.push(binding);
        self.bindings.sort();
        self
    }

    /// The binding with this number, if there is one.
    pub fn binding(&self, number: u32) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.number == number)
    }

    /// Ends the kernel with `activation`, for an output of `channels` channels. ReLU and no activation are chosen by
    /// the uniform, so they share a kernel.
    pub fn with_activation(mut self, activation: Activation, channels: usize) -> Self {
        match activation {
            Activation::None | Activation::Relu => {}
            Activation::Relu6 => self.settings.push(("RELU6", 1)),
            Activation::LeakyRelu { slope } => self.settings.push(("LEAKY_RELU", slope.to_bits())),
            // Sigmoid is one half, not zero, for channels that pad the last quad.
            Activation::Sigmoid => self.settings.push(("SIGMOID", channels as u32)),
            Activation::Tanh => self.settings.push(("TANH", 1)),
            Activation::Elu { alpha } => self.settings.push(("ELU", alpha.to_bits())),
            Activation::Selu => self
                .settings
                .extend([("ELU", Activation::SELU_ALPHA.to_bits()), ("SELU_SCALE", Activation::SELU_SCALE.to_bits())]),
        }
        self
    }

    /// The features that it needs.
    #[cfg(test)]
    pub fn features(&self) -> wgpu::Features {
        if self.shader.ends_with("_cooperative") {
            crate::select::MATRIX_FEATURES
        } else if self.shader.ends_with("_broadcast") || self.shader.ends_with("_quads") {
            wgpu::Features::SUBGROUP
        } else {
            wgpu::Features::empty()
        }
    }

    /// The precision of its packed weights, if it has any.
    pub fn weights(&self) -> Option<Precision> {
        self.binding(binding::WEIGHTS).map(|binding| binding.precision)
    }

    /// A label of one or two words, for lists.
    pub fn label(&self) -> String {
        let mut label = self.shader.to_string();
        for (name, value) in self.settings.iter().filter(|(n, _)| *n != "WORKGROUP" && !n.ends_with("_THREADS")) {
            label += &match *name {
                "ELU" if self.settings.iter().any(|(name, _)| *name == "SELU_SCALE") => continue,
                "SELU_SCALE" => " selu".into(),
                "RELU6" | "LEAKY_RELU" | "SIGMOID" | "TANH" | "ELU" | "DILATED" => format!(" {}", name.to_lowercase()),
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

/// One dispatch of a kernel, without bound arrays.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub kernel: Kernel,
    /// The bytes of its uniform.
    pub uniform: Vec<u8>,
    pub workgroups: [u32; 3],
    /// Multiply-adds of the matrix product, if it is one, including channels that pad a quad.
    pub multiply_adds: u64,
}

impl Work {
    /// A dispatch of `kernel` with the bytes of its uniform.
    pub fn new(kernel: Kernel, uniform: &[u8], workgroups: [u32; 3]) -> Self {
        Self { kernel, uniform: uniform.to_vec(), workgroups, multiply_adds: 0 }
    }

    /// Folds the grid where an axis exceeds the maximum that every device supports. The workgroups are then dispatched
    /// in rows of the maximum length, and the kernel computes its place in the grid.
    ///
    /// # Errors
    ///
    /// The workgroup count, where the total is too large.
    pub fn folded(mut self) -> Result<Self, u128> {
        if self.workgroups.iter().any(|&n| n > MAX_WORKGROUPS) {
            let all: u128 = self.workgroups.iter().map(|&n| u128::from(n)).product();
            let rows = all.div_ceil(MAX_WORKGROUPS.into());
            // The shader computes a workgroup's index in 32 bits.
            if rows * u128::from(MAX_WORKGROUPS) > u32::MAX.into() {
                return Err(all);
            }
            self.kernel.grid = Some(self.workgroups);
            self.workgroups = [MAX_WORKGROUPS, rows as u32, 1];
        }
        Ok(self)
    }
}

/// vec4s of an activation per image: channels last, padded to a multiple of four.
pub(crate) fn activation_quads(shape: Shape) -> usize {
    shape.height * shape.width * shape.channels.div_ceil(4)
}

/// The workgroup count of a [pointwise](Kernel::pointwise) kernel for `batch` outputs of `shape`.
pub(crate) fn pointwise_workgroups(shape: Shape, batch: usize) -> [u32; 3] {
    let quads = (shape.width * shape.channels.div_ceil(4)) as u32;
    [quads.div_ceil(WORKGROUP), shape.height as u32, batch as u32]
}

/// Whether the activation function is ReLU, as a uniform's flag.
pub(crate) fn relu_flag(activation: Activation) -> u32 {
    (activation == Activation::Relu).into()
}
