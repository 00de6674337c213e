//! Looking inside a network: which pixels its answer rests on.
//!
//! An [`Explainer`] makes a heat map of a class by one of several [`Method`]s. A [`LayerGradient`] is what most of them rest on:
//! the gradient of any layer's output with respect to the input or an earlier layer. A [`Projector`] shows what a channel saw
//! in a picture, and a [`Dreamer`] makes the picture that it answers to most.

mod dream;
mod gradient;
mod heat;
pub mod occlusion;
mod program;
mod projection;
#[cfg(test)]
mod tests;

pub use dream::{Dream, Dreamer};
pub use gradient::{GradientRun, LayerGradient, LayerGradientBuilder};
pub use heat::Heat;
#[cfg(all(test, feature = "doctor"))]
pub(crate) use program::{GradientOptions, GradientProgram};
pub use projection::{Projection, Projector};

pub use crate::activation::BackwardRule;
use crate::{
    gpu::Gpu,
    layers::Op,
    network::{Network, NetworkError},
    program::MAX_BATCH,
    runtime::{PipelineError, RunError, wait::Poller},
    shape::Shape,
    weights::Weights,
};

/// Images that are computed at once where a method needs several.
const BATCH: usize = 8;

/// How a heat map is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Grad-CAM (Selvaraju et al. 2017): a layer's maps, each weighted with the mean of its gradient; what is below zero is
    /// left out.
    GradCam {
        /// The layer; by default the last convolution.
        layer: Option<String>,
    },
    /// The gradient's largest magnitude among a pixel's channels (Simonyan et al. 2013).
    Saliency,
    /// The same with [`BackwardRule::Guided`].
    Guided,
    /// The same with [`BackwardRule::Deconvnet`].
    Deconvnet,
    /// Integrated gradients (Sundararajan et al. 2017): the input times the mean of the gradients on the way from zero, which
    /// is the mean colour, to the input. The sum of all pixels is how much higher the class's score is.
    Integrated {
        /// The number of gradients. 32 are usually enough.
        steps: usize,
    },
    /// How far the class's score falls when a patch around the pixel is covered ([`occlusion`]).
    Occlusion,
}

/// Explains a network's answers on a device.
///
/// ```
/// use alexnet_wgpu::{
///     Gpu, GpuOptions, Model, Picture,
///     explain::{Explainer, Method},
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// let model = Model::embedded()?;
/// let explainer = Explainer::new(&gpu, &model.network, &model.weights, Method::GradCam { layer: None })?;
/// let input = model.preprocessing.apply(&Picture::open("examples/pictures/ankle-boot.png")?)?;
/// let class = model.labels.iter().position(|label| label == "Ankle boot").unwrap_or_default();
/// let explanation = explainer.explain_blocking(&input, class)?;
/// assert_eq!(explanation.heat.width, model.network.input().width);
/// assert!(explanation.heat.largest() > 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Explainer {
    method: Method,
    gradient: LayerGradient,
}

/// Why a network answers with a class.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The class's score: the network's output before a softmax, and before the last layer's activation function.
    pub score: f32,
    /// The pixels on which it rests, at the size of the network's input.
    pub heat: Heat,
}

