//! Caffe's batch normalisation: a layer of means and variances, usually followed by a layer of scales and shifts.

use super::{blob, proto::LayerParameter};
use crate::model::formats::BatchNorm;
use crate::model::formats::affine::Affine;

/// The scale and shift of a BatchNorm, Scale or Bias layer for `channels` channels. Errors give the expected and the actual
/// blobs.
pub(super) fn affine(layer: &LayerParameter, channels: usize) -> Result<Affine, String> {
    let blobs = layer.blobs.iter().take(4).map(|bytes| Ok(blob(bytes)?.to_f64()));
    let blobs = blobs.collect::<Result<Vec<Vec<f64>>, String>>()?;
    let (scale, shift) = match (layer.r#type.as_str(), &*blobs) {
        ("BatchNorm", [mean, variance, count]) => {
            // Both are sums over moving averages; the third blob is their count.
            let count = count.first().copied().unwrap_or(0.0);
            let factor = if count == 0.0 { 0.0 } else { 1.0 / count };
            let of = |numbers: &[f64]| numbers.iter().map(|number| number * factor).collect();
            let epsilon = layer.batch_norm_param.and_then(|p| p.eps).map_or(BatchNorm::EPSILON, f64::from);
            let norm = BatchNorm { mean: of(mean), variance: of(variance), scale: None, shift: None, epsilon };
            return norm.affine(channels);
        }
        ("Scale", [scale]) if on_channels(layer) => (scale.clone(), vec![0.0; channels]),
        ("Scale", [scale, shift]) if on_channels(layer) => (scale.clone(), shift.clone()),
        ("Bias", [shift]) if on_channels(layer) => (vec![1.0; channels], shift.clone()),
        (kind, blobs) => return Err(format!("the blobs of a {kind} of channels, found {}", blobs.len())),
    };
    let fits = |numbers: &[f64]| numbers.len() == channels && numbers.iter().all(|number| number.is_finite());
    if !fits(&scale) || !fits(&shift) {
        return Err(format!("finite numbers for {channels} channels, found {} and {}", scale.len(), shift.len()));
    }
    Ok(Affine { scale, shift })
}

fn on_channels(layer: &LayerParameter) -> bool {
    let parameter = if layer.r#type == "Bias" { layer.bias_param } else { layer.scale_param };
    parameter.and_then(|p| p.axis).is_none_or(|axis| axis == 1)
}
