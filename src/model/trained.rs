//! Detection of untrained weights.

use crate::{layers::Op, model::Model};

/// The minimum number of pairs of neighbours; fewer prove nothing.
const MIN_PAIRS: usize = 2000;

/// The minimum kernel size. Smaller filters are trained to any pattern; 5×5 is the smallest that edges and colours make
/// smooth.
const MIN_KERNEL: usize = 5;

impl Model {
    /// The correlation of neighbouring weights in the filters of the first layer, where it is as low as that of random
    /// numbers; `None` where the weights were trained, or are too few to tell.
    ///
    /// Filters trained on pictures are smooth: torchvision's AlexNet has a correlation of about 0.56, and a network trained on
    /// garments of 28×28 pixels had 0.12. Random numbers stay within 3 / √pairs of 0, which is 0.015 for AlexNet.
    pub fn looks_untrained(&self) -> Option<f64> {
        let first = self.network.layers().iter().find(|layer| layer.parameters().next().is_some())?;
        let Op::Conv(conv) = first.op else { return None };
        let [rows, columns] = conv.window.kernel;
        if rows.min(columns) < MIN_KERNEL {
            return None;
        }
        let weight = self.weights.tensors.get(&format!("{}.weight", first.name))?.to_f64();
        let mean = weight.iter().sum::<f64>() / weight.len() as f64;
        let variance = weight.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / weight.len() as f64;
        let (mut sum, mut pairs) = (0.0, 0usize);
        for filter in weight.chunks_exact(rows * columns) {
            for (i, w) in filter.iter().enumerate() {
                let right = (i % columns + 1 < columns).then(|| filter[i + 1]);
                let below = filter.get(i + columns).copied();
                for other in right.into_iter().chain(below) {
                    sum += (w - mean) * (other - mean);
                    pairs += 1;
                }
            }
        }
        let correlation = sum / pairs as f64 / variance;
        (pairs >= MIN_PAIRS && correlation < 3.0 / (pairs as f64).sqrt()).then_some(correlation)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::{AlexNet, ModelOptions, Tensor, Weights, splitmix};

    fn model(weights: Weights) -> Model {
        Model::from_weights(weights, &ModelOptions::default()).unwrap()
    }

    #[test]
    fn random_weights_look_untrained_and_smooth_ones_do_not() {
        let network = AlexNet::UNGROUPED.width(0.25).head(8, 8).classes(10).network().unwrap();
        for seed in 0..20 {
            let mut weights = Weights::random(&network, seed);
            let found = model(weights.clone()).looks_untrained();
            assert!(found.is_some_and(|r| r.abs() < 0.03), "seed {seed}: {found:?}");
            // All of one sign, but still random.
            let shape = weights.tensors["conv1.weight"].shape().to_vec();
            let count = shape.iter().product();
            let shifted = splitmix::uniform(seed, count, 1.0).into_iter().map(|w| w + 1.0).collect();
            weights.tensors.insert("conv1.weight".into(), Tensor::from_f32(shape.clone(), shifted));
            assert!(model(weights.clone()).looks_untrained().is_some(), "seed {seed}");
            // A wave in every filter, with noise of the same amplitude.
            let noise = splitmix::uniform(seed, count, 1.0);
            let smooth = noise.into_iter().enumerate().map(|(i, w)| w + (i as f32 * 0.6).sin()).collect();
            weights.tensors.insert("conv1.weight".into(), Tensor::from_f32(shape, smooth));
            assert_eq!(model(weights).looks_untrained(), None, "seed {seed}");
        }
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn the_embedded_model_is_trained() {
        assert_eq!(Model::embedded().unwrap().looks_untrained(), None);
    }

    #[test]
    fn few_weights_prove_nothing() {
        let network = AlexNet::TORCHVISION.width(0.02).head(4, 4).classes(3).network().unwrap();
        assert_eq!(model(Weights::random(&network, 1)).looks_untrained(), None);
    }
}
