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

/// Computes LPIPS of two pictures of `size` (rows and columns; samples from 0 to 1, CHW) and its gradient with respect to the
/// first one, in double precision.
#[cfg(test)]
pub(super) fn gradient(lpips: &Lpips, size: [usize; 2], a: &[f64], b: &[f64]) -> Result<(f64, Vec<f64>), CompareError> {
    let network = lpips.network.with_input(Shape::new(3, size[0], size[1]))?;
    let plane = size[0] * size[1];
    let [mean, std] = [lpips.preprocessing.mean, lpips.preprocessing.std].map(|of| of.map(f64::from));
    let input = |samples: &[f64]| -> Vec<f64> {
        samples.iter().enumerate().map(|(i, v)| (v - mean[i / plane]) / std[i / plane]).collect()
    };
    let (a, b) = (input(a), input(b));
    let trunk = lpips.weights.of_network(&network)?;
    let (f, g) = (reference::run(&network, &trunk, &a)?, reference::run(&network, &trunk, &b)?);
    let mut value = 0.0;
    let mut dy = vec![0.0; network.output().len()];
    for (index, layer) in network.layers().iter().enumerate().rev() {
        if let Some(compared) = lpips.compared.iter().position(|name| *name == layer.name) {
            let Shape { channels, height, width } = layer.output;
            let (positions, weights) = (height * width, Lpips::channel_weights(&lpips.weights, compared)?);
            for at in 0..positions {
                let of = |features: &[Vec<f64>]| -> Vec<f64> {
                    features[index].iter().skip(at).step_by(positions).copied().collect()
                };
                let (f, g) = (of(&f), of(&g));
                let length = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
                let (f_norm, g_norm) = (length(&f) + 1e-10, length(&g) + 1e-10);
                // The derivative by the normalised features, then by the features.
                let slope: Vec<f64> = (0..channels)
                    .map(|c| 2.0 * f64::from(weights[c]) * (f[c] / f_norm - g[c] / g_norm) / positions as f64)
                    .collect();
                value += (0..channels).map(|c| slope[c] * (f[c] / f_norm - g[c] / g_norm) / 2.0).sum::<f64>();
                let along: f64 = slope.iter().zip(&f).map(|(slope, f)| slope * f).sum();
                for c in 0..channels {
                    let turned = if length(&f) > 0.0 { f[c] / f_norm * along / length(&f) } else { 0.0 };
                    // Before the ReLU, as the gradient that comes from the layers after it is.
                    dy[c * positions + at] += if f[c] > 0.0 { (slope[c] - turned) / f_norm } else { 0.0 };
                }
            }
        }
        let before = index.checked_sub(1).map_or(&a, |before| &f[before]);
        dy = reference::backward(layer, &trunk, [before, &f[index]], &dy, None)?.x;
        // The gradient of a layer's input is after the activation function of the layer below.
        if let Some(below) = index.checked_sub(1)
            && lpips.compared.contains(&network.layers()[below].name.as_str())
        {
            dy.iter_mut().zip(&f[below]).for_each(|(dy, y)| *dy = if *y > 0.0 { *dy } else { 0.0 });
        }
    }
    dy.iter_mut().enumerate().for_each(|(i, dy)| *dy /= std[i / plane]);
    Ok((value, dy))
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
