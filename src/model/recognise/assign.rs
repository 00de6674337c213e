//! Assignment of a state dict's tensors to a network given by the caller.

use std::collections::BTreeMap;

use super::{
    names::{Module, modules},
    norms::{Folded, fold_norms},
};
use crate::{
    layers::Op,
    network::{Layer, Network},
    weights::{Tensor, Weights, WeightsError},
};

/// The tensors of `network` under its names, and how they were matched: by the names of the layers where the file has them,
/// and by order otherwise. Batch normalisations are folded into the layers before them, and a missing bias is 0.
pub(crate) fn assign(
    network: &Network,
    weights: &Weights,
    order: &[String],
) -> Result<(BTreeMap<String, Tensor>, String), WeightsError> {
    if weights.check(network).is_ok() {
        return Ok((weights.tensors.clone(), "tensors by the names of its layers".into()));
    }
    let Folded { tensors, norms, .. } = fold_norms(weights, order)?;
    let weights = Weights { tensors, metadata: BTreeMap::new() };
    let found: Vec<Module<'_>> = modules(&weights, order).into_iter().filter(Module::is_layer).collect();
    let layers: Vec<&Layer> = network.layers().iter().filter(|layer| layer.parameters().next().is_some()).collect();

    let by_name: BTreeMap<&str, &Module<'_>> = found.iter().map(|module| (module.name, module)).collect();
    let named: Option<Vec<&Module<'_>>> =
        layers.iter().map(|layer| by_name.get(layer.name.as_str()).copied()).collect();
    let (pairs, mut how) = match named {
        Some(named) => (named, "tensors by the names of its layers".to_string()),
        None if found.len() == layers.len() => (found.iter().collect(), "tensors in their order".to_string()),
        None => {
            // The first layer whose tensors are missing.
            let missing = layers.iter().find(|layer| !by_name.contains_key(layer.name.as_str()));
            return Err(match missing.map(|layer| weights.tensor(&format!("{}.weight", layer.name))) {
                Some(Err(missing)) => missing,
                _ => WeightsError::Unrecognised(format!(
                    "the network has {} layers that learn, the file {}",
                    layers.len(),
                    found.len()
                )),
            });
        }
    };
    let mut tensors = BTreeMap::new();
    let mut used: Vec<String> = Vec::new();
    for (layer, module) in layers.iter().zip(pairs) {
        let Ok([(_, weight_shape), (_, bias_shape)]) = <[_; 2]>::try_from(layer.op.parameters(layer.input)) else {
            continue;
        };
        let Some(weight) = module.weight else { continue };
        let in_file = [format!("{}.weight", module.name), format!("{}.bias", module.name)];
        // A fully connected layer may be stored as a convolution over its whole input.
        let whole = matches!(layer.op, Op::Linear(_)).then(|| weight.reshaped(weight_shape)).flatten();
        let weight = whole.unwrap_or_else(|| weight.clone()).named_in_file(&in_file[0]);
        let bias = match module.bias {
            Some(bias) => bias.reshaped(bias_shape).unwrap_or_else(|| bias.clone()).named_in_file(&in_file[1]),
            None => Tensor::from_f32([bias_shape[0]], vec![0.0; bias_shape[0]]),
        };
        tensors.insert(format!("{}.weight", layer.name), weight);
        tensors.insert(format!("{}.bias", layer.name), bias);
        used.extend(in_file);
    }
    used.sort();
    let extra = weights.tensors.keys().filter(|name| used.binary_search(name).is_err()).cloned();
    if let Some(error) = WeightsError::extra(extra, network.name()) {
        return Err(error);
    }
    if let Some(first) = norms.first() {
        how += &format!(", {} batch normalisations ({first}, …) folded into them, with ε = 1e-5", norms.len());
    }
    Ok((tensors, how))
}
