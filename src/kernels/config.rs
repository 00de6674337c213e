//! Kernel configuration: kernel family, storage of arrays, precision of weights.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::WORKGROUP;

/// Where activations and weights live on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Storage {
    /// Storage buffers, for GPUs.
    #[serde(rename = "buffer")]
    StorageBuffer,
    /// rgba32float storage textures, for reading too: the fastest on lavapipe. Some arrays between the dispatches of a
    /// layer are in storage buffers, which lavapipe writes fastest.
    #[serde(rename = "texture")]
    StorageTexture,
    /// rgba32float textures that are sampled when read: the fastest on SwiftShader.
    #[serde(rename = "sampled")]
    SampledTexture,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StorageBuffer, Self::StorageTexture, Self::SampledTexture];

    /// Returns the name as written in a [`BlockedVariant`](crate::BlockedVariant).
    pub fn name(self) -> &'static str {
        match self {
            Self::StorageBuffer => "buffer",
            Self::StorageTexture => "texture",
            Self::SampledTexture => "sampled",
        }
    }

    /// Storage of the arrays between the dispatches of a layer; the first is for the array that a matrix product reads
    /// repeatedly. lavapipe stores to buffers several times faster than to textures. Its loads from buffers before Mesa
    /// 23, lane by lane through the stack, stall AMD's processors.
    pub(crate) fn of_scratch(self) -> [Self; 2] {
        match self {
            Self::StorageBuffer => [Self::StorageBuffer; 2],
            Self::StorageTexture => [Self::StorageTexture, Self::StorageBuffer],
            Self::SampledTexture => [Self::SampledTexture; 2],
        }
    }
}

/// The kernel family: how convolutions and fully connected layers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// Tiles in workgroup memory, for GPUs. Needs nothing beyond WebGPU's defaults.
    #[serde(rename = "tiled")]
    WorkgroupTiled,
    /// Tiles in registers, for software adapters. One operand is shared by subgroup broadcast, or with four lanes by
    /// swapping them. Needs subgroups of at least `lanes` lanes.
    #[serde(rename = "broadcast")]
    SubgroupBroadcast {
        /// Lanes per workgroup: 4, 8 or 16.
        lanes: u32,
    },
    /// Products by cooperative matrices (tensor cores), for GPUs that have them: f16 operands and f32 sums, so that
    /// results are less exact than those of the other families ([`Arithmetic::Fast`]). With
    /// [`Storage::StorageBuffer`] only. Everything else is computed as in [`Family::WorkgroupTiled`].
    #[serde(rename = "cooperative")]
    CooperativeMatrix {
        /// Rows, columns and k of a matrix: 8 or 16.
        size: u32,
        /// The lanes that subgroups are expected to have: 32 or 64. With others the results are the same, and come later.
        lanes: u32,
    },
}

impl Family {
    /// Whether its products can be split along k.
    pub(crate) fn splits(self) -> bool {
        matches!(self, Self::WorkgroupTiled | Self::CooperativeMatrix { .. })
    }
}

/// A kernel configuration for an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KernelConfig {
    /// Kernels of the convolutions and fully connected layers.
    pub family: Family,
    /// Storage of activations and weights.
    pub storage: Storage,
}

impl KernelConfig {
    /// Makes a configuration.
    pub const fn new(family: Family, storage: Storage) -> Self {
        Self { family, storage }
    }

    /// The configuration with f32 operands that shares this one's arrays.
    pub(crate) fn exact(self) -> Self {
        match self.family {
            Family::CooperativeMatrix { .. } => Self { family: Family::WorkgroupTiled, ..self },
            Family::WorkgroupTiled | Family::SubgroupBroadcast { .. } => self,
        }
    }

    /// Invocations that share a reduction of one image's vector. On a processor it is one: those that meet at barriers take
    /// turns there, and its drivers take long to compile barriers.
    pub(crate) fn reducing_threads(self) -> u32 {
        match self.family {
            Family::SubgroupBroadcast { .. } => 1,
            Family::WorkgroupTiled | Family::CooperativeMatrix { .. } => WORKGROUP,
        }
    }

    /// The number of lanes for a kernel that mostly reads, at most `lanes`. From storage buffers, lavapipe (Mesa 25)
    /// reads twice as fast with four lanes as with eight.
    pub(super) fn streaming_lanes(self, lanes: u32) -> u32 {
        match self.storage {
            Storage::StorageBuffer => lanes.min(4),
            Storage::StorageTexture | Storage::SampledTexture => lanes,
        }
    }
}

