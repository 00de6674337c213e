//! Folding of batch normalisations into the layers before them, when a model is loaded.

use crate::{
    activation::Activation,
    layers::{Conv, Linear, Op},
    model::formats::fold_factors,
    network::{Network, NetworkError},
    weights::{Weights, WeightsError},
};

/// The same computation, with each batch normalisation that directly follows a convolution or a fully connected layer folded
/// into that layer. One after an activation function or any other layer stays.
pub(crate) fn fold_batch_norms(network: Network, mut weights: Weights) -> Result<(Network, Weights), WeightsError> {
    if !network.layers().iter().any(|layer| matches!(layer.op, Op::BatchNorm(_))) {
        return Ok((network, weights));
    }
    let mut layers: Vec<(String, Op)> = Vec::new();
    for layer in network.layers() {
        let Op::BatchNorm(norm) = layer.op else {
            layers.push((layer.name.clone(), layer.op));
            continue;
        };
        // A dropout in between is the identity.
        let before = layers.iter_mut().rfind(|(_, op)| *op != Op::Dropout);
        let Some((
            name,
            Op::Conv(Conv { activation: activation @ Activation::None, .. })
            | Op::Linear(Linear { activation: activation @ Activation::None, .. }),
        )) = before
        else {
            layers.push((layer.name.clone(), layer.op));
            continue;
        };
        *activation = norm.activation;
        let factors = norm.factors_of(&layer.name, &weights)?;
        let [weight_name, bias_name] = ["weight", "bias"].map(|kind| format!("{name}.{kind}"));
        let (weight, bias) = (weights.tensor(&weight_name)?, weights.tensor(&bias_name)?);
        let [weight, bias] = fold_factors(&factors, weight, bias)
            .map_err(|what| WeightsError::BatchNorm { layer: layer.name.clone(), what })?;
        weights.tensors.insert(weight_name, weight);
        weights.tensors.insert(bias_name, bias);
        let prefix = format!("{}.", layer.name);
        weights.tensors.retain(|tensor, _| !tensor.starts_with(&prefix));
    }
    let folded = Network::new(network.name(), network.input(), layers);
    let folded = folded.map_err(|e: NetworkError| WeightsError::Unrecognised(e.to_string()))?;
    Ok((folded, weights))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::{
        layers::{BatchNorm, MaxPool},
        reference,
        shape::Shape,
        weights::Tensor,
    };

    #[test]
    fn a_folded_network_computes_the_same() {
        let norm = BatchNorm::new(1e-3);
        let network = Network::builder("n", Shape::new(3, 8, 8))
            .batch_norm("first", norm)
            .conv("conv1", Conv::new(6, 3).groups(3))
            .batch_norm("bn1", norm.activation(Activation::Relu))
            .max_pool("pool1", MaxPool::new(2, 2))
            .batch_norm("bn2", norm)
            .conv("conv2", Conv::new(4, 2).relu())
            .batch_norm("bn3", norm)
            .linear("fc", Linear::new(5))
            .dropout("drop")
            .batch_norm("bn4", norm.activation(Activation::Tanh))
            .build()
            .unwrap();
        let weights = Weights::random(&network, 3);
        let input: Vec<f64> = (0..network.input().len()).map(|i| ((i * 7) % 13) as f64 / 4.0 - 1.0).collect();
        let expected = reference::run(&network, &weights, &input).unwrap().pop().unwrap();
        let (folded, weights) = fold_batch_norms(network, weights).unwrap();
        let names: Vec<&str> = folded.layers().iter().map(|layer| layer.name.as_str()).collect();
        // After a ReLU, a pooling or the input there is no layer to fold into.
        assert_eq!(names, ["first", "conv1", "pool1", "bn2", "conv2", "bn3", "fc", "drop"]);
        let found = reference::run(&folded, &weights, &input).unwrap().pop().unwrap();
        let found: Vec<f32> = found.into_iter().map(|v| v as f32).collect();
        assert!(reference::relative_error(&found, &expected) < 1e-6, "{found:?} {expected:?}");
    }

    #[test]
    fn a_variance_below_zero_is_an_error() {
        let network = Network::builder("n", Shape::new(2, 3, 3))
            .conv("conv", Conv::new(2, 3))
            .batch_norm("norm", BatchNorm::new(0.0))
            .build()
            .unwrap();
        let mut weights = Weights::random(&network, 3);
        weights.tensors.insert("norm.running_var".into(), Tensor::from_f32([2], vec![1.0, -0.5]));
        let error = fold_batch_norms(network, weights).unwrap_err().to_string();
        assert!(error.contains("norm") && error.contains("-0.5 in channel 1"), "{error}");
    }
}
