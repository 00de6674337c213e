//! The Rust half of each shader: its settings, its uniforms, how its weights are packed and how many
//! workgroups it takes. A [`Dispatch`] is a value: it can be listed, compared and tested without a network.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod ceiling;
mod gemm;
mod grouped_conv;
mod local_response_norm;
mod packing;
mod pool;
mod rows_layout;
mod vector;
mod winograd;

pub(crate) use gemm::Gemm;
use gemm::{BROADCAST_ROWS, TILED_ROWS};
pub(crate) use grouped_conv::GroupedConv;
pub(crate) use packing::Packing;
pub(crate) use rows_layout::RowsLayout;
pub(crate) use vector::top_k;
pub(crate) use winograd::Winograd;

use std::{fmt, str::FromStr, sync::OnceLock};

use minijinja::syntax::SyntaxConfig;
use serde::{Deserialize, Serialize};

use crate::{
    activation::Activation,
    network::{Layer, Op, Shape},
};

/// Where activations and weights live on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Storage buffers. For GPUs.
    Buffer,
    /// rgba32float storage textures, for reading too, which lavapipe does quickest. Some of what lies between the dispatches of
    /// one layer is in storage buffers, which it writes quickest.
    Texture,
    /// rgba32float textures that are sampled where they are read: what SwiftShader reads quickest.
    Sampled,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Buffer, Self::Texture, Self::Sampled];

    /// As [`Denial`](crate::Denial) has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::Texture => "texture",
            Self::Sampled => "sampled",
        }
    }

    /// Where the arrays live that lie between the dispatches of one layer. lavapipe stores to buffers several times as quickly
    /// as to textures; its loads from them before Mesa 23, lane by lane through the stack, stall AMD's processors. What a matrix
    /// product reads over and over is in the first array.
    pub(crate) fn of_scratch(self) -> [Self; 2] {
        match self {
            Self::Buffer => [Self::Buffer; 2],
            Self::Texture => [Self::Texture, Self::Buffer],
            Self::Sampled => [Self::Sampled; 2],
        }
    }
}

/// How the large layers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Tiles in workgroup memory; needs nothing beyond WebGPU's defaults. For GPUs.
    Tiled,
    /// Tiles in registers, one operand by subgroup broadcast, or with four lanes by swapping them. For adapters that are a
    /// processor; needs subgroups of at least `lanes` lanes.
    Broadcast {
        /// Lanes a workgroup uses: 4, 8 or 16.
        lanes: u32,
    },
}

/// A choice of kernels for one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Style {
    /// Kernels of the convolutions and fully connected layers.
    pub family: Family,
    /// Where they read and write.
    pub storage: Storage,
}

impl Style {
    /// How many of `lanes` a kernel uses that does little but read: from storage buffers lavapipe (Mesa 25) reads with four
    /// twice as fast as with eight.
    fn streaming_lanes(self, lanes: u32) -> u32 {
        match self.storage {
            Storage::Buffer => lanes.min(4),
            Storage::Texture | Storage::Sampled => lanes,
        }
    }
}

/// How the weights of fully connected layers are held on the device. At batch 1 most of a run goes into reading them.
/// Inputs, outputs, sums and all other weights are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Texels in a row of a texture that stands for a flat array, a power of two: not every driver divides quickly.
pub(crate) const TEXTURE_WIDTH: u32 = 4096;

/// Invocations of a workgroup in the shaders that have one invocation an output.
pub(crate) const WORKGROUP: u32 = 64;

/// The most workgroups of a dispatch along an axis that every WebGPU device takes.
pub(crate) const MAX_WORKGROUPS: u32 = 65_535;

/// A shader in one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kernel {
    /// File in `shaders/`, without its ending.
    pub shader: &'static str,
    /// Where activations and weights live.
    pub storage: Storage,
    /// Where that lives which it reads.
    pub reads: Storage,
    /// Where that lives which it writes.
    pub writes: Storage,
    /// Values the file is rendered with.
    pub settings: Vec<(&'static str, u32)>,
    /// Values of its pipeline-overridable constants.
    pub constants: Vec<(&'static str, u32)>,
    /// How it reads packed weights, if at all.
    pub weights: Option<Precision>,
    /// Whether it reads a bias.
    pub reads_bias: bool,
    /// The workgroups of its dispatch, where they are too many along an axis and folded (shaders/grid.wgsl).
    pub grid: Option<[u32; 3]>,
}

/// One dispatch of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub kernel: Kernel,
    /// The bytes of its uniform.
    pub uniform: Vec<u8>,
    pub workgroups: [u32; 3],
    /// Multiply-adds of its matrix product, if it is one: with the channels that pad a quad.
    pub multiply_adds: u64,
    /// What it reads.
    pub reads: Place,
    /// What it writes.
    pub writes: Place,
    /// Which chunk of the layer's packed weights it reads.
    pub chunk: Option<usize>,
    /// Which bias it reads.
    pub bias: Option<Bias>,
}

