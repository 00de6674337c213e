//! A reference implementation in plain Rust and f64, which tests and `doctor` compare the shaders with.
//!
//! It is written to be read next to a textbook, not to be fast. Each layer's reference is in its file of `layers/`.
//! Activations are CHW.

use std::collections::BTreeMap;

use half::f16;

use crate::{
    activation::BackwardRule,
    layers::{self, BackwardPass},
    network::{Layer, Network},
    train,
    weights::{DType, Weights, WeightsError},
};

/// Computes every layer's activation for one image, in order.
///
/// # Errors
///
/// [`WeightsError`] when `weights` do not belong to `network`.
///
/// # Panics
///
/// When the length of `input` is not that of the network's input.
pub fn run(network: &Network, weights: &Weights, input: &[f64]) -> Result<Vec<Vec<f64>>, WeightsError> {
    run_by(run_layer, network, weights, input)
}

/// Computes every layer's activation for one image, in order, with operands of products in f16; see [`run_layer_fast`].
///
/// # Errors
///
/// As [`run`].
///
/// # Panics
///
/// As [`run`].
pub fn run_fast(network: &Network, weights: &Weights, input: &[f64]) -> Result<Vec<Vec<f64>>, WeightsError> {
    run_by(run_layer_fast, network, weights, input)
}

fn run_by(
    run_layer: impl Fn(&Layer, &Weights, &[f64]) -> Result<Vec<f64>, WeightsError>,
    network: &Network,
    weights: &Weights,
    input: &[f64],
) -> Result<Vec<Vec<f64>>, WeightsError> {
    weights.check(network)?;
    let mut activations: Vec<Vec<f64>> = Vec::with_capacity(network.layers().len());
    for layer in network.layers() {
        let x = activations.last().map_or(input, Vec::as_slice);
        let y = run_layer(layer, weights, x)?;
        activations.push(y);
    }
    Ok(activations)
}

/// Computes one layer's activation.
///
/// # Errors
///
/// [`WeightsError::Missing`] when `weights` lack the layer's tensors.
///
/// # Panics
///
/// When the length of `x` is not that of the layer's input.
pub fn run_layer(layer: &Layer, weights: &Weights, x: &[f64]) -> Result<Vec<f64>, WeightsError> {
    assert_eq!(x.len(), layer.input.len(), "numbers of the input of `{}`", layer.name);
    let parameters = parameters_of(layer, weights)?;
    Ok(layer.op.operation().reference(layer.input, layer.output, x, &parameters))
}

/// Computes one layer's activation as [`Arithmetic::Fast`](crate::Arithmetic::Fast) does with cooperative matrices: the
/// inputs and weights of products are rounded to f16, except for int8 weights.
///
/// # Errors
///
/// As [`run_layer`].
///
/// # Panics
///
/// As [`run_layer`].
pub fn run_layer_fast(layer: &Layer, weights: &Weights, x: &[f64]) -> Result<Vec<f64>, WeightsError> {
    if !layer.op.operation().sums_products() {
        return run_layer(layer, weights, x);
    }
    let round = |v: &f64| f16::from_f32((*v as f32).clamp(f16::MIN.into(), f16::MAX.into())).to_f64();
    let mut parameters = parameters_of(layer, weights)?;
    if weights.tensor(&format!("{}.weight", layer.name))?.dtype() != DType::I8 {
        parameters[0].iter_mut().for_each(|v| *v = round(v));
    }
    let x: Vec<f64> = x.iter().map(round).collect();
    Ok(layer.op.operation().reference(layer.input, layer.output, &x, &parameters))
}

/// Gradients of parameters, by their names.
pub type Gradients = BTreeMap<String, Vec<f64>>;

