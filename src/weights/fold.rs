//! Batch normalisation at inference, folded into the convolution or fully connected layer before it.

use super::Tensor;

/// What batch normalisation does to a channel at inference: x · `factor` + `shift`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Channel {
    pub factor: f64,
    pub shift: f64,
}

/// A batch normalisation, a number a channel: (x − mean) / √(variance + ε) · scale + shift.
pub(crate) struct BatchNorm {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    /// γ; ones where there are none.
    pub scale: Option<Vec<f64>>,
    /// β; zeros where there are none.
    pub shift: Option<Vec<f64>>,
    pub epsilon: f64,
}

impl BatchNorm {
    /// PyTorch's, Caffe's and ONNX's ε where a file does not say another.
    pub const EPSILON: f64 = 1e-5;

    /// The same as a factor and a shift for each of `channels` channels. Errors say what was expected and found.
    pub fn affine(&self, channels: usize) -> Result<Vec<Channel>, String> {
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
            Ok(Channel { factor, shift })
        };
        (0..channels).map(channel).collect()
    }
}

/// The weight and bias of a layer whose outputs go through `channels`: computed in f64, rounded to f32 once. The rows of
/// `weight` are the outputs; without a bias it is 0.
pub(crate) fn fold(weight: &Tensor, bias: Option<&Tensor>, channels: &[Channel]) -> Result<[Tensor; 2], String> {
    let rows = weight.shape().first().copied().unwrap_or(0);
    let bias = bias.map_or_else(|| vec![0.0; rows], Tensor::to_f64);
    if rows != channels.len() || rows != bias.len() {
        return Err(format!(
            "a bias and a factor for each of {rows} outputs, found {} and {}",
            bias.len(),
            channels.len()
        ));
    }
    let columns = weight.numbers().len().checked_div(rows).unwrap_or(0);
    let mut folded = weight.to_f64();
    for (row, channel) in folded.chunks_exact_mut(columns.max(1)).zip(channels) {
        row.iter_mut().for_each(|w| *w *= channel.factor);
    }
    let bias = bias.iter().zip(channels).map(|(b, channel)| (b * channel.factor + channel.shift) as f32).collect();
    let folded = folded.into_iter().map(|w| w as f32).collect();
    Ok([Tensor::from_f32(weight.shape(), folded), Tensor::from_f32([rows], bias)])
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
        let [folded, shift] = fold(&weight, Some(&bias), &norm.affine(2).unwrap()).unwrap();
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
        // Neither the layer's bias nor the norm's own numbers need be there.
        let plain = BatchNorm { scale: None, shift: None, ..norm };
        let [_, shift] = fold(&weight, None, &plain.affine(2).unwrap()).unwrap();
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
        assert!(fold(&Tensor::from_f32([2, 1], vec![1.0; 2]), None, &[]).is_err());
    }
}