/// How exactly products are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Arithmetic {
    /// f32 operands and sums.
    #[default]
    Exact,
    /// f16 operands and f32 sums where the device has cooperative matrices ([`Family::CooperativeMatrix`]), else as
    /// [`Arithmetic::Exact`]. Operands are rounded to 11 bits.
    Fast,
}

impl Arithmetic {
    /// Returns the name that the command's `--precision` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arithmetic {
    type Err = UnknownArithmetic;
    fn from_str(s: &str) -> Result<Self, UnknownArithmetic> {
        [Self::Exact, Self::Fast]
            .into_iter()
            .find(|a| a.name() == s)
            .ok_or_else(|| UnknownArithmetic { found: s.into() })
    }
}

/// A name that does not denote an [`Arithmetic`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected exact or fast, found `{found}`")]
pub struct UnknownArithmetic {
    found: String,
}

/// Precision of the fully connected layers' weights on the device. At batch 1, most of a run is spent on reading them.
/// Inputs, outputs, sums and all other weights are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Precision {
    /// Four bytes per weight.
    #[default]
    F32,
    /// IEEE half precision: two bytes per weight, exact for files with f16 weights.
    F16,
    /// One byte per weight, and a scale per output: the largest magnitude of its weights is 127.
    Int8,
}

impl Precision {
    /// All precisions, most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// Returns the name that the command's `--dtype` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Returns the bytes per weight.
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

/// A name that does not denote a precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected f32, f16 or int8, found `{found}`")]
pub struct UnknownPrecision {
    found: String,
}

/// The algorithm of a convolution or fully connected layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Algorithm {
    /// Directly by the definition.
    #[default]
    Direct,
    /// Winograd's minimal filtering with tiles of `tile` × `tile` outputs: fewer multiplications, larger weights.
    /// Convolutions that it does not apply to are computed directly: those with kernels that are not square or too
    /// large, or a stride other than 1. A network's first layer may have a stride if stride × channels is a multiple of
    /// four.
    Winograd {
        /// 2 to 6 for 3×3 kernels, and for 11×11 with stride 4; 2 to 4 for 5×5.
        tile: usize,
    },
    /// The direct algorithm, with the sum over k split into `parts` that a second pass adds up. For layers with too few
    /// outputs to fill a GPU, with [`Family::WorkgroupTiled`] or [`Family::CooperativeMatrix`]. The layer is computed
    /// directly with other kernels, for fully connected layers with few images (at most 16, with cooperative matrices 4),
    /// and where the parts would take more than 16 MB.
    SplitK {
        /// At least 2.
        parts: usize,
    },
    /// The direct algorithm with [`Family::WorkgroupTiled`] in workgroup tiles of other sizes than 64×64, and with
    /// the sum over k split as in [`Algorithm::SplitK`]. The layer is computed directly with other kernels, and where the
    /// parts would take more than 16 MB.
    Tile {
        /// Rows of a tile, outputs of all images: 16, 32 or 128. Tiles of 128 rows have 8×8 sums an invocation instead
        /// of 8×4.
        rows: usize,
        /// The number of parts of the sum over k: 1 or more.
        parts: usize,
    },
    /// Directly, with f32 operands where [`Family::CooperativeMatrix`] would round them to f16; otherwise the same as
    /// [`Algorithm::Direct`].
    DirectF32,
}

impl Algorithm {
    /// Rows of a workgroup tile, where the algorithm says.
    pub(crate) fn tile_rows(self) -> Option<usize> {
        match self {
            Self::Tile { rows, .. } => Some(rows),
            Self::Direct | Self::DirectF32 | Self::SplitK { .. } | Self::Winograd { .. } => None,
        }
    }

    /// The number of parts that the sum over k is split into.
    pub(crate) fn parts(self) -> usize {
        match self {
            Self::SplitK { parts } | Self::Tile { parts, .. } => parts,
            Self::Direct | Self::DirectF32 | Self::Winograd { .. } => 1,
        }
    }
}

/// Whether shaders have the checks that wgpu adds to every access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// The shader checks every index.
    On,
    /// Indices are trusted: they are bounded by construction, as tests prove.
    #[default]
    Off,
}
