//! Layers that are a single matrix product: forward and backward pass.

use std::ops::Range;

use crate::{
    activation::Below,
    kernels::{
        Access, Algorithm, Family, Gemm, KernelConfig, Storage, activation_quads,
        binding::{ADDEND, BIAS, BIAS_GRADIENT, GRADIENT, SCALES, WEIGHTS, X, Y},
        gradients,
    },
    program::{ArrayId, Backward, Bound, Lowering, ProgramError, WeightArrays, read, write},
};

/// The ways to compute a product in `config` other than Winograd's, for tuning; `tiles` are rows of workgroup tiles and parts.
pub(super) fn product_algorithms(
    config: KernelConfig,
    tiles: impl IntoIterator<Item = (usize, usize)>,
) -> impl Iterator<Item = Algorithm> {
    let split = [2, 4, 8, 16].map(|parts| Algorithm::SplitK { parts });
    let split = split.into_iter().filter(move |_| config.family.splits());
    let tiles = tiles.into_iter().map(|(rows, parts)| Algorithm::Tile { rows, parts });
    let tiles = tiles.filter(move |_| config.family == Family::WorkgroupTiled);
    let exact = (config != config.exact()).then_some(Algorithm::DirectF32);
    [Algorithm::Direct].into_iter().chain(split).chain(tiles).chain(exact)
}

/// Adds one dispatch per chunk of the weights, and where k is split, one that adds up the parts.
pub(super) fn lower_product(lowering: &mut Lowering<'_>, gemm: Gemm) -> Result<(), ProgramError> {
    let config = lowering.config();
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

/// Adds the dispatches of the gradients of the parameters, if they are trained, and of the input, if it is wanted.
pub(super) fn lower_product_backward(backward: &mut Backward<'_>, gemm: &Gemm) -> Result<(), ProgramError> {
    let Some((weights, bias)) = backward.parameters() else { return Ok(()) };
    if backward.is_trained {
        lower_parameter_gradients(backward, gemm, &weights.chunks, bias)?;
    }
    if !backward.wants_input {
        return Ok(());
    }
    let config = backward.options.config;
    let mut sums = None;
    for (index, (blocks, array)) in weights.chunks.iter().enumerate() {
        // Those of the chunks before are added. They are in a buffer: a stage has at most four storage textures.
        let last = index + 1 == weights.chunks.len();
        let quads = activation_quads(backward.input) * backward.options.batch;
        let y = if last { backward.dx() } else { backward.scratch(quads, Storage::StorageBuffer) };
        let mut bound =
            vec![read(X, backward.forward.x), write(Y, y), read(WEIGHTS, *array), read(GRADIENT, backward.gradient)];
        bound.extend(sums.map(|sums| read(ADDEND, sums)));
        let below = if last { backward.below } else { Below::default() };
        backward.dispatch(gemm.input_gradient(config, blocks, below), &bound)?;
        sums = Some(y);
    }
    Ok(())
}

/// Adds the dispatches of the gradients of the parameters.
pub(super) fn lower_parameter_gradients(
    backward: &mut Backward<'_>,
    gemm: &Gemm,
    chunks: &[(Range<u32>, ArrayId)],
    bias: ArrayId,
) -> Result<(), ProgramError> {
    let (config, adds) = (backward.options.config, backward.accumulates);
    let parts = gemm.gradient_parts(config);
    // An array that is written, or added to.
    let update = |number, array, adds: bool| {
        let access = if adds { Access::ReadWrite } else { Access::Write };
        Bound { number, access, array }
    };
    let bias_gradient = backward.gradient_of(bias, true, false);
    let bias_quads = backward.program.get(bias).len() as usize;
    let bias_parts = match parts {
        1 => bias_gradient,
        _ => backward.scratch(parts * bias_quads, Storage::StorageBuffer),
    };
    for (blocks, array) in chunks {
        let gradient = backward.gradient_of(*array, false, gemm.has_gaps());
        let quads = backward.program.get(*array).len() as usize;
        let in_parts = match parts {
            1 => gradient,
            _ => backward.scratch(parts * quads, Storage::StorageBuffer),
        };
        let adds_at_once = adds && parts == 1;
        let bound = [
            read(X, backward.forward.x),
            read(GRADIENT, backward.gradient),
            update(Y, in_parts, adds_at_once),
            update(BIAS_GRADIENT, bias_parts, adds_at_once),
        ];
        backward.dispatch(gemm.weight_gradient(config, blocks, parts, adds_at_once), &bound)?;
        if parts > 1 {
            let bound = [read(X, in_parts), update(Y, gradient, adds)];
            backward.dispatch(gradients::sum(parts, quads, adds), &bound)?;
        }
    }
    if parts > 1 {
        let bound = [read(X, bias_parts), update(Y, bias_gradient, adds)];
        backward.dispatch(gradients::sum(parts, bias_quads, adds), &bound)?;
    }
    Ok(())
}
