//! How each layer will be computed, and its weights on their way to the device.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    ops::Range,
};

use wgpu::{Buffer, BufferUsages};

use super::{
    MAX_BATCH, PipelineError, choice,
    memory::{self, Memory, QUAD, Upload},
    requirements,
};
use crate::{
    gpu::Gpu,
    kernels::{self, Algorithm, Bias, Computation, Dispatch, Packing, Precision, RowsLayout, Storage, Style, Winograd},
    network::{Layer, MAX_WEIGHT, Network, Op},
    weights::Weights,
};

/// Algorithms that somebody chose, by the layer's name.
pub(super) type Algorithms = BTreeMap<String, Algorithm>;

/// One dispatch of a plan: what [`plan`] lists.
#[derive(Clone, Debug)]
pub struct PlannedDispatch {
    /// The layer's name.
    pub layer: String,
    /// What the kernel is, in a few words.
    pub kernel: String,
    /// The shader.
    pub wgsl: String,
    /// Values of the shader's pipeline-overridable constants.
    pub constants: Vec<(&'static str, u32)>,
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
    /// Multiply-adds of its matrix product, if it is one: with the channels that pad a quad.
    pub multiply_adds: u64,
}

/// The dispatches that run `network` on `batch` pictures in `style`, on a device with WebGPU's default limits:
/// for tools that compile, count or print shaders. No device is needed.
///
/// # Errors
///
/// [`PipelineError`] when a layer does not fit those limits, or the batch is not of 1 to [`MAX_BATCH`] pictures.
pub fn plan(
    network: &Network,
    batch: usize,
    style: Style,
    precision: Precision,
) -> Result<Vec<PlannedDispatch>, PipelineError> {
    requirements::check_defaults(network, batch, style, precision)?;
    let limit = wgpu::Limits::default().max_storage_buffer_binding_size / QUAD;
    let mut planned = Vec::new();
    for plan in Plan::all(network, &Algorithms::new(), batch, style, precision, limit)? {
        for Dispatch { kernel, workgroups, multiply_adds, .. } in plan.dispatches {
            let label = kernel.label();
            let wgsl = kernel
                .source()
                .map_err(|e| PipelineError::Shader { kernel: label.clone(), reason: format!("{e:#}") })?;
            let (layer, constants) = (plan.layer.clone(), kernel.constants);
            planned.push(PlannedDispatch { layer, kernel: label, wgsl, constants, workgroups, multiply_adds });
        }
    }
    Ok(planned)
}

/// How the network's input is laid out; as every activation where `None`.
pub(super) fn rows_layout(network: &Network) -> Option<RowsLayout> {
    match network.layers().first()? {
        Layer { op: Op::Conv(conv), input, output, .. } => RowsLayout::of(conv, *input, *output),
        _ => None,
    }
}

/// The same for each layer's input, in order.
pub(super) fn rows_layouts(network: &Network) -> impl Iterator<Item = Option<RowsLayout>> {
    iter::once(rows_layout(network)).chain(iter::repeat(None))
}

/// That a batch is of 1 to [`MAX_BATCH`] pictures.
pub(super) fn check_batch(batch: usize) -> Result<(), PipelineError> {
    if (1..=MAX_BATCH).contains(&batch) { Ok(()) } else { Err(PipelineError::Batch { found: batch }) }
}

/// How one layer will be computed.
pub(super) struct Plan {
    pub layer: String,
    /// In order; none where the output is the input.
    pub dispatches: Vec<Dispatch>,
    /// vec4s of the arrays between the dispatches.
    pub scratch: [usize; 2],
    weights: Option<WeightsPlan>,
}

/// How a layer's weights go to the device.
struct WeightsPlan {
    packing: Packing,
    /// The pieces, as column blocks: each fits a binding.
    chunks: Vec<Range<u32>>,
    winograd: Option<Winograd>,
}

/// A layer's weights on the device, in chunks, and its bias in each form that the layer's kernels want.
pub(super) struct Parameters {
    pub weights: Vec<Memory>,
    pub biases: BTreeMap<Bias, Buffer>,
    /// What each column's weights are multiplied with, for [`Precision::Int8`].
    pub scales: Option<Buffer>,
}

impl Parameters {
    /// Bytes on the device.
    pub fn size(&self) -> u64 {
        let vectors = self.biases.values().chain(&self.scales);
        self.weights.iter().map(Memory::size).sum::<u64>() + vectors.map(Buffer::size).sum::<u64>()
    }
}

impl Plan {
    /// The plans of all layers, in order. `limit`: the most vec4s of one binding.
    pub fn all(
        network: &Network,
        algorithms: &Algorithms,
        batch: usize,
        style: Style,
        precision: Precision,
        limit: u64,
    ) -> Result<Vec<Self>, PipelineError> {
        check_batch(batch)?;
        let plan = |(layer, rows_layout): (&Layer, _)| {
            let chosen = algorithms.get(&layer.name).copied();
            let algorithm = chosen.unwrap_or_else(|| choice::algorithm(style, layer, batch));
            let weights = |packing, winograd| WeightsPlan::new(layer, packing, winograd, style.storage, limit);
            let (dispatches, scratch, weights) =
                match kernels::computation(layer, algorithm, precision, rows_layout, batch, style) {
                    Computation::Gemm(gemm) => {
                        let weights = weights(gemm.packing(style), None)?;
                        (gemm.dispatches(style, &weights.chunks), gemm.scratch(), Some(weights))
                    }
                    Computation::Winograd(winograd) => {
                        let weights = weights(winograd.packing(style), Some(winograd.clone()))?;
                        let scratch = winograd.scratch(style.family);
                        (winograd.dispatches(style, &weights.chunks), scratch, Some(weights))
                    }
                    Computation::GroupedConv(grouped) => {
                        let weights = weights(grouped.packing(), None)?;
                        (grouped.dispatches(style, &weights.chunks), [0, 0], Some(weights))
                    }
                    Computation::Dispatch(dispatch) => (vec![dispatch], [0, 0], None),
                    Computation::Nothing => (vec![], [0, 0], None),
                };
            let folded = |dispatch: Dispatch| {
                dispatch.folded().map_err(|found| PipelineError::Workgroups { layer: layer.name.clone(), found })
            };
            let dispatches = dispatches.into_iter().map(folded).collect::<Result<_, _>>()?;
            Ok(Self { layer: layer.name.clone(), dispatches, scratch, weights })
        };
        network.layers().iter().zip(rows_layouts(network)).map(plan).collect()
    }

