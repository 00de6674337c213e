//! Random numbers of training: the dropout's, and initial parameters.

use crate::{
    network::Network,
    weights::{Tensor, Weights, splitmix},
};

/// Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), as shaders/dropout.wgsl has it.
#[cfg(test)]
pub(super) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
    for _ in 0..10 {
        let (m0, m1) = (product(0xD251_1F53, counter[0]), product(0xCD9E_8D57, counter[2]));
        let high = |m: u64| (m >> 32) as u32;
        counter = [high(m1) ^ counter[1] ^ key[0], m1 as u32, high(m0) ^ counter[3] ^ key[1], m0 as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// The distribution of initial weights.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Normal with this standard deviation, and biases of 0.
    Normal {
        /// The standard deviation.
        deviation: f32,
    },
    /// Normal with variance 2 / fan-in, for layers that end in a ReLU (He et al. 2015, "Delving deep into rectifiers").
    He,
    /// Uniform within ±1 / √fan-in, the biases too: PyTorch's default.
    Torch,
}

/// Makes initial parameters for a network's convolutions and fully connected layers. The same seed makes the same ones.
pub fn initial_weights(network: &Network, init: Init, seed: u64) -> Weights {
    let mut weights = Weights::default();
    for (index, (name, shape)) in network.parameters().enumerate() {
        let len: usize = shape.iter().product();
        let is_weight = shape.len() > 1;
        let fan_in: usize = match is_weight {
            true => shape[1..].iter().product(),
            // That of the weight before.
            false => fan_in_before(network, index),
        };
        let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index as u64);
        let values = match (init, is_weight) {
            (Init::Torch, _) => splitmix::uniform(seed, len, bound),
            (Init::Normal { deviation }, true) => normal(seed, len, deviation),
            (Init::He, true) => normal(seed, len, 2f32.sqrt() * bound),
            (Init::Normal { .. } | Init::He, false) => vec![0.0; len],
        };
        // The scale and the variance of a batch normalisation.
        let is_scale = name.ends_with("running_var") || !is_weight && name.ends_with(".weight");
        let values = if is_scale { vec![1.0; len] } else { values };
        weights.insert(name, Tensor::from_f32(shape, values));
    }
    weights
}

/// The number of inputs of each output in the layer whose weight is the tensor before number `index`.
fn fan_in_before(network: &Network, index: usize) -> usize {
    let before = index.checked_sub(1).and_then(|before| network.parameters().nth(before));
    before.map_or(1, |(_, shape)| shape.iter().skip(1).product())
}

/// Numbers from a normal distribution, by the method of Box and Muller (1958).
fn normal(seed: u64, len: usize, deviation: f32) -> Vec<f32> {
    let uniform = splitmix::uniform(seed, 2 * len, 0.5);
    let pairs = uniform.as_chunks::<2>().0;
    let number = |&[a, b]: &[f32; 2]| {
        // From −½…½ to 0…1, without 0.
        let radius = (-2.0 * (f64::from(a) + 0.5).max(2f64.powi(-26)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(b)).cos() * f64::from(deviation)) as f32
    };
    pairs.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' library Random123 (kat_vectors).
    #[test]
    fn philox_is_that_of_its_authors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normal_numbers_have_their_deviation() {
        let numbers = normal(7, 100_000, 0.01);
        let mean = numbers.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 1e-4, "{mean}");
        assert!((variance.sqrt() - 0.01).abs() < 1e-4, "{variance}");
    }
}
