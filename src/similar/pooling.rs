//! Pooling of a layer's maps to one number per channel.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number that stands for a map of activations, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pooling {
    /// The mean.
    Mean,
    /// The largest activation.
    Max,
    /// The generalised mean of this exponent, `(mean of xᵖ)^(1/p)`, between the mean (1) and the maximum (∞). Negative
    /// activations count as 0. Radenović, Tolias and Chum 2018, "Fine-tuning CNN image retrieval with no human annotation".
    GeneralizedMean(f32),
}

impl Pooling {
    /// Pools a map; 0 for an empty one.
    pub fn pool(self, map: &[f32]) -> f32 {
        if map.is_empty() {
            return 0.0;
        }
        let mean = |sum: f32| sum / map.len() as f32;
        match self {
            Self::Mean => mean(sum(map, |x| x)),
            Self::Max => map.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            // By far the usual exponent, and `powf` takes ten times as long.
            Self::GeneralizedMean(3.0) => mean(sum(map, |x| x.max(0.0).powi(3))).cbrt(),
            Self::GeneralizedMean(exponent) => mean(sum(map, |x| x.max(0.0).powf(exponent))).powf(1.0 / exponent),
        }
    }

    /// Whether the exponent is a number of at least 1.
    pub(crate) fn is_valid(self) -> bool {
        match self {
            Self::GeneralizedMean(exponent) => exponent.is_finite() && exponent >= 1.0,
            Self::Mean | Self::Max => true,
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::Max => f.write_str("max"),
            Self::GeneralizedMean(exponent) => write!(f, "generalised mean of {exponent}"),
        }
    }
}

/// The sum in eight lanes, which the compiler turns into vector instructions, and which rounds less than one sum would.
fn sum(map: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (eights, rest) = map.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for eight in eights {
        for (lane, &value) in lanes.iter_mut().zip(eight) {
            *lane += term(value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&value| term(value)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix;

    #[test]
    fn pooled_maps_are_those_of_the_formula() {
        for length in [1, 7, 8, 169, 729] {
            let map: Vec<f32> = splitmix::uniform(length as u64, length, 2.0);
            let exact = |p: f64| {
                let powers = map.iter().map(|&x| f64::from(x).max(0.0).powf(p));
                (powers.sum::<f64>() / length as f64).powf(1.0 / p)
            };
            let mean = map.iter().map(|&x| f64::from(x)).sum::<f64>() / length as f64;
            let max = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!((f64::from(Pooling::Mean.pool(&map)) - mean).abs() < 1e-6, "{length}");
            assert_eq!(Pooling::Max.pool(&map), max);
            for p in [1.0, 2.5, 3.0, 8.0] {
                let found = f64::from(Pooling::GeneralizedMean(p).pool(&map));
                assert!((found - exact(f64::from(p))).abs() < 1e-5, "{length}, {p}: {found}, {}", exact(f64::from(p)));
            }
        }
        assert_eq!(Pooling::Max.pool(&[]), 0.0);
    }
}