/// A network or method that cannot be explained, or a device that did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// An option is out of its range.
    #[error("expected {expected}, found {found}")]
    Option {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The network lacks a layer.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The device cannot compute the gradient.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The device did not finish.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Explainer {
    /// Loads a network that ends in a vector of classes onto `gpu`.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] when the network does not end in a vector, lacks the method's layer, or the device cannot do it.
    pub fn new(gpu: &Gpu, network: &Network, weights: &Weights, method: Method) -> Result<Self, ExplainError> {
        let output = network.output();
        if output != Shape::vector(output.channels) {
            return Err(ExplainError::Option {
                expected: "a network that ends in a vector of classes".into(),
                found: format!("an output of {output}"),
            });
        }
        let builder = LayerGradient::builder(gpu, network, weights);
        let builder = match &method {
            Method::GradCam { layer } => builder.by(match layer {
                Some(layer) => maps(network, layer)?,
                None => last_maps(network)?,
            }),
            Method::Saliency => builder,
            Method::Guided => builder.rule(BackwardRule::Guided),
            Method::Deconvnet => builder.rule(BackwardRule::Deconvnet),
            Method::Integrated { steps } if !(1..=MAX_BATCH).contains(steps) => {
                return Err(ExplainError::Option {
                    expected: format!("1 to {MAX_BATCH} steps"),
                    found: steps.to_string(),
                });
            }
            Method::Integrated { steps } => builder.batch(BATCH.min(*steps)),
            Method::Occlusion => builder.batch(BATCH),
        };
        Ok(Self { gradient: builder.build()?, method })
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.gradient.output().len()
    }

    /// Computes the scores of all classes for a preprocessed image (CHW), before a softmax.
    ///
    /// # Errors
    ///
    /// As [`LayerGradient::run`].
    pub async fn scores(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        self.gradient.outputs(input).await
    }

    /// Blocking form of [`Explainer::scores`].
    ///
    /// # Errors
    ///
    /// As [`LayerGradient::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn scores_blocking(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        self.gradient.outputs_blocking(input)
    }

    /// Explains a class for a preprocessed image (CHW).
    ///
    /// # Errors
    ///
    /// [`ExplainError::Option`] for a class that the network does not have, [`RunError::Input`] for an input of another length,
    /// and errors of the device.
    pub async fn explain(&self, input: &[f32], class: usize) -> Result<Explanation, ExplainError> {
        self.explain_on(input, class, Poller::Thread).await
    }

    /// Blocking form of [`Explainer::explain`].
    ///
    /// # Errors
    ///
    /// As [`Explainer::explain`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn explain_blocking(&self, input: &[f32], class: usize) -> Result<Explanation, ExplainError> {
        pollster::block_on(self.explain_on(input, class, Poller::Caller))
    }

    async fn explain_on(&self, input: &[f32], class: usize, poller: Poller) -> Result<Explanation, ExplainError> {
        let shape = self.gradient.input();
        if input.len() != shape.len() {
            return Err(RunError::Input { expected: shape.len(), found: input.len() }.into());
        }
        if class >= self.classes() {
            return Err(ExplainError::Option {
                expected: format!("a class below {}", self.classes()),
                found: class.to_string(),
            });
        }
        match self.method {
            Method::GradCam { .. } => self.grad_cam(input, class, poller).await,
            Method::Saliency | Method::Guided | Method::Deconvnet => self.saliency(input, class, poller).await,
            Method::Integrated { steps } => self.integrated(input, class, steps, poller).await,
            Method::Occlusion => self.occlusion(input, class, poller).await,
        }
    }

    /// The gradients of a class for one or more images.
    async fn run(&self, inputs: &[f32], class: usize, poller: Poller) -> Result<GradientRun, RunError> {
        let images = inputs.len() / self.gradient.input().len();
        let mut seeds = vec![0.0; images * self.classes()];
        seeds.iter_mut().skip(class).step_by(self.classes()).for_each(|seed| *seed = 1.0);
        self.gradient.run_on(inputs, Some(&seeds), poller).await
    }

    async fn grad_cam(&self, input: &[f32], class: usize, poller: Poller) -> Result<Explanation, ExplainError> {
        let run = self.run(input, class, poller).await?;
        let Shape { height, width, .. } = self.gradient.shape();
        let mut values = vec![0.0; height * width];
        let planes = |values| <[f32]>::chunks_exact(values, height * width);
        for (map, gradient) in planes(&run.at).zip(planes(&run.gradient)) {
            let weight = gradient.iter().sum::<f32>() / gradient.len() as f32;
            values.iter_mut().zip(map).for_each(|(sum, v)| *sum += weight * v);
        }
        values.iter_mut().for_each(|value| *value = value.max(0.0));
        let Shape { height: rows, width: columns, .. } = self.gradient.input();
        let heat = Heat { height, width, values }.resized(rows, columns);
        Ok(Explanation { score: run.output[class], heat })
    }

    async fn saliency(&self, input: &[f32], class: usize, poller: Poller) -> Result<Explanation, ExplainError> {
        let run = self.run(input, class, poller).await?;
        let heat = self.heat(&run.gradient, |largest, v| largest.max(v.abs()));
        Ok(Explanation { score: run.output[class], heat })
    }

    async fn integrated(
        &self,
        input: &[f32],
        class: usize,
        steps: usize,
        poller: Poller,
    ) -> Result<Explanation, ExplainError> {
        let mut sums = vec![0.0; input.len()];
        let all: Vec<usize> = (0..steps).collect();
        for steps_at_once in all.chunks(self.gradient.batch()) {
            let share = |step: &usize| (*step as f32 + 0.5) / steps as f32;
            let inputs: Vec<f32> =
                steps_at_once.iter().flat_map(|step| input.iter().map(move |v| v * share(step))).collect();
            let run = self.run(&inputs, class, poller).await?;
            for gradient in run.gradient.chunks_exact(input.len()) {
                sums.iter_mut().zip(gradient).for_each(|(sum, v)| *sum += v);
            }
        }
        sums.iter_mut().zip(input).for_each(|(sum, v)| *sum *= v / steps as f32);
        let score = self.gradient.run_on(input, None, poller).await?.output[class];
        Ok(Explanation { score, heat: self.heat(&sums, |sum, v| sum + v) })
    }

    async fn occlusion(&self, input: &[f32], class: usize, poller: Poller) -> Result<Explanation, ExplainError> {
        let shape = self.gradient.input();
        let score = self.gradient.run_on(input, None, poller).await?.output[class];
        let mut values = Vec::with_capacity(occlusion::PATCHES);
        for first in (0..occlusion::PATCHES).step_by(self.gradient.batch()) {
            let inputs = occlusion::inputs(input, shape, first, self.gradient.batch());
            let run = self.gradient.run_on(&inputs, None, poller).await?;
            values.extend(run.output.chunks_exact(self.classes()).map(|scores| score - scores[class]));
        }
        values.truncate(occlusion::PATCHES);
        let heat = Heat { height: occlusion::GRID, width: occlusion::GRID, values };
        Ok(Explanation { score, heat: heat.resized(shape.height, shape.width) })
    }

    /// One number for each pixel of the input's channels.
    fn heat(&self, chw: &[f32], fold: impl Fn(f32, f32) -> f32) -> Heat {
        let Shape { height, width, .. } = self.gradient.input();
        let mut values = vec![0.0; height * width];
        for plane in chw.chunks_exact(height * width) {
            values.iter_mut().zip(plane).for_each(|(value, &v)| *value = fold(*value, v));
        }
        Heat { height, width, values }
    }
}

