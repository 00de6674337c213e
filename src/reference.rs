//! A reference implementation in plain Rust and f64, which tests and `doctor` compare the shaders with.
//!
//! It is written to be read next to a textbook, not to be fast. Each layer's reference is in its file of `layers/`.
//! Activations are CHW.

use crate::{
    network::{Layer, Network},
    weights::{Weights, WeightsError},
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
    let tensor = |(name, _): (String, _)| {
        let tensor = weights.tensor(&name)?;
        Ok(tensor.to_f32().iter().map(|&v| f64::from(v)).collect())
    };
    let parameters = layer.parameters().map(tensor).collect::<Result<Vec<Vec<f64>>, WeightsError>>()?;
    Ok(layer.op.operation().reference(layer.input, layer.output, x, &parameters))
}

/// Returns ‖a − b‖ / ‖b‖, or ‖a − b‖ where b is zero.
pub fn relative_error(a: &[f32], b: &[f64]) -> f64 {
    let distance: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    if norm > 0.0 { (distance / norm).sqrt() } else { distance.sqrt() }
}