/// Where a dispatch of a layer reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The layer's input, or its output.
    Layer,
    /// One of two arrays between the dispatches of one layer.
    Scratch(usize),
}

impl Place {
    /// Where it lives, where activations live in `storage`.
    fn storage(self, storage: Storage) -> Storage {
        match self {
            Self::Layer => storage,
            Self::Scratch(index) => storage.of_scratch()[index],
        }
    }
}

/// The layer's bias as a kernel wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bias {
    /// `[group][block][columns]`, as the weights are packed.
    Columns,
    /// As many zeros.
    Zero,
    /// One number a channel, padded to whole quads.
    Quads,
}

impl Dispatch {
    /// A dispatch without weights, from the layer's input to its output.
    pub(crate) fn pointwise(kernel: Kernel, uniform: &[u8], workgroups: [u32; 3]) -> Self {
        let uniform = uniform.to_vec();
        let [reads, writes] = [Place::Layer; 2];
        Self { kernel, uniform, workgroups, multiply_adds: 0, reads, writes, chunk: None, bias: None }
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

    /// The same from `reads` to `writes`.
    fn between(mut self, reads: Place, writes: Place) -> Self {
        (self.reads, self.writes) = (reads, writes);
        self.kernel.reads = reads.storage(self.kernel.storage);
        self.kernel.writes = writes.storage(self.kernel.storage);
        self
    }
}

/// What computes a layer.
#[derive(Debug)]
pub(crate) enum Computation {
    /// A matrix product, which wants its weights packed.
    Gemm(Gemm),
    /// A convolution through transformed tiles, which wants its weights transformed and packed.
    Winograd(Winograd),
    /// A convolution in groups of few channels, which wants its weights packed.
    GroupedConv(GroupedConv),
    /// One dispatch without weights.
    Dispatch(Dispatch),
    /// The output is the input.
    Nothing,
}

/// How a convolution is computed, or a fully connected layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// too few outputs to fill a GPU. For [`Family::Tiled`]; with other kernels, for fully connected layers of at most 16
    /// pictures, or where the parts would take more than 16 MB, the layer is computed directly.
    SplitK {
        /// At least 2.
        parts: usize,
    },
}

/// What computes `layer` for `batch` pictures. `precision` is for fully connected layers. `rows_layout` says how its input is laid out where it is the
/// network's.
pub(crate) fn computation(
    layer: &Layer,
    algorithm: Algorithm,
    precision: Precision,
    rows_layout: Option<RowsLayout>,
    batch: usize,
    style: Style,
) -> Computation {
    let (input, output, storage) = (layer.input, layer.output, style.storage);
    let parts = match algorithm {
        Algorithm::SplitK { parts } => parts,
        _ => 1,
    };
    match &layer.op {
        Op::Conv(conv) => {
            let winograd = match algorithm {
                Algorithm::Winograd { tile } => Winograd::new(conv, input, output, batch, tile, rows_layout),
                _ => None,
            };
            if let Some(winograd) = winograd {
                return Computation::Winograd(winograd);
            }
            let gemm = Gemm::conv(conv, input, output, batch).with_rows_layout(rows_layout);
            match GroupedConv::where_it_pays(conv, input, output, batch, style) {
                Some(grouped) => Computation::GroupedConv(grouped),
                None => Computation::Gemm(gemm.split(parts, style)),
            }
        }
        Op::Linear(linear) => {
            Computation::Gemm(Gemm::linear(linear, input, batch).with_precision(precision).split(parts, style))
        }
        Op::MaxPool(pool) => Computation::Dispatch(pool::max_pool(pool, input, output, batch, storage)),
        Op::AdaptiveAvgPool(_) => Computation::Dispatch(pool::adaptive_avg_pool(input, output, batch, storage)),
        Op::LocalResponseNorm(norm) => {
            Computation::Dispatch(local_response_norm::local_response_norm(norm, input, batch, storage))
        }
        Op::Softmax => Computation::Dispatch(vector::softmax(input.len(), batch, storage)),
        Op::Dropout => Computation::Nothing,
    }
}

/// vec4s that an activation of one picture takes: channels last, padded to a multiple of four.
pub(crate) fn activation_quads(shape: Shape) -> usize {
    shape.height * shape.width * shape.channels.div_ceil(4)
}

macro_rules! shaders {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../shaders/", $name, ".wgsl")))),*]
    };
}