/// Checks that a layer's output has such a channel.
fn check_channel(layer: &str, output: Shape, channel: usize) -> Result<(), ExplainError> {
    if channel < output.channels {
        return Ok(());
    }
    Err(ExplainError::Option {
        expected: format!("a channel of `{layer}`, 0 to {}", output.channels - 1),
        found: channel.to_string(),
    })
}

/// The error for a network whose input is no picture.
fn no_picture(input: Shape) -> ExplainError {
    ExplainError::Option { expected: "a network for pictures".into(), found: format!("an input of {input}") }
}

/// The name of a layer whose output is maps.
fn maps<'a>(network: &Network, layer: &'a str) -> Result<&'a str, ExplainError> {
    let output = network.layer(layer)?.output;
    match output.height * output.width {
        1 => Err(ExplainError::Option {
            expected: "a layer of maps".into(),
            found: format!("`{layer}`, a vector: name a convolution or a pooling layer"),
        }),
        _ => Ok(layer),
    }
}

/// The last convolution with maps, or else the last layer with maps.
fn last_maps(network: &Network) -> Result<&str, ExplainError> {
    let maps = || network.layers().iter().rev().filter(|layer| layer.output.height * layer.output.width > 1);
    let found = maps().find(|layer| matches!(layer.op, Op::Conv(_))).or_else(|| maps().next());
    let missing = || ExplainError::Option { expected: "a layer of maps".into(), found: "none in the network".into() };
    Ok(&found.ok_or_else(missing)?.name)
}