/// Computes the gradients of the images' mean cross-entropy for every parameter, by name, and the cross-entropies. A softmax
/// at the network's end is part of the loss. `inputs` are images one after the other. Dropout drops nothing.
///
/// # Errors
///
/// [`WeightsError`] when `weights` do not belong to `network`.
///
/// # Panics
///
/// When the lengths of `inputs` and `classes` do not fit, or the network does not end in a vector.
pub fn gradients(
    network: &Network,
    weights: &Weights,
    inputs: &[f64],
    classes: &[usize],
) -> Result<(Gradients, Vec<f64>), WeightsError> {
    let layers = train::without_softmax(network);
    assert_eq!(inputs.len(), classes.len() * network.input().len(), "numbers of the images");
    let (mut sums, mut losses) = (Gradients::new(), vec![]);
    for (input, &class) in inputs.chunks_exact(network.input().len()).zip(classes) {
        let activations = run(network, weights, input)?;
        let activation = |index: usize| index.checked_sub(1).map_or(input, |before| &activations[before]);
        let logits = activation(layers.len());
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|v| (v - largest).exp()).sum();
        losses.push(sum.ln() + largest - logits[class]);
        let share = 1.0 / classes.len() as f64;
        let mut dy: Vec<f64> = logits.iter().map(|v| (v - largest).exp() / sum * share).collect();
        dy[class] -= share;
        for (index, layer) in layers.iter().enumerate().rev() {
            let values = [activation(index), activation(index + 1)];
            let gradients = backward(layer, weights, values, &dy, Some(BackwardRule::Derivative))?;
            for ((name, _), gradient) in layer.parameters().zip(gradients.parameters) {
                let sum = sums.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
                sum.iter_mut().zip(gradient).for_each(|(sum, v)| *sum += v);
            }
            dy = gradients.x;
        }
    }
    Ok((sums, losses))
}

/// Computes the gradient of a layer's output with respect to the network's input, or to the output of an earlier layer `by`,
/// for one image. `seed` has the factor of each number of the layer's output, before its activation function. Dropout drops
/// nothing.
///
/// # Errors
///
/// [`WeightsError`] when `weights` do not belong to `network`.
///
/// # Panics
///
/// When the network lacks a layer, the layers are in the other order, or the lengths of `input` and `seed` do not fit.
pub fn layer_gradient(
    network: &Network,
    weights: &Weights,
    input: &[f64],
    (of, by): (&str, Option<&str>),
    seed: &[f64],
    rule: BackwardRule,
) -> Result<Vec<f64>, WeightsError> {
    let place = |name: &str| network.position(name).unwrap_or_else(|error| panic!("{error}"));
    let (of, first) = (place(of), by.map_or(0, |by| place(by) + 1));
    assert!(first <= of, "the layers are in the other order");
    assert_eq!(seed.len(), network.layers()[of].output.len(), "numbers of the seed");
    let activations = run(network, weights, input)?;
    let activation = |index: usize| index.checked_sub(1).map_or(input, |before| &activations[before]);
    let (mut dy, mut is_before) = (seed.to_vec(), true);
    for (index, layer) in network.layers()[..=of].iter().enumerate().skip(first).rev() {
        let rule = if is_before { None } else { Some(rule) };
        dy = backward(layer, weights, [activation(index), activation(index + 1)], &dy, rule)?.x;
        is_before &= layer.op.operation().is_identity();
    }
    Ok(dy)
}

/// The gradients of a layer with input `x` and output `y`.
pub(crate) fn backward(
    layer: &Layer,
    weights: &Weights,
    [x, y]: [&[f64]; 2],
    dy: &[f64],
    rule: Option<BackwardRule>,
) -> Result<layers::Gradients, WeightsError> {
    let parameters = parameters_of(layer, weights)?;
    let pass = BackwardPass { input: layer.input, output: layer.output, x, y, dy, parameters: &parameters, rule };
    Ok(layer.op.operation().backward(&pass))
}

fn parameters_of(layer: &Layer, weights: &Weights) -> Result<Vec<Vec<f64>>, WeightsError> {
    let tensor = |(name, _): (String, _)| {
        let tensor = weights.tensor(&name)?;
        Ok(tensor.to_f32().iter().map(|&v| f64::from(v)).collect())
    };
    layer.parameters().map(tensor).collect()
}

/// Returns ‖a − b‖ / ‖b‖, or ‖a − b‖ where b is zero.
pub fn relative_error(a: &[f32], b: &[f64]) -> f64 {
    let distance: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    if norm > 0.0 { (distance / norm).sqrt() } else { distance.sqrt() }
}