    /// The least that a binding of weights must hold: a piece that cannot be split further. In vec4s of f32.
    pub fn least_weights(&self, storage: Storage) -> usize {
        self.weights.as_ref().map_or(0, |WeightsPlan { packing, .. }| {
            let quads = packing.block_len() * packing.groups() / 4;
            match storage {
                Storage::Buffer => (quads * packing.precision().quad_bytes() as usize).div_ceil(QUAD as usize),
                Storage::Texture | Storage::Sampled => quads,
            }
        })
    }

    /// The vec4s of the weights, the bias and the scales that a dispatch binds, by binding: of those that it has.
    #[cfg(test)]
    pub fn parameter_quads(&self, dispatch: &Dispatch) -> BTreeMap<u32, usize> {
        let Some(WeightsPlan { packing, chunks, .. }) = &self.weights else { return BTreeMap::new() };
        let weights = dispatch.chunk.map(|i| (3, packing.groups() * chunks[i].len() * packing.block_len() / 4));
        let bias = dispatch.bias.map(|kind| match kind {
            Bias::Columns | Bias::Zero => packing.bias_len() / 4,
            Bias::Quads => packing.outputs().div_ceil(4),
        });
        let scales = (packing.precision() == Precision::Int8).then(|| packing.bias_len() / 4);
        weights.into_iter().chain(bias.map(|n| (4, n))).chain(scales.map(|n| (5, n))).collect()
    }

