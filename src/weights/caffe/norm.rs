//! Caffe's batch normalisation: a layer of means and variances, and mostly a layer of scales and shifts behind it.

use super::{blob, proto::LayerParameter};
use crate::weights::{BatchNorm, Budget, Channel, Tensor, fold};

/// Whether a layer changes each channel of `current` by itself.
pub(super) fn is_one(layer: &LayerParameter, current: &[&str]) -> bool {
    let kind = matches!(layer.r#type.as_str(), "BatchNorm" | "Scale" | "Bias");
    kind && matches!(&*layer.bottom, [bottom] if current.contains(&bottom.as_str()))
}

/// The weight and bias of a layer whose outputs go through `norms`, one after another.
pub(super) fn folded(
    weight: Tensor,
    bias: Option<Tensor>,
    norms: &[&LayerParameter],
    budget: &mut Budget,
) -> Result<(Tensor, Option<Tensor>), String> {
    let rows = weight.shape().first().copied().unwrap_or(0);
    let mut folded = (weight, bias);
    for norm in norms {
        let channels = channels(norm, rows).map_err(|what| format!("{what} in layer `{:.80}`", norm.name))?;
        budget.take(folded.0.numbers().len().saturating_mul(size_of::<f64>()))?;
        let (weight, bias) = &folded;
        let [weight, bias] = fold(weight, bias.as_ref(), &channels)?;
        folded = (weight, Some(bias));
    }
    Ok(folded)
}

fn channels(layer: &LayerParameter, rows: usize) -> Result<Vec<Channel>, String> {
    let blobs = layer.blobs.iter().take(4).map(|bytes| Ok(blob(bytes)?.to_f64()));
    let blobs = blobs.collect::<Result<Vec<Vec<f64>>, String>>()?;
    let still = |shift: Vec<f64>| (vec![0.0; rows], vec![1.0; rows], shift);
    let norm = match (layer.r#type.as_str(), &*blobs) {
        ("BatchNorm", [mean, variance, count]) => {
            // Both are sums over moving averages, and the third says of how many.
            let count = count.first().copied().unwrap_or(0.0);
            let factor = if count == 0.0 { 0.0 } else { 1.0 / count };
            let of = |numbers: &[f64]| numbers.iter().map(|number| number * factor).collect();
            let epsilon = layer.batch_norm_param.and_then(|p| p.eps).map_or(BatchNorm::EPSILON, f64::from);
            BatchNorm { mean: of(mean), variance: of(variance), scale: None, shift: None, epsilon }
        }
        ("Scale", [scale]) if on_channels(layer) => {
            let (mean, variance, shift) = still(vec![0.0; rows]);
            BatchNorm { mean, variance, scale: Some(scale.clone()), shift: Some(shift), epsilon: 0.0 }
        }
        ("Scale", [scale, shift]) if on_channels(layer) => {
            let (mean, variance, shift) = still(shift.clone());
            BatchNorm { mean, variance, scale: Some(scale.clone()), shift: Some(shift), epsilon: 0.0 }
        }
        ("Bias", [shift]) if on_channels(layer) => {
            let (mean, variance, shift) = still(shift.clone());
            BatchNorm { mean, variance, scale: None, shift: Some(shift), epsilon: 0.0 }
        }
        (kind, blobs) => return Err(format!("the blobs of a {kind} of channels, found {}", blobs.len())),
    };
    norm.affine(rows)
}

fn on_channels(layer: &LayerParameter) -> bool {
    let parameter = if layer.r#type == "Bias" { layer.bias_param } else { layer.scale_param };
    parameter.and_then(|p| p.axis).is_none_or(|axis| axis == 1)
}
