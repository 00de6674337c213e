//! Pictures that a layer's channel answers to most: gradient ascent on the input (Erhan et al. 2009), with the picture moved at
//! random and gradients of several scales, so that shapes appear rather than noise (Olah et al. 2017, "Feature Visualization").

use super::{ExplainError, LayerGradient, check_channel, no_picture};
use crate::{
    gpu::Gpu,
    network::Network,
    picture::{ChannelOrder, Picture, Preprocessing},
    runtime::wait::Poller,
    shape::Shape,
    weights::{Weights, splitmix},
};

/// The farthest that the picture is moved before a step, in pixels.
const JITTER: f32 = 8.0;
/// Radii of the boxes by which the gradient is smoothed; the smoothed ones are added.
const RADII: [usize; 3] = [1, 4, 12];
/// A step's length: the root mean square of a pixel's change, in standard deviations of pictures.
const RATE: f32 = 0.06;
/// What remains of the picture's contrast after a step.
const DECAY: f32 = 0.995;
/// The amplitude of the first picture's noise.
const NOISE: f32 = 0.2;

/// Makes pictures that a channel of a layer, or a class, answers to most.
///
/// ```
/// # #[cfg(feature = "imagenet")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use alexnet_wgpu::{Gpu, GpuOptions, Model, Shape, explain::Dreamer};
///
/// let trunk = Model::imagenet_trunk()?;
/// let network = trunk.network.with_input(Shape::new(3, 64, 64))?;
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// let dreamer = Dreamer::new(&gpu, &network, &trunk.weights, &trunk.preprocessing, "conv2", 3)?;
/// let dream = dreamer.dream_blocking(16, 0, |_| ())?;
/// assert!(dream.after > 2.0 * dream.before);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "imagenet"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Dreamer {
    gradient: LayerGradient,
    preprocessing: Preprocessing,
    channel: usize,
}

/// A picture that a channel answers to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dream {
    /// The picture, of the size of the network's input.
    pub picture: Picture,
    /// The channel's mean output for the noise that it began with.
    pub before: f32,
    /// The channel's mean output for the picture.
    pub after: f32,
}

impl Dreamer {
    /// Loads a network up to `layer` onto `gpu`. `channel` is one of the layer's maps, or a class of a layer that is a vector;
    /// `preprocessing` is that of the network's pictures.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] when the network lacks the layer, the layer the channel, the input is no picture in colours, or the
    /// device cannot do it.
    pub fn new(
        gpu: &Gpu,
        network: &Network,
        weights: &Weights,
        preprocessing: &Preprocessing,
        layer: &str,
        channel: usize,
    ) -> Result<Self, ExplainError> {
        let is_colours = matches!(preprocessing.channels, ChannelOrder::Rgb | ChannelOrder::Bgr);
        if !is_colours || network.input().channels != 3 {
            return Err(ExplainError::Option {
                expected: "a network for pictures in colours".into(),
                found: format!("an input of {}", network.input()),
            });
        }
        check_channel(layer, network.layer(layer)?.output, channel)?;
        let gradient = LayerGradient::builder(gpu, network, weights).of(layer).build()?;
        Ok(Self { gradient, preprocessing: *preprocessing, channel })
    }

    /// Makes a picture in so many steps, and calls `done` with the number of those that are done. The same seed makes the same
    /// picture, on one adapter.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub async fn dream(&self, steps: usize, seed: u64, done: impl FnMut(usize)) -> Result<Dream, ExplainError> {
        self.dream_on(steps, seed, done, Poller::Thread).await
    }

    /// Blocking form of [`Dreamer::dream`].
    ///
    /// # Errors
    ///
    /// As [`Dreamer::dream`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn dream_blocking(&self, steps: usize, seed: u64, done: impl FnMut(usize)) -> Result<Dream, ExplainError> {
        pollster::block_on(self.dream_on(steps, seed, done, Poller::Caller))
    }

    async fn dream_on(
        &self,
        steps: usize,
        seed: u64,
        mut done: impl FnMut(usize),
        poller: Poller,
    ) -> Result<Dream, ExplainError> {
        let (shape, output) = (self.gradient.input(), self.gradient.output());
        let mut input = splitmix::uniform(seed, shape.len(), NOISE);
        let maps = output.height * output.width;
        let mut seeds = vec![0.0; output.len()];
        seeds[self.channel * maps..][..maps].fill(1.0 / maps as f32);
        let mean = |outputs: &[f32]| outputs[self.channel * maps..][..maps].iter().sum::<f32>() / maps as f32;
        let before = mean(&self.gradient.run_on(&input, None, poller).await?.output);
        for number in 0..steps {
            let by = jitter(seed, number);
            let moved = rolled(&input, shape, by);
            let gradient = self.gradient.run_on(&moved, Some(&seeds), poller).await?.gradient;
            let gradient = rolled(&gradient, shape, by.map(|by| -by));
            let step = scales(&gradient, shape);
            let size = size(&step);
            input.iter_mut().zip(step).for_each(|(v, step)| *v = DECAY * *v + RATE * step / size);
            self.clamp(&mut input);
            done(number + 1);
        }
        let after = mean(&self.gradient.run_on(&input, None, poller).await?.output);
        let picture = self.preprocessing.picture(&input, shape).ok_or_else(|| no_picture(shape))?;
        Ok(Dream { picture, before, after })
    }

    /// Keeps each channel within what a picture can be.
    fn clamp(&self, input: &mut [f32]) {
        let Preprocessing { scale, mean, std, .. } = self.preprocessing;
        let plane = input.len() / 3;
        for (c, plane) in input.chunks_exact_mut(plane).enumerate() {
            let [low, high] = [0.0, 255.0].map(|sample| (sample * scale - mean[c]) / std[c]);
            plane.iter_mut().for_each(|v| *v = v.clamp(low, high));
        }
    }
}