    /// Bytes of the layer's packed weights.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = |WeightsPlan { packing, chunks, .. }: &WeightsPlan| {
            chunks.iter().map(|blocks| blocks.len() as u64).sum::<u64>()
                * packing.block_bytes()
                * packing.groups() as u64
        };
        self.weights.as_ref().map_or(0, bytes)
    }

    /// Packs the layer's tensors piece by piece onto the device; `None` where it has none. `report` is told the bytes of
    /// each piece.
    pub fn upload(
        &self,
        gpu: &Gpu,
        weights: &Weights,
        storage: Storage,
        report: &mut dyn FnMut(u64),
    ) -> Result<Option<Parameters>, PipelineError> {
        let Some(WeightsPlan { packing, chunks, winograd }) = &self.weights else { return Ok(None) };
        let [weight_name, bias_name] = ["weight", "bias"].map(|kind| format!("{}.{kind}", self.layer));
        let (weight, bias) = (weights.tensor(&weight_name)?, weights.tensor(&bias_name)?);
        let bias = bias.finite(&bias_name, bias.numbers())?;
        let all = match winograd {
            Some(winograd) => Some((winograd, weight.finite(&weight_name, weight.numbers())?)),
            None => None,
        };
        // Winograd's weights are more than the file's, so that only a row of positions is held.
        let mut transformed = (usize::MAX, vec![]);
        let mut pack = |group, block, packed: &mut [f32]| -> Result<(), PipelineError> {
            let numbers = packing.filters_of(group, block);
            let Some((winograd, all)) = &all else {
                packing.pack_block(&weight.finite(&weight_name, numbers.clone())?, group, block, packed);
                weight.release(numbers);
                return Ok(());
            };
            let row_len = winograd.weights_row_len();
            let (row, first) = (numbers.start / row_len, numbers.start % row_len);
            if transformed.0 != row {
                transformed = (row, winograd.transform_weights(all, row));
            }
            packing.pack_block(&transformed.1[first..][..numbers.len()], group, block, packed);
            Ok(())
        };
        let precision = packing.precision();
        let mut largest = if precision == Precision::Int8 { vec![0.0; packing.bias_len()] } else { vec![] };
        // A block at a time, so that never more of a mapped file is in memory than that, nor of what it becomes.
        let mut upload_chunk = |blocks: &Range<u32>| -> Result<Memory, PipelineError> {
            let quads = packing.groups() * blocks.len() * packing.block_len() / 4;
            let memory = Memory::weights(gpu.device(), &self.layer, quads as u64, storage, precision);
            let mut upload = Upload::new(gpu, &memory);
            let mut packed = vec![0.0; packing.block_len()];
            for group in 0..packing.groups() {
                for block in blocks.clone().map(|b| b as usize) {
                    pack(group, block, &mut packed)?;
                    match precision {
                        Precision::F32 => upload.push(bytemuck::cast_slice(&packed)),
                        Precision::F16 => {
                            if let Some(&value) = packed.iter().find(|v| half::f16::from_f32(**v).is_infinite()) {
                                return Err(PipelineError::Overflow { layer: self.layer.clone(), value });
                            }
                            upload.push_f16(&packed);
                        }
                        Precision::Int8 => {
                            let (columns, of_numbers) = packing.largest(&packed);
                            upload.push_int8(&packed, &of_numbers);
                            largest[packing.columns_in(group, block)].copy_from_slice(&columns);
                        }
                    }
                    report(packing.block_bytes());
                }
            }
            upload.finish();
            Ok(memory)
        };
        let chunks = chunks.iter().map(&mut upload_chunk).collect::<Result<_, _>>()?;
        // As all that holds weights, it can be read again.
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let vector = |label, values: &[f32]| memory::filled(gpu, label, bytemuck::cast_slice(values), usage);
        let upload_bias = |kind: Bias| {
            let values = match kind {
                Bias::Columns => packing.pack_columns(&bias),
                Bias::Zero => vec![0.0; packing.bias_len()],
                Bias::Quads => {
                    let mut quads = bias.to_vec();
                    quads.resize(bias.len().next_multiple_of(4), 0.0);
                    quads
                }
            };
            (kind, vector("bias", &values))
        };
        let kinds: BTreeSet<Bias> = self.dispatches.iter().filter_map(|d| d.bias).collect();
        Ok(Some(Parameters {
            weights: chunks,
            biases: kinds.into_iter().map(upload_bias).collect(),
            scales: (precision == Precision::Int8).then(|| vector("scales", &largest)),
        }))
    }
}

impl WeightsPlan {
    fn new(
        layer: &Layer,
        packing: Packing,
        winograd: Option<Winograd>,
        storage: Storage,
        limit: u64,
    ) -> Result<Self, PipelineError> {
        if packing.packed_len() > MAX_WEIGHT {
            return Err(PipelineError::PackedWeights { layer: layer.name.clone(), found: packing.packed_len() });
        }
        let quad_bytes = packing.precision().quad_bytes();
        // A buffer is limited in bytes, a texture in texels.
        let quads = match storage {
            Storage::Buffer => limit * QUAD / quad_bytes,
            Storage::Texture | Storage::Sampled => limit,
        };
        // In a browser, usize is smaller than what a limit may say.
        let numbers = usize::try_from(quads.saturating_mul(4)).unwrap_or(usize::MAX);
        let chunks = packing.chunks(numbers).ok_or_else(|| PipelineError::Weights {
            layer: layer.name.clone(),
            needed: packing.block_bytes() * packing.groups() as u64,
            limit: quads * quad_bytes,
        })?;
        Ok(Self { packing, chunks, winograd })
    }
}
