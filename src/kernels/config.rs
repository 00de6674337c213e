//! The choices that a kernel has: how it works, where arrays live, how weights are held.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where activations and weights live on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Storage {
    /// Storage buffers. For GPUs.
    #[serde(rename = "buffer")]
    StorageBuffer,
    /// rgba32float storage textures, for reading too, which lavapipe does quickest. Some of what lies between the dispatches of
    /// one layer is in storage buffers, which it writes quickest.
    #[serde(rename = "texture")]
    StorageTexture,
    /// rgba32float textures that are sampled where they are read: what SwiftShader reads quickest.
    #[serde(rename = "sampled")]
    SampledTexture,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StorageBuffer, Self::StorageTexture, Self::SampledTexture];

    /// As [`BlockedVariant`](crate::BlockedVariant) has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StorageBuffer => "buffer",
            Self::StorageTexture => "texture",
            Self::SampledTexture => "sampled",
        }
    }

    /// Where the arrays live that lie between the dispatches of one layer. lavapipe stores to buffers several times as quickly
    /// as to textures; its loads from them before Mesa 23, lane by lane through the stack, stall AMD's processors. What a matrix
    /// product reads over and over is in the first array.
    pub(crate) fn of_scratch(self) -> [Self; 2] {
        match self {
            Self::StorageBuffer => [Self::StorageBuffer; 2],
            Self::StorageTexture => [Self::StorageTexture, Self::StorageBuffer],
            Self::SampledTexture => [Self::SampledTexture; 2],
        }
    }
}

/// How the large layers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// Tiles in workgroup memory; needs nothing beyond WebGPU's defaults. For GPUs.
    #[serde(rename = "tiled")]
    WorkgroupTiled,
    /// Tiles in registers, one operand by subgroup broadcast, or with four lanes by swapping them. For adapters that are a
    /// processor; needs subgroups of at least `lanes` lanes.
    #[serde(rename = "broadcast")]
    SubgroupBroadcast {
        /// Lanes a workgroup uses: 4, 8 or 16.
        lanes: u32,
    },
}

/// A choice of kernels for one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KernelConfig {
    /// Kernels of the convolutions and fully connected layers.
    pub family: Family,
    /// Where they read and write.
    pub storage: Storage,
}

impl KernelConfig {
    /// How many of `lanes` a kernel uses that does little but read: from storage buffers lavapipe (Mesa 25) reads with four
    /// twice as fast as with eight.
    pub(super) fn streaming_lanes(self, lanes: u32) -> u32 {
        match self.storage {
            Storage::StorageBuffer => lanes.min(4),
            Storage::StorageTexture | Storage::SampledTexture => lanes,
        }
    }
}

/// How the weights of fully connected layers are held on the device. At batch 1 most of a run goes into reading them.
/// Inputs, outputs, sums and all other weights are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Precision {
    /// Four bytes a weight.
    #[default]
    F32,
    /// IEEE half precision: two bytes a weight, exact for files of f16 weights.
    F16,
    /// One byte a weight, and a scale for each output: the largest magnitude of its weights is 127.
    Int8,
}

impl Precision {
    /// All of them, most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// As the command's `--dtype` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a weight.
    pub fn bytes(self) -> usize {
        (self.quad_bytes() / 4) as usize
    }

    /// Bytes of four weights.
    pub(crate) fn quad_bytes(self) -> u64 {
        match self {
            Self::F32 => 16,
            Self::F16 => 8,
            Self::Int8 => 4,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;
    fn from_str(s: &str) -> Result<Self, UnknownPrecision> {
        Self::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| UnknownPrecision { found: s.into() })
    }
}

/// There is no such precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected f32, f16 or int8, found `{found}`")]
pub struct UnknownPrecision {
    found: String,
}

/// How a convolution is computed, or a fully connected layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Algorithm {
    /// As the definition says.
    #[default]
    Direct,
    /// Winograd's minimal filtering, by tiles of `tile` × `tile` outputs: fewer multiplications, larger weights.
    /// Convolutions that it does not apply to (kernels that are not square or too large; other strides than 1, but for a
    /// network's first layer whose stride × channels are whole quads) are computed directly.
    Winograd {
        /// 2 to 6 for 3×3 kernels, and for 11×11 with stride 4; 2 to 4 for 5×5.
        tile: usize,
    },
    /// As the definition says, with the sum over k split in `parts` that are added up in a second pass: for layers with
    /// too few outputs to fill a GPU. For [`Family::WorkgroupTiled`]; with other kernels, for fully connected layers of at most 16
    /// pictures, or where the parts would take more than 16 MB, the layer is computed directly.
    SplitK {
        /// At least 2.
        parts: usize,
    },
}

impl Algorithm {
    /// Parts that the sum over k is split in.
    pub(crate) fn parts(self) -> usize {
        match self {
            Self::SplitK { parts } => parts,
            Self::Direct | Self::Winograd { .. } => 1,
        }
    }
}

/// Whether shaders are made with the checks that wgpu adds to every access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// Every index is checked by the shader.
    On,
    /// Indices are trusted: they are bounded by construction, which tests prove.
    #[default]
    Off,
}
