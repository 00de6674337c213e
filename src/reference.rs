//! Networks in plain Rust and f64: what tests and `doctor` hold the shaders against.
//!
//! Written to be read next to a textbook, not to be fast: each layer's is in its file of `layers/`. Activations are CHW.

use crate::{
    network::{Layer, Network},
    weights::{Weights, WeightsError},
};

/// Every layer's activation for one image, in order.
///
/// # Errors
///
/// [`WeightsError`] when `weights` are not those of `network`.
///
/// # Panics
///
/// When `input` does not hold as many numbers as the network's input.
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

/// One layer's activation.
///
/// # Errors
///
/// [`WeightsError::Missing`] when `weights` lack the layer's tensors.
///
/// # Panics
///
/// When `x` does not hold as many numbers as the layer's input.
pub fn run_layer(layer: &Layer, weights: &Weights, x: &[f64]) -> Result<Vec<f64>, WeightsError> {
    assert_eq!(x.len(), layer.input.len(), "numbers of the input of `{}`", layer.name);
    let tensor = |(name, _): (String, _)| {
        let tensor = weights.tensor(&name)?;
        Ok(tensor.to_f32().iter().map(|&v| f64::from(v)).collect())
    };
    let parameters = layer.parameters().map(tensor).collect::<Result<Vec<Vec<f64>>, WeightsError>>()?;
    Ok(layer.op.operation().reference(layer.input, layer.output, x, &parameters))
}

/// ‖a − b‖ / ‖b‖; the distance itself where b is zero.
pub fn relative_error(a: &[f32], b: &[f64]) -> f64 {
    let distance: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    if norm > 0.0 { (distance / norm).sqrt() } else { distance.sqrt() }
}