/// How far the picture is moved down and to the right before a step: two numbers of a stream, drawn when the step comes, since
/// there may be any number of them.
fn jitter(seed: u64, step: usize) -> [isize; 2] {
    // SplitMix64 adds this constant for each number.
    let drawn = (step as u64).wrapping_mul(2).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let draws = splitmix::uniform((seed ^ 1).wrapping_add(drawn), 2, JITTER + 0.49);
    [draws[0], draws[1]].map(|draw| draw.round() as isize)
}

/// Each plane, moved down and to the right; what leaves on one side comes back on the other.
fn rolled(chw: &[f32], shape: Shape, [down, right]: [isize; 2]) -> Vec<f32> {
    let Shape { height, width, .. } = shape;
    let wrap = |at: usize, by: isize, side: usize| (at as isize - by).rem_euclid(side as isize) as usize;
    let mut out = Vec::with_capacity(chw.len());
    for plane in chw.chunks_exact(height * width) {
        for y in 0..height {
            let row = &plane[wrap(y, down, height) * width..][..width];
            out.extend((0..width).map(|x| row[wrap(x, right, width)]));
        }
    }
    out
}

/// The root mean square, above zero.
fn size(values: &[f32]) -> f32 {
    (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt().max(f32::MIN_POSITIVE)
}

/// The gradient and its smoothed forms, each of the same size: the smooth ones would vanish beside it otherwise.
fn scales(gradient: &[f32], shape: Shape) -> Vec<f32> {
    let mut sum = vec![0.0; gradient.len()];
    let mut smooth = gradient.to_vec();
    for radius in [0].into_iter().chain(RADII) {
        if radius > 0 {
            smooth = blurred(&smooth, shape, radius);
        }
        let size = size(&smooth);
        sum.iter_mut().zip(&smooth).for_each(|(sum, v)| *sum += v / size);
    }
    sum
}

/// Each plane, averaged over a square of 2 · `radius` + 1 pixels a side, which is cut at the borders.
fn blurred(chw: &[f32], shape: Shape, radius: usize) -> Vec<f32> {
    let Shape { height, width, .. } = shape;
    let line = |values: &[f32]| -> Vec<f32> {
        let mut sums = vec![0.0f64];
        values.iter().for_each(|&v| sums.push(sums[sums.len() - 1] + f64::from(v)));
        let mean = |at: usize| {
            let (first, end) = (at.saturating_sub(radius), (at + radius + 1).min(values.len()));
            ((sums[end] - sums[first]) / (end - first) as f64) as f32
        };
        (0..values.len()).map(mean).collect()
    };
    let mut out = Vec::with_capacity(chw.len());
    for plane in chw.chunks_exact(height * width) {
        let mut rows: Vec<f32> = plane.chunks_exact(width).flat_map(line).collect();
        for x in 0..width {
            let column: Vec<f32> = rows.iter().skip(x).step_by(width).copied().collect();
            rows.iter_mut().skip(x).step_by(width).zip(line(&column)).for_each(|(v, smooth)| *v = smooth);
        }
        out.extend(rows);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_those_of_one_stream() {
        let stream = splitmix::uniform(7 ^ 1, 200, JITTER + 0.49);
        let moves: Vec<isize> = (0..100).flat_map(|step| jitter(7, step)).collect();
        assert!(moves.iter().zip(&stream).all(|(&by, draw)| by == draw.round() as isize && by.abs() <= 8), "{moves:?}");
        assert!(jitter(7, usize::MAX).iter().all(|by| by.abs() <= 8));
    }

    #[test]
    fn what_is_moved_comes_back() {
        let shape = Shape::new(2, 3, 4);
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let moved = rolled(&values, shape, [1, -2]);
        assert_eq!(moved[..4], [10.0, 11.0, 8.0, 9.0]);
        assert_eq!(rolled(&moved, shape, [-1, 2]), values);
    }

    #[test]
    fn a_blur_is_a_mean() {
        let shape = Shape::new(1, 3, 3);
        let mut values = vec![0.0; 9];
        values[4] = 36.0;
        assert_eq!(blurred(&values, shape, 1), [9.0, 6.0, 9.0, 6.0, 4.0, 6.0, 9.0, 6.0, 9.0]);
    }
}
