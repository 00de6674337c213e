//! LPIPS in plain Rust and f64: the tests' oracle.

use super::{CompareError, Lpips, size_of_both};
use crate::{picture::Picture, reference, shape::Shape};

/// The result of [`compare_reference`](crate::compare_reference).
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceComparison {
    /// LPIPS.
    pub lpips: f64,
    /// The mean distance after each layer.
    pub layers: [f64; 5],
    /// The map of distances, row by row.
    pub map: Vec<f64>,
}

/// Computes LPIPS in double precision. Takes seconds for small pictures; for checks.
///
/// # Errors
///
/// [`CompareError`] when the pictures differ in size or are too small.
pub fn reference(lpips: &Lpips, a: &Picture, b: &Picture) -> Result<ReferenceComparison, CompareError> {
    let [height, width] = size_of_both([a.width(), a.height()], [b.width(), b.height()])?;
    let network = lpips.network.with_input(Shape::new(3, height, width))?;
    let features = |picture: &Picture| {
        let mut input = Vec::with_capacity(3 * height * width);
        for channel in 0..3 {
            let [mean, std] = [lpips.preprocessing.mean, lpips.preprocessing.std].map(|v| f64::from(v[channel]));
            let samples = picture.rgb().iter().skip(channel).step_by(3);
            input.extend(samples.map(|&sample| (f64::from(sample) / 255.0 - mean) / std));
        }
        let mut features: Vec<Vec<f64>> = vec![];
        for layer in network.layers() {
            let x = features.last().unwrap_or(&input);
            features.push(reference::run_layer(layer, &lpips.weights, x)?);
        }
        Ok::<_, CompareError>(features)
    };
    let (f, g) = (features(a)?, features(b)?);
    let mut layers = [0.0; 5];
    let mut map = vec![0.0; height * width];
    for (compared, name) in lpips.compared.iter().enumerate() {
        let index = network.position(name)?;
        let shape = network.layers()[index].output;
        let positions = shape.height * shape.width;
        let weights = Lpips::channel_weights(&lpips.weights, compared)?;
        let distance = |at: usize| {
            let channels =
                |features: &[f64]| -> Vec<f64> { features.iter().skip(at).step_by(positions).copied().collect() };
            let [f, g] = [channels(&f[index]), channels(&g[index])];
            let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt() + 1e-10;
            let (f_norm, g_norm) = (norm(&f), norm(&g));
            let pairs = f.iter().zip(&g).zip(&weights);
            pairs.map(|((f, g), &w)| f64::from(w) * (f / f_norm - g / g_norm).powi(2)).sum::<f64>()
        };
        let distances: Vec<f64> = (0..positions).map(distance).collect();
        layers[compared] = distances.iter().sum::<f64>() / positions as f64;
        for (i, value) in map.iter_mut().enumerate() {
            *value += bilinear(&distances, [shape.height, shape.width], [i / width, i % width], [height, width]);
        }
    }
    Ok(ReferenceComparison { lpips: layers.iter().sum(), layers, map })
}

/// The value at a pixel of a map that is resized from `from` to `to` rows and columns.
fn bilinear(map: &[f64], from: [usize; 2], pixel: [usize; 2], to: [usize; 2]) -> f64 {
    let axis = |axis: usize| {
        let at = ((pixel[axis] as f64 + 0.5) * from[axis] as f64 / to[axis] as f64 - 0.5).max(0.0);
        let low = (at as usize).min(from[axis] - 1);
        (low, (low + 1).min(from[axis] - 1), at - low as f64)
    };
    let ((top, bottom, y), (left, right, x)) = (axis(0), axis(1));
    let value = |row: usize, column: usize| map[row * from[1] + column];
    let line = |row| value(row, left) * (1.0 - x) + value(row, right) * x;
    line(top) * (1.0 - y) + line(bottom) * y
}
