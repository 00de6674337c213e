//! Lowering of a network to a program.

use crate::{
    activation::{Activation, Below},
    kernels::{
        Algorithm, RowsLayout, Storage, activation_quads,
        binding::{X, Y},
        reduce::{self, Reduced},
        top_k,
    },
    network::{Layer, Network},
    program::{
        Array, ArrayId, Backward, Forward, Lowering, MAX_BATCH, Options, Pass, Program, ProgramError, Role, Training,
        read, write,
    },
    shape::Shape,
};

/// The location of a layer's output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerOutput {
    /// The number of steps after which it is complete.
    pub steps: usize,
    pub array: ArrayId,
}

/// A network's forward pass.
#[derive(Clone, Debug)]
pub(crate) struct Inference {
    pub program: Program,
    pub input: ArrayId,
    /// The layout of the input; `None` is the usual one, channels last and padded.
    pub input_layout: Option<RowsLayout>,
    /// One per layer; the output of a layer that computes nothing is its input.
    pub layers: Vec<LayerOutput>,
    /// The number of steps that compute the layers; later steps find the largest outputs.
    pub forward: usize,
    /// The largest outputs, and their number per image.
    pub top: Option<(ArrayId, usize)>,
}

impl Inference {
    /// Lowers every layer, in order.
    pub fn lower(network: &Network, options: Options<'_>) -> Result<Self, ProgramError> {
        let Options { batch, top, .. } = options;
        if !(1..=MAX_BATCH).contains(&batch) {
            return Err(ProgramError::Batch { found: batch });
        }
        let mut program = Program::default();
        let (input, input_layout) = input_array(&mut program, network, options, Role::Input);
        let mut layers = Vec::new();
        let mut x = input;
        for (index, layer) in network.layers().iter().enumerate() {
            x = lower_layer(&mut program, options, layer, x, input_layout.filter(|_| index == 0))?;
            program.end_step(Pass::FORWARD, index);
            layers.push(LayerOutput { steps: program.steps.len(), array: x });
        }
        let output = network.output();
        let has_top = top > 0 && output == Shape::vector(output.channels);
        let top = if has_top { Some(find_top(&mut program, x, output.channels, options)?) } else { None };
        program.end_step(Pass::TOP, network.layers().len() - 1);
        let forward = program.steps.iter().filter(|step| step.pass == Pass::FORWARD).count();
        Ok(Self { program, input, input_layout, layers, forward, top })
    }

    /// Lays out the input on the device: the batch's pictures of `shape`, in CHW order.
    pub fn lay_out(&self, shape: Shape, pictures: &[f32]) -> Vec<f32> {
        lay_out(&self.program, self.input, self.input_layout, shape, pictures)
    }
}

/// Lays out images of `shape`, in CHW order, as the array `input` has them. Those that are missing are zero.
pub(crate) fn lay_out(
    program: &Program,
    input: ArrayId,
    input_layout: Option<RowsLayout>,
    shape: Shape,
    images: &[f32],
) -> Vec<f32> {
    let mut laid_out = vec![0.0; 4 * program.get(input).len() as usize];
    let each = 4 * input_layout.map_or(activation_quads(shape), |layout| layout.quads());
    for (image, out) in images.chunks_exact(shape.len()).zip(laid_out.chunks_exact_mut(each)) {
        match input_layout {
            Some(layout) => layout.write(image, out),
            None => from_chw(image, shape, out),
        }
    }
    laid_out
}

/// Adds the array of a batch of a network's inputs. A layout is returned where it is not the usual one, channels last
/// and padded.
pub(crate) fn input_array(
    program: &mut Program,
    network: &Network,
    Options { config, batch, .. }: Options<'_>,
    role: Role,
) -> (ArrayId, Option<RowsLayout>) {
    let layout = network.layers().first().and_then(Layer::input_layout);
    let quads = layout.map_or(activation_quads(network.input()), |layout| layout.quads());
    (program.array(Array::quads("input", quads * batch, config.storage, role)), layout)
}

/// Adds the dispatches of `layer`, which reads `x` in `layout`. Returns the array of its output.
pub(crate) fn lower_layer(
    program: &mut Program,
    options: Options<'_>,
    layer: &Layer,
    x: ArrayId,
    layout: Option<RowsLayout>,
) -> Result<ArrayId, ProgramError> {
    let chosen = options.algorithms.get(&layer.name).copied();
    let algorithm = chosen.unwrap_or_else(|| layer.algorithm(options.config, options.batch));
    let shapes = [layer.input, layer.output];
    let mut lowering = Lowering::new(program, options, (&layer.name, shapes), algorithm, x, layout);
    layer.op.operation().lower(&mut lowering)?;
    Ok(lowering.finish())
}

