//! y = scale · x + shift per channel or number: normalisation, biases and constants that a file's graph computes in nodes of
//! their own, folded into adjacent layers.

use super::Budget;
use crate::weights::Tensor;

/// scale · x + shift. Each of the two has one number for all, one per channel, or one per number of an activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

/// The element of `factors` for number `i` of `count`.
fn at(factors: &[f64], i: usize, count: usize) -> f64 {
    factors[i / (count / factors.len())]
}

/// Two lists of factors combined element by element, to the length of the longer one.
fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let count = a.len().max(b.len());
    (0..count).map(|i| f(at(a, i, count), at(b, i, count))).collect()
}

impl Affine {
    pub fn identity() -> Self {
        Self { scale: vec![1.0], shift: vec![0.0] }
    }

    pub fn is_identity(&self) -> bool {
        self.keeps_scale() && self.keeps_zero()
    }

    /// Whether it only adds.
    pub fn keeps_scale(&self) -> bool {
        self.scale.iter().all(|&v| v == 1.0)
    }

    /// Whether zeros stay zeros.
    pub fn keeps_zero(&self) -> bool {
        self.shift.iter().all(|&v| v == 0.0)
    }

    /// Whether it is constant within each of `channels` channels.
    pub fn is_by_channel(&self, channels: usize) -> bool {
        [&self.scale, &self.shift].iter().all(|factors| channels.is_multiple_of(factors.len()))
    }

    /// The composition: this one first, then `next`.
    pub fn then(&self, next: &Self) -> Self {
        Self {
            scale: zip(&self.scale, &next.scale, |a, b| a * b),
            shift: zip(&zip(&self.shift, &next.scale, |t, s| t * s), &next.shift, |a, b| a + b),
        }
    }

    /// Scale and shift with one number per channel.
    pub fn channels(&self, channels: usize) -> (Vec<f32>, Vec<f32>) {
        let all = |factors: &[f64]| (0..channels).map(|i| at(factors, i, channels) as f32).collect();
        (all(&self.scale), all(&self.shift))
    }

    /// The weight and bias of a layer with this applied to its output.
    pub fn after(&self, weight: &Tensor, bias: &Tensor, budget: &mut Budget) -> Result<[Tensor; 2], String> {
        let rows = weight.shape().first().copied().unwrap_or(0);
        let moved = |(i, &b): (usize, &f32)| f64::from(b) * at(&self.scale, i, rows) + at(&self.shift, i, rows);
        let bias = Tensor::from_f32([rows], bias.to_f32().iter().enumerate().map(moved).map(|v| v as f32).collect());
        if self.keeps_scale() {
            return Ok([weight.clone(), bias]);
        }
        budget.take(4 * weight.numbers().len())?;
        let mut values = weight.to_f32().into_owned();
        let columns = values.len() / rows.max(1);
        for (i, row) in values.chunks_mut(columns.max(1)).enumerate() {
            let scale = at(&self.scale, i, rows);
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
        }
        Ok([Tensor::from_f32(weight.shape(), values), bias])
    }

    /// The weight and bias of a layer with this applied to its input, where the layer has no padding. A row of the weight
    /// covers `inputs` numbers or channels: one of `groups` groups of the input.
    pub fn before(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        [groups, inputs]: [usize; 2],
        budget: &mut Budget,
    ) -> Result<[Tensor; 2], String> {
        let rows = weight.shape().first().copied().unwrap_or(0);
        budget.take(4 * weight.numbers().len())?;
        let mut values = weight.to_f32().into_owned();
        let mut sums: Vec<f64> = bias.to_f32().iter().map(|&b| f64::from(b)).collect();
        let columns = (values.len() / rows.max(1)).max(1);
        let total = groups * inputs;
        for (row, (values, sum)) in values.chunks_mut(columns).zip(&mut sums).enumerate() {
            let first = row * groups / rows * inputs;
            for (i, window) in values.chunks_mut(columns / inputs).enumerate() {
                let (scale, shift) = (at(&self.scale, first + i, total), at(&self.shift, first + i, total));
                for v in window {
                    *sum += f64::from(*v) * shift;
                    *v = (f64::from(*v) * scale) as f32;
                }
            }
        }
        let bias = Tensor::from_f32([rows], sums.into_iter().map(|v| v as f32).collect());
        Ok([Tensor::from_f32(weight.shape(), values), bias])
    }
}
