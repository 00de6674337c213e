//! The paper's change of colours: multiples of the principal components of the training pictures' colours are added
//! (Krizhevsky, Sutskever, Hinton 2012, section 4.1).

use alexnet_wgpu::{Picture, splitmix};

/// The standard deviation of the random factors.
const DEVIATION: f64 = 0.1;
/// Pixels of a picture that are counted.
const SAMPLES: usize = 4096;

/// Sums of colours, from which their covariance follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    count: f64,
    sum: [f64; 3],
    products: [[f64; 3]; 3],
}

impl Sums {
    /// Those of a picture, whose samples go from 0 to 1.
    pub fn of(picture: &Picture) -> Self {
        let pixels = picture.rgb().as_chunks::<3>().0;
        let mut sums = Self::default();
        for pixel in pixels.iter().step_by(pixels.len().div_ceil(SAMPLES).max(1)) {
            let pixel = pixel.map(|sample| f64::from(sample) / 255.0);
            sums.count += 1.0;
            for i in 0..3 {
                sums.sum[i] += pixel[i];
                (0..3).for_each(|j| sums.products[i][j] += pixel[i] * pixel[j]);
            }
        }
        sums
    }

    /// Adds those of other pictures.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        for i in 0..3 {
            self.sum[i] += other.sum[i];
            (0..3).for_each(|j| self.products[i][j] += other.products[i][j]);
        }
    }
}

/// The principal components of colours.
#[derive(Clone, Copy, Debug)]
pub struct Components {
    /// Each component, times its variance.
    scaled: [[f64; 3]; 3],
}

impl Components {
    pub fn of(sums: &Sums) -> Self {
        let mean = sums.sum.map(|sum| sum / sums.count.max(1.0));
        let mut covariance = sums.products;
        for i in 0..3 {
            (0..3).for_each(|j| covariance[i][j] = covariance[i][j] / sums.count.max(1.0) - mean[i] * mean[j]);
        }
        let (values, vectors) = eigen(covariance);
        Self { scaled: [0, 1, 2].map(|k| [0, 1, 2].map(|i| vectors[i][k] * values[k])) }
    }

    /// What is added to red, green and blue of 0 to 1.
    pub fn draw(&self, seed: u64) -> [f64; 3] {
        // Box and Muller's transform.
        let draws = splitmix::uniform(seed, 6, 0.5);
        let normal = |k: usize| {
            let [a, b] = [draws[2 * k], draws[2 * k + 1]].map(|draw| f64::from(draw) + 0.5);
            (-2.0 * (1.0 - a).max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
        };
        let factors = [0, 1, 2].map(|k| DEVIATION * normal(k));
        [0, 1, 2].map(|i| (0..3).map(|k| self.scaled[k][i] * factors[k]).sum())
    }
}

/// Eigenvalues of a symmetric matrix, and eigenvectors as columns, by Jacobi's rotations.
fn eigen(mut a: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for (p, q) in [(0, 1), (0, 2), (1, 2)].into_iter().cycle().take(60) {
        if a[p][q].abs() < 1e-300 {
            continue;
        }
        let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
        let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
        let (cos, sin) = (1.0 / (t * t + 1.0).sqrt(), t / (t * t + 1.0).sqrt());
        for row in [&mut a, &mut vectors].into_iter().flatten() {
            (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
        }
        let (upper, lower) = (a[p], a[q]);
        a[p] = [0, 1, 2].map(|k| cos * upper[k] - sin * lower[k]);
        a[q] = [0, 1, 2].map(|k| sin * upper[k] + cos * lower[k]);
    }
    ([a[0][0], a[1][1], a[2][2]], vectors)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn components_are_eigenvectors() {
        // fb.resnet.torch's components of ImageNet.
        let vectors = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];
        let values = [0.2175, 0.0188, 0.0045];
        let of = |i: usize, j: usize| (0..3).map(|k| vectors[i][k] * values[k] * vectors[j][k]).sum::<f64>();
        let matrix = [0, 1, 2].map(|i| [0, 1, 2].map(|j| of(i, j)));
        let (found, columns) = eigen(matrix);
        for k in 0..3 {
            let value = values.iter().find(|value| (*value - found[k]).abs() < 1e-4);
            assert!(value.is_some(), "{found:?}");
            for (i, row) in matrix.iter().enumerate() {
                let product: f64 = (0..3).map(|j| row[j] * columns[j][k]).sum();
                assert!((product - found[k] * columns[i][k]).abs() < 1e-12);
            }
        }
    }

    /// Grey pictures vary along grey: all three samples get the same, whose deviation is a tenth of the variance's root
    /// along it.
    #[test]
    fn greys_stay_grey() {
        let rgb: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
        let mut sums = Sums::of(&Picture::from_rgb8(16, 16, rgb).unwrap());
        sums.add(&sums.clone());
        let components = Components::of(&sums);
        let draws: Vec<[f64; 3]> = (0..4000).map(|seed| components.draw(seed * 7919)).collect();
        for draw in &draws {
            assert!(draw.iter().all(|v| (v - draw[0]).abs() < 1e-9), "{draw:?}");
        }
        let variance = draws.iter().map(|draw| draw[0] * draw[0]).sum::<f64>() / 4000.0;
        // The variance of 0 to 1 is a twelfth, along grey three times that; the component is (1, 1, 1) / √3.
        let expected = 0.1 * 0.25 / 3f64.sqrt();
        assert!((variance.sqrt() / expected - 1.0).abs() < 0.06, "{} for {expected}", variance.sqrt());
    }
}
