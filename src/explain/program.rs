//! A network's forward pass, and the gradient of one layer with respect to another, as a program.

use crate::{
    activation::{BackwardRule, Below},
    kernels::activation_quads,
    lower::{activation_of, lay_out, lower_forward, lower_input_gradient},
    network::Network,
    program::{Array, ArrayId, Forward, MAX_BATCH, Options, Pass, Program, ProgramError, Role, Training},
    shape::Shape,
};

/// Which gradient is computed. Layers are counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradientOptions<'a> {
    pub lowering: Options<'a>,
    /// The layer whose output is differentiated.
    pub of: usize,
    /// The earlier layer by whose output it is; `None` for the network's input.
    pub by: Option<usize>,
    pub rule: BackwardRule,
}

/// An activation on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    pub array: ArrayId,
    pub shape: Shape,
    /// The number of steps after which it is complete.
    pub steps: usize,
}

/// The forward pass up to a layer, and the backward pass from there.
#[derive(Clone, Debug)]
pub(crate) struct GradientProgram {
    pub program: Program,
    pub batch: usize,
    pub input: Values,
    /// The gradient for the differentiated layer's output before its activation function, which the host writes.
    pub seed: Values,
    pub of: Values,
    /// The output of the layer by which it is differentiated, if that is not the input.
    pub by: Option<Values>,
    pub gradient: Values,
}

impl GradientProgram {
    pub fn lower(network: &Network, options: GradientOptions<'_>) -> Result<Self, ProgramError> {
        let GradientOptions { lowering, of, by, rule } = options;
        let Options { config, batch, .. } = lowering;
        if !(1..=MAX_BATCH).contains(&batch) {
            return Err(ProgramError::Batch { found: batch });
        }
        let layers = &network.layers()[..=of];
        let mut program = Program::default();
        let array = |program: &mut Program, label, shape, role| {
            program.array(Array::quads(label, activation_quads(shape) * batch, config.storage, role))
        };
        // Not in rows, as inference has it: the gradient has the usual layout.
        let input = array(&mut program, "input", network.input(), Role::Input);
        let training = |index: usize| Training { step: None, dropout: 0.0, layer: index as u32, in_place: false };
        let mut forward: Vec<Forward> = Vec::new();
        let (mut x, mut outputs) = (input, Vec::new());
        for (index, layer) in layers.iter().enumerate() {
            let passed = lower_forward(&mut program, lowering, layer, x, training(index), None)?;
            program.end_step(Pass::FORWARD, index);
            x = passed.y;
            forward.push(passed);
            outputs.push(Values { array: x, shape: layer.output, steps: program.steps.len() });
        }
        let shape = layers[of].output;
        let seed = array(&mut program, "seed", shape, Role::Input);
        let first = by.map_or(0, |by| by + 1);
        let end = by.map_or(input, |by| outputs[by].array);
        let mut gradient = seed;
        for (index, layer) in layers.iter().enumerate().skip(first).rev() {
            let passed = &forward[index];
            if passed.x == passed.y {
                continue;
            }
            let activation = activation_of(layers, &forward, passed.x);
            // The gradient is wanted after the activation function of the last layer that it reaches.
            let below = if passed.x == end { Below::default() } else { Below { activation, rule } };
            let (passed, gradients) = ((passed, training(index)), (gradient, below));
            gradient = lower_input_gradient(&mut program, lowering, layer, passed, gradients)?;
            program.end_step(Pass::BACKWARD, index);
        }
        let by = by.map(|by| outputs[by]);
        let steps = program.steps.len();
        let gradient = Values { array: gradient, shape: by.map_or(network.input(), |by| by.shape), steps };
        let input = Values { array: input, shape: network.input(), steps: 0 };
        let seed = Values { array: seed, shape, steps: 0 };
        Ok(Self { program, batch, input, seed, of: outputs[of], by, gradient })
    }

    /// Lays out images of CHW numbers as an array has them; missing ones are zero.
    pub fn lay_out(&self, values: Values, images: &[f32]) -> Vec<f32> {
        lay_out(&self.program, values.array, None, values.shape, images)
    }
}