/// Adds the dispatches of a layer that a backward pass follows, directly unless Winograd's algorithm is chosen.
pub(crate) fn lower_forward(
    program: &mut Program,
    options: Options<'_>,
    layer: &Layer,
    x: ArrayId,
    training: Training,
    input_layout: Option<RowsLayout>,
) -> Result<Forward, ProgramError> {
    let first = program.parameters.len();
    let (name, shapes) = (&layer.name, [layer.input, layer.output]);
    // A backward pass reads weights in the direct algorithm's packing, which others may not have.
    let algorithm = options.algorithms.get(name).copied().filter(|a| matches!(a, Algorithm::Winograd { .. }));
    let algorithm = algorithm.unwrap_or_default();
    let mut lowering = Lowering::new(program, options, (name, shapes), algorithm, x, input_layout);
    lowering.training = Some(training);
    layer.op.operation().lower(&mut lowering)?;
    let kept = std::mem::take(&mut lowering.kept);
    let y = lowering.finish();
    Ok(Forward { x, y, kept, parameters: first..program.parameters.len(), input_layout })
}

/// The activation function in which the layer that wrote `array` ends.
pub(crate) fn activation_of(layers: &[Layer], forward: &[Forward], array: ArrayId) -> Activation {
    let writes = |forward: &Forward| forward.y == array && forward.x != array;
    let writer = forward.iter().position(writes);
    writer.map_or(Activation::None, |index| layers[index].op.activation())
}

/// Adds the backward pass of a layer whose parameters stay as they are. Returns the gradient of its input, from that of its output.
pub(crate) fn lower_input_gradient(
    program: &mut Program,
    options: Options<'_>,
    layer: &Layer,
    (forward, training): (&Forward, Training),
    (gradient, below): (ArrayId, Below),
) -> Result<ArrayId, ProgramError> {
    if forward.x == forward.y {
        return Ok(gradient);
    }
    check_activation(layer, below.activation)?;
    let mut backward = Backward {
        options,
        name: &layer.name,
        input: layer.input,
        output: layer.output,
        forward,
        gradient,
        below,
        training,
        updating: None,
        wants_input: true,
        accumulates: false,
        input_gradient: None,
        trained: vec![],
        program,
    };
    layer.op.operation().lower_backward(&mut backward)?;
    Ok(backward.input_gradient.unwrap_or(gradient))
}

/// Derivatives are computed from a function's values.
pub(crate) fn check_activation(layer: &Layer, activation: Activation) -> Result<(), ProgramError> {
    if activation.is_monotonic() {
        return Ok(());
    }
    Err(ProgramError::Untrainable {
        layer: layer.name.clone(),
        reason: "it follows a leaky ReLU or an ELU with a negative factor".into(),
    })
}

/// Converts CHW to channels-last quads; `out` is zero on entry.
fn from_chw(picture: &[f32], shape: Shape, out: &mut [f32]) {
    let padded = shape.channels.div_ceil(4) * 4;
    for (c, plane) in picture.chunks_exact(shape.height * shape.width).enumerate() {
        for (&value, pixel) in plane.iter().zip(out.chunks_exact_mut(padded)) {
            pixel[c] = value;
        }
    }
}

/// Adds the dispatch that finds the largest of `classes` outputs.
fn find_top(
    program: &mut Program,
    x: ArrayId,
    classes: usize,
    Options { config, batch, top, .. }: Options<'_>,
) -> Result<(ArrayId, usize), ProgramError> {
    let k = top.min(classes);
    // Pairs of index and value.
    let bytes = (batch * k * 8) as u64;
    let entries = Array { bytes, ..Array::quads("top", 0, Storage::StorageBuffer, Role::Output) };
    let entries = program.array(entries);
    program.dispatch("top", top_k(config, k, classes, batch), &[read(X, x), write(Y, entries)])?;
    Ok((entries, k))
}

/// Adds the reduction of `count` vec4s of an array, from `first` on, to one of `results`.
pub(crate) fn reduce(
    program: &mut Program,
    (mut x, (mut first, mut count), mut of): (ArrayId, (usize, usize), Reduced),
    (results, index): (ArrayId, usize),
) -> Result<(), ProgramError> {
    loop {
        let runs = reduce::reduced(count);
        if runs == 1 {
            let work = reduce::reduce(first..first + count, index, of);
            return program.dispatch("reduction", work, &[read(X, x), write(Y, results)]);
        }
        let y = program.array(Array::quads("partial", runs, Storage::StorageBuffer, Role::Temporary));
        let work = reduce::reduce(first..first + count, 0, of);
        program.dispatch("reduction", work, &[read(X, x), write(Y, y)])?;
        (x, first, count, of) = (y, 0, runs, Reduced::Results);
    }
}
