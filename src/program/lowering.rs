//! Lowering of a layer into a program.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    Array, ArrayId, Bound, Parameter, Program, ProgramError, QUAD, Role, Training,
    parameters::{Numbers, PackedWeights},
    read, write,
};
use crate::{
    kernels::{
        Algorithm, KernelConfig, Packing, Precision, RowsLayout, Storage, Winograd, Work, activation_quads,
        binding::{X, Y},
    },
    shape::{MAX_WEIGHT, Shape},
};

/// Explicitly chosen algorithms, by the layer's name.
pub(crate) type Algorithms = BTreeMap<String, Algorithm>;

/// How a network is lowered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    pub config: KernelConfig,
    /// Images per run.
    pub batch: usize,
    /// Precision of the fully connected layers' weights.
    pub precision: Precision,
    /// Algorithms of single layers; the others use the best one for the kernel configuration.
    pub algorithms: &'a Algorithms,
    /// The maximum number of vec4s in one binding.
    pub limit: u64,
    /// The number of largest outputs to find, in networks that end in a vector; 0 for none.
    pub top: usize,
}

/// The arrays of a layer's packed weights.
pub(crate) struct WeightArrays {
    /// Ranges of column blocks, and the array that they are in.
    pub chunks: Vec<(Range<u32>, ArrayId)>,
    /// The factor of each column's weights, for [`Precision::Int8`].
    pub scales: Option<ArrayId>,
}

/// The state of a layer while it is lowered into a program.
pub(crate) struct Lowering<'a> {
    pub options: Options<'a>,
    /// The algorithm by which it is computed.
    pub algorithm: Algorithm,
    /// The layout of the layer's input, if not the usual one.
    pub input_layout: Option<RowsLayout>,
    /// The layer's name, the prefix of its tensors' names.
    pub name: &'a str,
    /// The shape of its input.
    pub input: Shape,
    /// The shape of its output.
    pub output: Shape,
    /// Set where a backward pass follows.
    pub training: Option<Training>,
    /// Arrays that are kept for the backward pass.
    pub kept: Vec<ArrayId>,
    x: ArrayId,
    y: Option<ArrayId>,
    program: &'a mut Program,
}

impl<'a> Lowering<'a> {
    /// The kernel configuration of the layer: that of the network, or the one with f32 operands where the algorithm has
    /// those.
    pub fn config(&self) -> KernelConfig {
        match self.algorithm {
            Algorithm::DirectF32 | Algorithm::Winograd { .. } => self.options.config.exact(),
            Algorithm::Direct | Algorithm::SplitK { .. } | Algorithm::Tile { .. } => self.options.config,
        }
    }

