//! Every layer again in plain Rust and f64: what tests and `doctor` hold the shaders against.
//!
//! Written to be read next to a textbook, not to be fast. Activations are CHW.

use crate::{
    network::{AdaptiveAvgPool, Conv, Layer, Linear, LocalResponseNorm, MaxPool, Network, Op, Shape},
    weights::{Weights, WeightsError},
};

/// Every layer's activation for one picture, in order.
///
/// # Errors
///
/// [`WeightsError`] when `weights` are not those of `network`.
///
/// # Panics
///
/// When `input` does not hold as many numbers as the network's input.
pub fn run(network: &Network, weights: &Weights, input: &[f64]) -> Result<Vec<Vec<f64>>, WeightsError> {
    weights.check(network)?;
    let mut activations: Vec<Vec<f64>> = Vec::with_capacity(network.layers().len());
    for layer in network.layers() {
        let x = activations.last().map_or(input, Vec::as_slice);
        let y = run_layer(layer, weights, x)?;
        activations.push(y);
    }
    Ok(activations)
}

/// One layer's activation.
///
/// # Errors
///
/// [`WeightsError::Missing`] when `weights` lack the layer's tensors.
///
/// # Panics
///
/// When `x` does not hold as many numbers as the layer's input.
pub fn run_layer(layer: &Layer, weights: &Weights, x: &[f64]) -> Result<Vec<f64>, WeightsError> {
    assert_eq!(x.len(), layer.input.len(), "numbers of the input of `{}`", layer.name);
    let tensor = |kind: &str| -> Result<Vec<f64>, WeightsError> {
        let tensor = weights.tensor(&format!("{}.{kind}", layer.name))?;
        Ok(tensor.to_f32().iter().map(|&v| f64::from(v)).collect())
    };
    Ok(match layer.op {
        Op::Conv(conv) => self::conv(&conv, layer.input, layer.output, x, &tensor("weight")?, &tensor("bias")?),
        Op::MaxPool(pool) => max_pool(&pool, layer.input, layer.output, x),
        Op::LocalResponseNorm(norm) => local_response_norm(&norm, layer.input, x),
        Op::AdaptiveAvgPool(pool) => adaptive_avg_pool(&pool, layer.input, x),
        Op::Linear(linear) => self::linear(&linear, x, &tensor("weight")?, &tensor("bias")?),
        Op::Dropout => x.to_vec(),
        Op::Softmax => softmax(x),
    })
}

/// The input positions `o·stride − before + 0..kernel` that exist, and the kernel position of the first.
fn span(o: usize, stride: usize, before: usize, kernel: usize, size: usize) -> (std::ops::Range<usize>, usize) {
    let start = (o * stride) as isize - before as isize;
    let first = start.max(0) as usize;
    let end = ((start + kernel as isize).max(0) as usize).min(size);
    (first.min(end)..end, ((first as isize - start) as usize).min(kernel))
}

fn conv(conv: &Conv, input: Shape, output: Shape, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let [kh, kw] = conv.window.kernel;
    let [sh, sw] = conv.window.stride;
    let padding = conv.window.padding;
    let (in_group, out_group) = (input.channels / conv.groups, output.channels / conv.groups);
    let mut y = Vec::with_capacity(output.len());
    for o in 0..output.channels {
        let group = o / out_group;
        for oy in 0..output.height {
            let (rows, ky0) = span(oy, sh, padding.top, kh, input.height);
            for ox in 0..output.width {
                let (columns, kx0) = span(ox, sw, padding.left, kw, input.width);
                let mut sum = bias[o];
                for i in 0..in_group {
                    let plane = (group * in_group + i) * input.height;
                    for (iy, ky) in rows.clone().zip(ky0..) {
                        let row = &x[(plane + iy) * input.width..][columns.clone()];
                        let filter = &weight[((o * in_group + i) * kh + ky) * kw + kx0..][..row.len()];
                        sum += row.iter().zip(filter).map(|(a, b)| a * b).sum::<f64>();
                    }
                }
                y.push(conv.activation.apply(sum));
            }
        }
    }
    y
}

fn max_pool(pool: &MaxPool, input: Shape, output: Shape, x: &[f64]) -> Vec<f64> {
    let Shape { height, width, .. } = input;
    let [kh, kw] = pool.window.kernel;
    let [sh, sw] = pool.window.stride;
    let padding = pool.window.padding;
    let mut y = Vec::with_capacity(output.len());
    for plane in x.chunks_exact(height * width) {
        for oy in 0..output.height {
            let (rows, _) = span(oy, sh, padding.top, kh, height);
            for ox in 0..output.width {
                let (columns, _) = span(ox, sw, padding.left, kw, width);
                let window = rows.clone().flat_map(|iy| &plane[iy * width..][columns.clone()]);
                y.push(window.copied().fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }
    y
}

fn local_response_norm(norm: &LocalResponseNorm, shape: Shape, x: &[f64]) -> Vec<f64> {
    let plane = shape.height * shape.width;
    let [before, after] = norm.reach();
    let mut y = Vec::with_capacity(x.len());
    for c in 0..shape.channels {
        let window = c.saturating_sub(before)..(c + after + 1).min(shape.channels);
        for p in 0..plane {
            let squares: f64 = window.clone().map(|j| x[j * plane + p].powi(2)).sum();
            let scale = f64::from(norm.k) + f64::from(norm.factor()) * squares;
            y.push(x[c * plane + p] * scale.powf(-f64::from(norm.beta)));
        }
    }
    y
}

fn adaptive_avg_pool(pool: &AdaptiveAvgPool, input: Shape, x: &[f64]) -> Vec<f64> {
    let Shape { channels, height, width } = input;
    let [out_h, out_w] = pool.output;
    let bounds = |o: usize, size: usize, out: usize| o * size / out..((o + 1) * size).div_ceil(out);
    let mut y = Vec::with_capacity(channels * out_h * out_w);
    for plane in x.chunks_exact(height * width) {
        for oy in 0..out_h {
            for ox in 0..out_w {
                let (rows, columns) = (bounds(oy, height, out_h), bounds(ox, width, out_w));
                let count = (rows.len() * columns.len()) as f64;
                let sum: f64 = rows.flat_map(|iy| &plane[iy * width..][columns.clone()]).sum();
                y.push(sum / count);
            }
        }
    }
    y
}

fn linear(linear: &Linear, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let sum = |(w, b): (&[f64], &f64)| b + w.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
    let row = |pair| linear.activation.apply(sum(pair));
    weight.chunks_exact(x.len()).zip(bias).map(row).collect()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = x.iter().map(|v| (v - max).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|v| v / sum).collect()
}

/// ‖a − b‖ / ‖b‖; the distance itself where b is zero.
pub fn relative_error(a: &[f32], b: &[f64]) -> f64 {
    let distance: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    if norm > 0.0 { (distance / norm).sqrt() } else { distance.sqrt() }
}