const SHADERS: &[(&str, &str)] = shaders![
    "activate",
    "adaptive_avg_pool",
    "buffer_input",
    "ceiling_multiply",
    "ceiling_read",
    "gemm",
    "gemm_broadcast",
    "gemm_quads",
    "gemm_tiled",
    "grid",
    "grouped_conv",
    "input",
    "local_response_norm",
    "matvec_broadcast",
    "matvec_quads",
    "matvec_tiled",
    "max_pool",
    "output",
    "packed",
    "softmax",
    "sum_parts",
    "texture_input",
    "top_k",
    "winograd",
    "winograd_input",
    "winograd_input_columns",
    "winograd_input_rows",
    "winograd_input_tiles",
    "winograd_input_workgroup",
    "winograd_output",
    "winograd_output_columns",
    "winograd_output_rows",
    "winograd_output_tiles",
    "winograd_output_workgroup",
];

/// The files of `shaders/` as templates: lines that start with `//%` are statements, `${…}` is a value.
fn templates() -> &'static minijinja::Environment<'static> {
    static TEMPLATES: OnceLock<minijinja::Environment<'static>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut templates = minijinja::Environment::new();
        templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        if let Ok(syntax) = SyntaxConfig::builder()
            .variable_delimiters("${", "}")
            .comment_delimiters("/*#", "#*/")
            .line_statement_prefix("//%")
            .build()
        {
            templates.set_syntax(syntax);
        }
        for (name, source) in SHADERS {
            let name = format!("{name}.wgsl");
            if let Err(e) = templates.add_template_owned(name, *source) {
                log::error!("shader template: {e:#}");
            }
        }
        templates
    })
}

impl Kernel {
    /// The WGSL.
    ///
    /// # Errors
    ///
    /// A template that does not render; none in a library that passes its tests.
    pub fn source(&self) -> Result<String, minijinja::Error> {
        let mut values: std::collections::BTreeMap<&str, minijinja::Value> =
            self.settings.iter().map(|&(name, value)| (name, value.into())).collect();
        for (name, storage) in [("storage", self.storage), ("reads", self.reads), ("writes", self.writes)] {
            values.insert(name, storage.name().into());
        }
        values.insert("reads_bias", self.reads_bias.into());
        values.insert("GRID", self.grid.map(Vec::from).into());
        values.insert("GRID_ROW", MAX_WORKGROUPS.into());
        values.insert("TEXTURE_WIDTH", TEXTURE_WIDTH.into());
        values.insert("TEXTURE_SHIFT", TEXTURE_WIDTH.ilog2().into());
        if let Some(precision) = self.weights {
            values.insert("weights", precision.name().into());
        }
        let setting = |name| self.settings.iter().find(|(n, _)| *n == name).map(|&(_, value)| value as usize);
        if let (Some(m), Some(r)) = (setting("M"), setting("R")) {
            let transforms = winograd::Transforms::new(m, r);
            values.insert("AT", minijinja::Value::from_serialize(&transforms.at));
            values.insert("BT", minijinja::Value::from_serialize(&transforms.bt));
        }
        templates().get_template(&format!("{}.wgsl", self.shader))?.render(values)
    }

    /// The same kernel, which ends with `activation` of an output of so many channels. Whether it is a ReLU or none is in the
    /// uniform, so that these share a kernel.
    fn with_activation(mut self, activation: Activation, channels: usize) -> Self {
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

    /// What this kernel is, in a word or two: for lists and labels.
    pub fn label(&self) -> String {
        let mut label = self.shader.to_string();
        for (name, value) in self.settings.iter().filter(|(n, _)| *n != "WORKGROUP" && !n.ends_with("_THREADS")) {
            label += &match *name {
                "RELU6" | "LEAKY_RELU" | "SIGMOID" | "TANH" => format!(" {}", name.to_lowercase()),
                _ => format!(" {}={value}", name.to_lowercase()),
            };
        }
        if let Some(precision @ (Precision::F16 | Precision::Int8)) = self.weights {
            label += &format!(" {precision}");
        }
        if self.storage != Storage::Buffer {
            label += &format!(" {}", self.storage.name());
        }
        if self.grid.is_some() {
            label += " folded";
        }
        label
    }
}

/// Whether a ReLU follows, as uniforms have it.
fn relu_flag(activation: Activation) -> u32 {
    (activation == Activation::Relu).into()
}

/// A kernel with one invocation an output quad, [`WORKGROUP`] of them a workgroup along x.
pub(crate) fn pointwise(shader: &'static str, storage: Storage) -> Kernel {
    Kernel {
        shader,
        storage,
        reads: storage,
        writes: storage,
        settings: vec![("WORKGROUP", WORKGROUP)],
        constants: vec![],
        weights: None,
        reads_bias: false,
        grid: None,
    }
}

/// The workgroups of a [`pointwise`] kernel for `batch` outputs of `shape`.
fn pointwise_workgroups(shape: Shape, batch: usize) -> [u32; 3] {
    let quads = (shape.width * shape.channels.div_ceil(4)) as u32;
    [quads.div_ceil(WORKGROUP), shape.height as u32, batch as u32]
}
