//! What a channel saw in a picture: its strongest activation, projected back to pixels by a deconvolutional network (Zeiler and
//! Fergus 2014, "Visualizing and Understanding Convolutional Networks").

use std::ops::Range;

use super::{ExplainError, LayerGradient, check_channel, maps, no_picture};
use crate::{
    activation::BackwardRule,
    gpu::Gpu,
    network::Network,
    picture::{Picture, Preprocessing},
    runtime::{RunError, wait::Poller},
    shape::Shape,
    weights::Weights,
};

/// Projects a layer's channels back to pixels.
///
/// The way back is that of gradients with [`BackwardRule::Deconvnet`]: through max pooling to the number that was taken, through
/// convolutions by their transposed weights, and through ReLU by the sign of what comes back. Local response normalisation, which
/// the paper's networks had none of on the way back, passes its derivative.
///
/// ```
/// use alexnet_wgpu::{Gpu, GpuOptions, Model, Picture, explain::Projector};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// let model = Model::embedded()?;
/// let projector = Projector::new(&gpu, &model.network, &model.weights, &model.preprocessing, "conv2")?;
/// let input = model.preprocessing.apply(&Picture::open("examples/pictures/bag.png")?)?;
/// // The channel that answers most; `Some(7)` would be the eighth.
/// let projection = projector.project_blocking(&input, None)?;
/// assert!(projection.activation > 0.0);
/// // It rests on the part of the picture that an output of conv2 sees.
/// assert!(projection.rows.len() <= 51 && projection.columns.len() <= 51);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Projector {
    gradient: LayerGradient,
    preprocessing: Preprocessing,
    layer: String,
}

/// The strongest activation of a channel, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Projection {
    /// The channel.
    pub channel: usize,
    /// Its strongest activation.
    pub activation: f32,
    /// The row and column of this activation in the channel's map.
    pub position: [usize; 2],
    /// The projection, in the form of the network's input (CHW).
    pub values: Vec<f32>,
    /// The projection as a picture of the size of the network's input, with grey for zero.
    pub picture: Picture,
    /// The rows of the input that it reaches; empty where nothing came back.
    pub rows: Range<usize>,
    /// The columns of the input that it reaches.
    pub columns: Range<usize>,
}

impl Projector {
    /// Loads a network up to `layer`, whose output is maps, onto `gpu`. `preprocessing` is that of the network's pictures.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] when the network lacks the layer, its output is a vector, the input is no picture, or the device cannot
    /// do it.
    pub fn new(
        gpu: &Gpu,
        network: &Network,
        weights: &Weights,
        preprocessing: &Preprocessing,
        layer: &str,
    ) -> Result<Self, ExplainError> {
        maps(network, layer)?;
        let input = network.input();
        if preprocessing.picture(&vec![0.0; input.len()], input).is_none() {
            return Err(no_picture(input));
        }
        let gradient = LayerGradient::builder(gpu, network, weights).of(layer).rule(BackwardRule::Deconvnet).build()?;
        Ok(Self { gradient, preprocessing: *preprocessing, layer: layer.into() })
    }

    /// Returns the number of the layer's channels.
    pub fn channels(&self) -> usize {
        self.gradient.output().channels
    }

    /// Projects the strongest activation of a channel for a preprocessed image (CHW); of the channel with the strongest one where
    /// `channel` is `None`.
    ///
    /// # Errors
    ///
    /// [`ExplainError::Option`] for a channel that the layer does not have, [`RunError::Input`] for an input of another length,
    /// and errors of the device.
    pub async fn project(&self, input: &[f32], channel: Option<usize>) -> Result<Projection, ExplainError> {
        self.project_on(input, channel, Poller::Thread).await
    }

    /// Blocking form of [`Projector::project`].
    ///
    /// # Errors
    ///
    /// As [`Projector::project`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn project_blocking(&self, input: &[f32], channel: Option<usize>) -> Result<Projection, ExplainError> {
        pollster::block_on(self.project_on(input, channel, Poller::Caller))
    }

    async fn project_on(
        &self,
        input: &[f32],
        channel: Option<usize>,
        poller: Poller,
    ) -> Result<Projection, ExplainError> {
        let (shape, output) = (self.gradient.input(), self.gradient.output());
        if input.len() != shape.len() {
            return Err(RunError::Input { expected: shape.len(), found: input.len() }.into());
        }
        channel.map_or(Ok(()), |channel| check_channel(&self.layer, output, channel))?;
        let activations = self.gradient.run_on(input, None, poller).await?.output;
        let map = output.height * output.width;
        let searched = channel.map_or(0..activations.len(), |channel| channel * map..(channel + 1) * map);
        // The first of equal ones.
        let strongest =
            searched.reduce(|best, at| if activations[at] > activations[best] { at } else { best }).unwrap_or_default();
        let activation = activations[strongest];
        let mut seeds = vec![0.0; output.len()];
        seeds[strongest] = activation;
        let values = self.gradient.run_on(input, Some(&seeds), poller).await?.gradient;
        let picture = self.picture(&values).ok_or_else(|| no_picture(shape))?;
        let (rows, columns) = reach(&values, shape);
        let position = [strongest % map / output.width, strongest % output.width];
        Ok(Projection { channel: strongest / map, activation, position, values, picture, rows, columns })
    }

    /// The values as samples around the middle of 0 to 255, which is zero.
    fn picture(&self, values: &[f32]) -> Option<Picture> {
        let shape = self.gradient.input();
        let largest = values.iter().fold(f32::MIN_POSITIVE, |largest, v| largest.max(v.abs()));
        let Preprocessing { scale, mean, std, .. } = self.preprocessing;
        let mut input = values.to_vec();
        for (c, plane) in input.chunks_exact_mut(shape.height * shape.width).enumerate() {
            let (mean, std) = (*mean.get(c)?, *std.get(c)?);
            plane.iter_mut().for_each(|v| *v = (127.5 * (1.0 + *v / largest) * scale - mean) / std);
        }
        self.preprocessing.picture(&input, shape)
    }
}

/// The rows and columns where some channel is not zero.
fn reach(chw: &[f32], shape: Shape) -> (Range<usize>, Range<usize>) {
    let (mut rows, mut columns) = (shape.height..0, shape.width..0);
    for (at, _) in chw.iter().enumerate().filter(|(_, v)| **v != 0.0) {
        let (row, column) = (at / shape.width % shape.height, at % shape.width);
        rows = rows.start.min(row)..rows.end.max(row + 1);
        columns = columns.start.min(column)..columns.end.max(column + 1);
    }
    if rows.is_empty() { (0..0, 0..0) } else { (rows, columns) }
}
