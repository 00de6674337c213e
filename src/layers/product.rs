//! Layers that are a single matrix product: forward and backward pass.

use std::sync::Arc;

use crate::{
    activation::Below,
    kernels::{
        Access, Algorithm, Family, Gemm, KernelConfig, Storage, activation_quads,
        binding::{ADDEND, BIAS, BIAS_GRADIENT, GRADIENT, SCALES, WEIGHTS, X, Y},
        gradients::{self, GradientUse},
    },
    program::{
        ArrayId, Backward, Bound, Lowering, PackedWeights, ProgramError, Trained, WeightArrays, read, update_bindings,
        write,
    },
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

/// Adds the dispatches of the gradient of the input, if it is wanted, and of those of the parameters, if they are trained.
pub(super) fn lower_product_backward(backward: &mut Backward<'_>, gemm: &Gemm) -> Result<(), ProgramError> {
    let Some((weights, bias)) = backward.parameters() else { return Ok(()) };
    if backward.wants_input {
        lower_input_gradient(backward, gemm, &weights)?;
    }
    lower_parameter_gradients(backward, gemm, &weights, bias)
}

/// Adds the dispatches of the gradient of the input.
fn lower_input_gradient(backward: &mut Backward<'_>, gemm: &Gemm, weights: &PackedWeights) -> Result<(), ProgramError> {
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

/// Adds the dispatches of the gradients of the parameters, if they are trained. No dispatch of the layer may read its weights
/// afterwards, since they may be updated.
pub(super) fn lower_parameter_gradients(
    backward: &mut Backward<'_>,
    gemm: &Gemm,
    weights: &PackedWeights,
    bias: ArrayId,
) -> Result<(), ProgramError> {
    let Some(updating) = backward.updating.clone() else { return Ok(()) };
    let (config, adds) = (backward.options.config, backward.accumulates);
    let parts = gemm.gradient_parts(config);
    // An array that is written, or added to.
    let written = |number, array, adds: bool| {
        let access = if adds { Access::ReadWrite } else { Access::Write };
        Bound { number, access, array }
    };
    let bias_gradient = backward.gradient_of(bias);
    let moments = backward.moments_of(bias);
    backward.trained.push(Trained { array: bias, is_bias: true, moments, mask: None, gradient: Some(bias_gradient) });
    let bias_quads = backward.program.get(bias).len() as usize;
    let bias_parts = match parts {
        1 => bias_gradient,
        _ => backward.scratch(parts * bias_quads, Storage::StorageBuffer),
    };
    for (blocks, array) in &weights.chunks {
        let (array, of) = (*array, backward.program.get(*array));
        let (storage, quads) = (of.storage, of.len() as usize);
        let moments = backward.moments_of(array);
        let mask = gemm.has_gaps().then(|| {
            let (packing, blocks) = (weights.packing.clone(), blocks.clone());
            backward.program.vector("mask", quads, Arc::new(move |_: &_| Ok(packing.mask(blocks.clone()))))
        });
        let adds_at_once = adds && parts == 1;
        let mut bound = vec![
            read(X, backward.forward.x),
            read(GRADIENT, backward.gradient),
            written(BIAS_GRADIENT, bias_parts, adds_at_once),
        ];
        let at_once = updating.at_once.clone().filter(|_| parts == 1 && storage == Storage::StorageBuffer);
        let gradient = if let Some(step) = at_once {
            bound.extend(update_bindings(updating.step, array, &moments, mask));
            backward.dispatch(gemm.weight_gradient(config, blocks, parts, GradientUse::Update(step)), &bound)?;
            None
        } else {
            let gradient = backward.gradient_of(array);
            let in_parts = match parts {
                1 => gradient,
                _ => backward.scratch(parts * quads, Storage::StorageBuffer),
            };
            bound.push(written(Y, in_parts, adds_at_once));
            let gradient_use = if adds_at_once { GradientUse::Add } else { GradientUse::Store };
            backward.dispatch(gemm.weight_gradient(config, blocks, parts, gradient_use), &bound)?;
            if parts > 1 {
                let bound = [read(X, in_parts), written(Y, gradient, adds)];
                backward.dispatch(gradients::sum(parts, quads, adds), &bound)?;
            }
            Some(gradient)
        };
        backward.trained.push(Trained { array, is_bias: false, moments, mask, gradient });
    }
    if parts > 1 {
        let bound = [read(X, bias_parts), written(Y, bias_gradient, adds)];
        backward.dispatch(gradients::sum(parts, bias_quads, adds), &bound)?;
    }
    Ok(())
}
