//! Reproducible random numbers: SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators"),
//! identical in every language.

/// `n` numbers in ±`bound`: the top 24 bits of each output on a grid of 2⁻²³, times `bound`.
pub fn uniform(seed: u64, n: usize, bound: f32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0) * bound
    };
    (0..n).map(next).collect()
}
