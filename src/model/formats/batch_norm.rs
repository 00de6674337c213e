//! Batch normalisation at inference: one factor and one shift per channel.

use super::{Budget, affine::Affine};
use crate::weights::Tensor;

/// A batch normalisation, with one number per channel: (x − mean) / √(variance + ε) · scale + shift.
pub(crate) struct BatchNorm {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    /// γ; ones by default.
    pub scale: Option<Vec<f64>>,
    /// β; zeros by default.
    pub shift: Option<Vec<f64>>,
    pub epsilon: f64,
}

impl BatchNorm {
    /// The default ε of PyTorch, Caffe and ONNX.
    pub const EPSILON: f64 = 1e-5;

    /// The same as a factor and a shift for each of `channels` channels. Errors give the expected and the actual lengths.
    pub(super) fn affine(&self, channels: usize) -> Result<Affine, String> {
        let lists = [Some(&self.mean), Some(&self.variance), self.scale.as_ref(), self.shift.as_ref()];
        if let Some(list) = lists.into_iter().flatten().find(|list| list.len() != channels) {
            return Err(format!("numbers for the {channels} channels of the layer before it, found {}", list.len()));
        }
        let channel = |c: usize| {
            let [mean, variance] = [self.mean[c], self.variance[c]];
            let factor = self.scale.as_ref().map_or(1.0, |scale| scale[c]) / (variance + self.epsilon).sqrt();
            let shift = self.shift.as_ref().map_or(0.0, |shift| shift[c]) - mean * factor;
            if variance < 0.0 || !factor.is_finite() || !shift.is_finite() {
                return Err(format!("finite numbers and a variance of at least 0, found {variance} in channel {c}"));
            }
            Ok((factor, shift))
        };
        let (scale, shift) = (0..channels).map(channel).collect::<Result<_, String>>()?;
        Ok(Affine { scale, shift })
    }
}

/// The weight and bias of a layer with its outputs normalised; a missing bias is 0.
pub(crate) fn fold(norm: &BatchNorm, weight: &Tensor, bias: Option<&Tensor>) -> Result<[Tensor; 2], String> {
    let rows = weight.shape().first().copied().unwrap_or(0);
    let affine = norm.affine(rows)?;
    let zeros = Tensor::from_f32([rows], vec![0.0; rows]);
    let bias = bias.unwrap_or(&zeros);
    if bias.numbers().len() != rows {
        return Err(format!("a bias of {rows} numbers in the layer before it, found {}", bias.numbers().len()));
    }
    after(&affine, weight, bias)
}

/// The weight and bias of a layer with each of its outputs multiplied by one factor and shifted by another.
pub(crate) fn fold_factors(factors: &[[f64; 2]], weight: &Tensor, bias: &Tensor) -> Result<[Tensor; 2], String> {
    let [scale, shift] = [0, 1].map(|which| factors.iter().map(|factors| factors[which]).collect());
    after(&Affine { scale, shift }, weight, bias)
}

fn after(affine: &Affine, weight: &Tensor, bias: &Tensor) -> Result<[Tensor; 2], String> {
    affine.after(weight, bias, &mut Budget::new(weight.bytes().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_layer_computes_what_both_did() {
        let weight = Tensor::from_f32([2, 3], vec![1.0, -2.0, 0.5, 3.0, 0.25, -1.0]);
        let bias = Tensor::from_f32([2], vec![0.5, -0.25]);
        let norm = BatchNorm {
            mean: vec![0.3, -1.2],
            variance: vec![0.04, 2.5],
            scale: Some(vec![1.5, -0.7]),
            shift: Some(vec![0.1, 0.2]),
            epsilon: 1e-5,
        };
        let [folded, shift] = fold(&norm, &weight, Some(&bias)).unwrap();
        let x = [0.7, -0.1, 2.0];
        let dense = |weight: &Tensor, bias: &Tensor, row: usize| {
            let row_of = &weight.to_f64()[3 * row..][..3];
            row_of.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias.to_f64()[row]
        };
        for (row, gamma) in [1.5, -0.7].into_iter().enumerate() {
            let plain = dense(&weight, &bias, row);
            let expected = (plain - norm.mean[row]) / (norm.variance[row] + 1e-5).sqrt() * gamma + [0.1, 0.2][row];
            let found = dense(&folded, &shift, row);
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
        // The layer's bias and the norm's own scale and shift are optional.
        let plain = BatchNorm { scale: None, shift: None, ..norm };
        let [_, shift] = fold(&plain, &weight, None).unwrap();
        assert!((shift.to_f64()[0] + 0.3 / 0.04001f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let norm = |mean: Vec<f64>, variance: Vec<f64>| BatchNorm {
            mean,
            variance,
            scale: None,
            shift: None,
            epsilon: BatchNorm::EPSILON,
        };
        let error = norm(vec![0.0; 3], vec![1.0; 3]).affine(2).unwrap_err();
        assert_eq!(error, "numbers for the 2 channels of the layer before it, found 3");
        assert!(norm(vec![0.0; 2], vec![1.0, -1.0]).affine(2).unwrap_err().contains("found -1 in channel 1"));
        assert!(norm(vec![f64::NAN], vec![1.0]).affine(1).is_err());
        let (weight, bias) = (Tensor::from_f32([2, 1], vec![1.0; 2]), Tensor::from_f32([3], vec![1.0; 3]));
        assert!(fold(&norm(vec![0.0; 2], vec![1.0; 2]), &weight, Some(&bias)).unwrap_err().contains("a bias of 2"));
    }
}
