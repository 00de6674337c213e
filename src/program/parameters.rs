//! The contents of parameter arrays, made from a model's weights.

use std::{fmt, ops::Range, sync::Arc};

use half::{f16, slice::HalfFloatSliceExt};

use super::{ArrayId, ProgramError};
use crate::{
    kernels::{Packing, Precision, Winograd},
    weights::Weights,
};

/// A receiver of parameters' bytes.
pub(crate) trait Sink {
    /// Begins an array; the bytes pushed next are its contents from the start.
    fn begin(&mut self, array: ArrayId);
    /// Appends bytes to it.
    fn push(&mut self, bytes: &[u8]);
}

/// The contents of one array, or of several made together.
#[derive(Clone, Debug)]
pub(crate) enum Parameter {
    /// A layer's weights, packed in blocks.
    Weights(Box<PackedWeights>),
    /// A small number of values.
    Vector(Vector),
}

impl Parameter {
    /// Writes the bytes to `sink`. Weights are written block by block, so that only one block of a mapped file is in
    /// memory at a time.
    pub fn pack(&self, weights: &Weights, sink: &mut dyn Sink) -> Result<(), ProgramError> {
        match self {
            Self::Weights(packed) => packed.pack(weights, sink),
            Self::Vector(Vector { array, numbers }) => {
                sink.begin(*array);
                sink.push(bytemuck::cast_slice(&numbers(weights)?));
                Ok(())
            }
        }
    }
}

/// A function that computes values from a model's weights.
pub(crate) type Numbers = Arc<dyn Fn(&Weights) -> Result<Vec<f32>, ProgramError> + Send + Sync>;

/// An array of values that are computed together.
#[derive(Clone)]
pub(crate) struct Vector {
    pub array: ArrayId,
    pub numbers: Numbers,
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({:?})", self.array)
    }
}

/// A layer's weights in blocks of output channels.
#[derive(Clone, Debug)]
pub(crate) struct PackedWeights {
    pub layer: String,
    pub packing: Packing,
    /// Winograd's transform of the weights, if any.
    pub winograd: Option<Winograd>,
    /// Column blocks, and the array that they are in. Each chunk fits a binding.
    pub chunks: Vec<(Range<u32>, ArrayId)>,
    /// The factor of each column's weights, for [`Precision::Int8`].
    pub scales: Option<ArrayId>,
}

impl PackedWeights {
    fn pack(&self, weights: &Weights, sink: &mut dyn Sink) -> Result<(), ProgramError> {
        let Self { layer, packing, winograd, chunks, scales } = self;
        let name = format!("{layer}.weight");
        let weight = weights.tensor(&name)?;
        let all = match winograd {
            Some(winograd) => Some((winograd, weight.finite(&name, weight.numbers())?)),
            None => None,
        };
        // Winograd's weights are larger than the file's, so only a row of positions is held at a time.
        let mut transformed = (usize::MAX, vec![]);
        let mut pack = |group, block, packed: &mut [f32]| -> Result<(), ProgramError> {
            let numbers = packing.filters_of(group, block);
            let Some((winograd, all)) = &all else {
                packing.pack_block(&weight.finite(&name, numbers.clone())?, group, block, packed);
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
        let mut largest = if scales.is_some() { vec![0.0; packing.bias_len()] } else { vec![] };
        let mut packed = vec![0.0; packing.block_len()];
        let mut halves = vec![f16::ZERO; if packing.precision() == Precision::F16 { packed.len() } else { 0 }];
        for (blocks, array) in chunks {
            sink.begin(*array);
            for group in 0..packing.groups() {
                for block in blocks.clone().map(|b| b as usize) {
                    pack(group, block, &mut packed)?;
                    match packing.precision() {
                        Precision::F32 => sink.push(bytemuck::cast_slice(&packed)),
                        Precision::F16 => {
                            halves.convert_from_f32_slice(&packed);
                            if let Some(at) = halves.iter().position(|half| half.is_infinite()) {
                                return Err(ProgramError::Overflow { layer: layer.clone(), value: packed[at] });
                            }
                            sink.push(bytemuck::cast_slice(&halves));
                        }
                        Precision::Int8 => {
                            let (columns, of_numbers) = packing.largest(&packed);
                            sink.push(bytemuck::cast_slice(&quantized(&packed, &of_numbers)));
                            largest[packing.columns_in(group, block)].copy_from_slice(&columns);
                        }
                    }
                }
            }
        }
        if let Some(scales) = scales {
            sink.begin(*scales);
            sink.push(bytemuck::cast_slice(&largest));
        }
        Ok(())
    }
}

/// Weights for [`Precision::Int8`]: ±127 stands for ±`largest`, whose values repeat.
fn quantized(weights: &[f32], largest: &[f32]) -> Vec<i8> {
    let scales: Vec<f32> = largest.iter().map(|l| if *l > 0.0 { 127.0 / l } else { 0.0 }).collect();
    weights.iter().zip(scales.iter().cycle()).map(|(w, s)| (w * s).round() as i8).collect()
}