    /// A layer that reads `x`.
    pub fn new(
        program: &'a mut Program,
        options: Options<'a>,
        (name, [input, output]): (&'a str, [Shape; 2]),
        algorithm: Algorithm,
        x: ArrayId,
        input_layout: Option<RowsLayout>,
    ) -> Self {
        let (training, kept) = (None, Vec::new());
        Self { options, algorithm, input_layout, name, input, output, training, kept, x, y: None, program }
    }

    /// The array of the layer's output, once it is lowered.
    pub fn finish(self) -> ArrayId {
        self.y.unwrap_or(self.x)
    }

    /// The array of its input.
    pub fn x(&self) -> ArrayId {
        self.x
    }

    /// The array of its output. A layer that never calls this computes nothing: its output is its input.
    pub fn y(&mut self) -> ArrayId {
        if let Some(y) = self.y {
            return y;
        }
        let quads = activation_quads(self.output) * self.options.batch;
        let y = Array::quads("activation", quads, self.options.config.storage, Role::Temporary);
        let y = self.program.array(y);
        self.y = Some(y);
        y
    }

    /// An array that the backward pass reads, of one quad of `precision` for each of the output.
    pub fn keep(&mut self, label: &'static str, precision: Precision) -> ArrayId {
        let quads = (activation_quads(self.output) * self.options.batch) as u64;
        let (storage, role) = (Storage::StorageBuffer, Role::Temporary);
        let array = Array { label, bytes: quads * precision.quad_bytes(), precision, storage, role };
        let array = self.program.array(array);
        self.kept.push(array);
        array
    }

    /// An array between the layer's dispatches.
    pub fn scratch(&mut self, quads: usize, storage: Storage) -> ArrayId {
        self.program.array(Array::quads("scratch", quads, storage, Role::Temporary))
    }

    /// The program that the layer is lowered into.
    pub fn program(&mut self) -> &mut Program {
        self.program
    }

    /// Adds a dispatch.
    pub fn dispatch(&mut self, work: Work, bound: &[Bound]) -> Result<(), ProgramError> {
        self.program.dispatch(self.name, work, bound)
    }

    /// Adds a dispatch that reads the layer's input and writes its output.
    pub fn pointwise(&mut self, work: Work) -> Result<(), ProgramError> {
        let bound = [read(X, self.x), write(Y, self.y())];
        self.dispatch(work, &bound)
    }

    /// The layer's weights, packed by `packing`, in arrays that fit a binding.
    pub fn weights(&mut self, packing: Packing, winograd: Option<Winograd>) -> Result<WeightArrays, ProgramError> {
        let layer = self.name.to_string();
        let Options { config, limit, .. } = self.options;
        let in_place = self.training.is_some_and(|training| training.in_place);
        let storage = if in_place { Storage::StorageBuffer } else { config.storage };
        if packing.packed_len() > MAX_WEIGHT {
            return Err(ProgramError::PackedWeights { layer, found: packing.packed_len() });
        }
        let precision = packing.precision();
        let quad_bytes = precision.quad_bytes();
        // Buffers are limited in bytes, textures in texels.
        let quads = match storage {
            Storage::StorageBuffer => limit * QUAD / quad_bytes,
            Storage::StorageTexture | Storage::SampledTexture => limit,
        };
        // In a browser, usize may be smaller than a limit.
        let numbers = usize::try_from(quads.saturating_mul(4)).unwrap_or(usize::MAX);
        let Some(ranges) = packing.chunks(numbers) else {
            let needed = packing.block_bytes() * packing.groups() as u64;
            return Err(ProgramError::WeightBlock { layer, needed, limit: quads * quad_bytes });
        };
        let array = |blocks: &Range<u32>| {
            let quads = packing.groups() * blocks.len() * packing.block_len() / 4;
            let bytes = quads as u64 * quad_bytes;
            Array { label: "weights", bytes, precision, storage, role: Role::Parameter }
        };
        let chunks: Vec<_> = ranges.into_iter().map(|r| (r.clone(), self.program.array(array(&r)))).collect();
        let scales = (precision == Precision::Int8)
            .then(|| Array::quads("scales", packing.bias_len() / 4, Storage::StorageBuffer, Role::Parameter))
            .map(|array| self.program.array(array));
        let packed = PackedWeights { layer, packing, winograd, chunks: chunks.clone(), scales };
        self.program.parameters.push(Parameter::Weights(Box::new(packed)));
        Ok(WeightArrays { chunks, scales })
    }

    /// An array of `quads` vec4s in a storage buffer, which `numbers` computes from the model's weights.
    pub fn vector(&mut self, label: &'static str, quads: usize, numbers: Numbers) -> ArrayId {
        self.program.vector(label, quads, numbers)
    }

    /// The layer's bias, laid out by `form` in `quads` vec4s.
    pub fn bias(&mut self, quads: usize, form: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static) -> ArrayId {
        let name = format!("{}.bias", self.name);
        let numbers: Numbers = Arc::new(move |weights| {
            let bias = weights.tensor(&name)?;
            Ok(form(&bias.finite(&name, bias.numbers())?))
        });
        self.vector("bias", quads, numbers)
    }

    /// The layer's bias, one value per output channel, padded to whole quads.
    pub fn channel_bias(&mut self) -> ArrayId {
        let len = self.output.channels.next_multiple_of(4);
        self.bias(len / 4, move |bias| {
            let mut quads = bias.to_vec();
            quads.resize(len, 0.0);
            quads
        })
    }
}
