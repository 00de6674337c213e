//! Convolutions by Winograd's algorithm: forward pass, and the gradient of the input.

use std::{ops::Range, sync::Arc};

use crate::{
    activation::Below,
    kernels::{
        Filters, KernelConfig, Packing, Winograd,
        binding::{ADDEND, BIAS, WEIGHTS, X, Y},
    },
    program::{
        Array, ArrayId, Backward, Bound, Lowering, Options, Program, ProgramError, Role, Training, WeightArrays, read,
        write,
    },
};

/// Whether a device can transform weights packed by `direct`: both they and the transformed ones must fit one binding.
pub(super) fn reads_packed(winograd: &Winograd, options: Options<'_>, direct: &Packing, filters: Filters) -> bool {
    let fits = |packing: &Packing| packing.packed_len() as u64 / 4 <= options.limit;
    let config = options.config.exact();
    winograd.reads_packed(config, direct, filters) && fits(direct) && fits(&winograd.packing(config))
}

/// Adds the steps of a convolution whose weights stay as they are.
pub(super) fn lower_winograd(lowering: &mut Lowering<'_>, winograd: &Winograd) -> Result<(), ProgramError> {
    let config = lowering.config();
    let WeightArrays { chunks, .. } = lowering.weights(winograd.packing(config), Some(winograd.clone()))?;
    let bias = lowering.channel_bias();
    let (x, y) = (lowering.x(), lowering.y());
    let steps = Steps { winograd, config, below: None, arrays: [x, y], last: read(BIAS, bias), chunks };
    steps.lower(lowering.name, lowering.program())
}

/// Adds the steps of a convolution in training, whose weights are transformed in every run.
pub(super) fn lower_trained_winograd(
    lowering: &mut Lowering<'_>,
    winograd: &Winograd,
    direct: Packing,
) -> Result<(), ProgramError> {
    let config = lowering.config();
    lowering.training = lowering.training.map(|training| Training { in_place: true, ..training });
    let WeightArrays { chunks, .. } = lowering.weights(direct.clone(), None)?;
    let bias = lowering.bias(direct.bias_len() / 4, {
        let direct = direct.clone();
        move |bias| direct.pack_columns(bias)
    });
    let (x, y, name) = (lowering.x(), lowering.y(), lowering.name);
    let program = lowering.program();
    let chunks = transform(program, name, (winograd, config, Filters::Same), (&direct, chunks[0].1))?;
    let steps = Steps { winograd, config, below: None, arrays: [x, y], last: read(BIAS, bias), chunks };
    steps.lower(name, program)
}

/// Adds the steps of the gradient of a convolution's input, from `weights` packed by `direct`.
pub(super) fn lower_winograd_gradient(
    backward: &mut Backward<'_>,
    winograd: &Winograd,
    direct: &Packing,
    weights: ArrayId,
) -> Result<(), ProgramError> {
    let config = backward.options.config;
    let arrays = [backward.gradient, backward.dx()];
    let (name, last, below) = (backward.name, read(ADDEND, backward.forward.x), Some(backward.below));
    let program = &mut *backward.program;
    let chunks = transform(program, name, (winograd, config, Filters::Turned), (direct, weights))?;
    Steps { winograd, config, below, arrays, last, chunks }.lower(name, program)
}

/// Adds the transform of `weights`, packed by `direct`, and returns all column blocks with the array of the transformed
/// weights.
fn transform(
    program: &mut Program,
    name: &str,
    (winograd, config, filters): (&Winograd, KernelConfig, Filters),
    (direct, weights): (&Packing, ArrayId),
) -> Result<Vec<(Range<u32>, ArrayId)>, ProgramError> {
    let packing = winograd.packing(config);
    let quads = packing.packed_len() / 4;
    let transformed = Array::quads("transformed weights", quads, config.storage, Role::Temporary);
    let transformed = program.array(transformed);
    let work = winograd.transform_packed(config, direct, filters);
    program.dispatch(name, work, &[read(X, weights), write(Y, transformed)])?;
    Ok(vec![(0..packing.blocks() as u32, transformed)])
}

/// The steps of a convolution by Winograd's algorithm.
struct Steps<'a> {
    winograd: &'a Winograd,
    config: KernelConfig,
    /// The activation function of the layer below, if it is the convolution of a gradient.
    below: Option<Below>,
    /// Input and output.
    arrays: [ArrayId; 2],
    /// What the last step binds besides.
    last: Bound,
    /// The transformed weights: column blocks, and their array.
    chunks: Vec<(Range<u32>, ArrayId)>,
}

impl Steps<'_> {
    /// Adds two, three or five steps per part of the tiles: the input is transformed, multiplied with the weights, and
    /// transformed back.
    fn lower(self, name: &str, program: &mut Program) -> Result<(), ProgramError> {
        let Self { winograd, config, below, arrays: [input, output], last: bound, chunks } = self;
        let quads = winograd.packing(config).bias_len() / 4;
        let no_bias = program.vector("no bias", quads, Arc::new(move |_: &_| Ok(vec![0.0; 4 * quads])));
        let mut scratch = |quads, storage| program.array(Array::quads("scratch", quads, storage, Role::Temporary));
        let [storage, other] = config.storage.of_scratch();
        let [quads, other_quads] = winograd.scratch(config.family);
        let [first, second] = [scratch(quads, storage), scratch(other_quads, other)];
        for tiles in winograd.parts(config.family) {
            let steps = winograd.transform_input(config, &tiles);
            let (mut x, last) = (input, steps.len() - 1);
            for (step, work) in steps.into_iter().enumerate() {
                let y = if step == last { first } else { second };
                program.dispatch(name, work, &[read(X, x), write(Y, y)])?;
                x = y;
            }
            let products = winograd.products(tiles.len());
            for (blocks, weights) in &chunks {
                let bound = [read(X, first), write(Y, second), read(WEIGHTS, *weights), read(BIAS, no_bias)];
                program.dispatch(name, products.product(config, blocks), &bound)?;
            }
            let steps = winograd.transform_output(config, &tiles, below);
            let (mut x, last) = (second, steps.len() - 1);
            for (step, work) in steps.into_iter().enumerate() {
                if step == last {
                    program.dispatch(name, work, &[read(X, x), write(Y, output), bound])?;
                } else {
                    program.dispatch(name, work, &[read(X, x), write(Y, first)])?;
                    x = first;
                }
            }
        }
        Ok(())
    }
}
