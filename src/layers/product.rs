//! Layers that are a single matrix product.

use crate::{
    kernels::{
        Gemm,
        binding::{BIAS, SCALES, WEIGHTS, X, Y},
    },
    program::{Lowering, ProgramError, WeightArrays, read, write},
};

/// Adds one dispatch per chunk of the weights, and where k is split, one that adds up the parts.
pub(super) fn lower_product(lowering: &mut Lowering<'_>, gemm: Gemm) -> Result<(), ProgramError> {
    let config = lowering.options.config;
    let packing = gemm.packing(config);
    let WeightArrays { chunks, scales } = lowering.weights(packing.clone(), None)?;
    let (x, y) = (lowering.x(), lowering.y());
    let is_split = gemm.parts() > 1;
    let mut bound = vec![read(X, x)];
    bound.extend(scales.map(|scales| read(SCALES, scales)));
    let sums = if is_split {
        lowering.scratch(gemm.parts() * gemm.output_quads(), config.storage.of_scratch()[1])
    } else {
        let bias = lowering.bias(packing.bias_len() / 4, move |bias| packing.pack_columns(bias));
        bound.push(read(BIAS, bias));
        y
    };
    bound.push(write(Y, sums));
    for (blocks, weights) in &chunks {
        let bound: Vec<_> = bound.iter().copied().chain([read(WEIGHTS, *weights)]).collect();
        lowering.dispatch(gemm.product(config, blocks), &bound)?;
    }
    if is_split {
        let bias = lowering.channel_bias();
        lowering.dispatch(gemm.sum(), &[read(X, sums), write(Y, y), read(BIAS, bias)])?;
    }
    Ok(())
}
