//! The network that fine-tuning trains.

use crate::{
    layers::Linear,
    network::{Network, NetworkError},
    shape::Shape,
};

/// A classifier of features of shape `input`: fully connected layers with `hidden` outputs each (at most two: fc6 and fc7), ReLU and
/// dropout before each, then fc8 with an output for each class, and softmax. The names are AlexNet's.
///
/// ```
/// use alexnet_wgpu::{
///     Gpu, GpuOptions, Model, Pipeline,
///     train::{Init, Optimizer, Trainer, head, initial_weights},
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// // Two pictures of each of two classes: dark ones and bright ones.
/// let trunk = Model::imagenet_trunk()?;
/// let input = trunk.network.input().len();
/// let pictures: Vec<f32> = [-1.5, 1.5, -1.2, 1.2].iter().flat_map(|&level| vec![level; input]).collect();
/// let classes = [0, 1, 0, 1];
///
/// // Their features are computed once, and the head is trained on them.
/// let pipeline = Pipeline::builder(&gpu, &trunk.network, &trunk.weights).batch(4).build()?;
/// let features = pipeline.run_blocking(&pictures)?;
/// let head = head(trunk.network.output(), &[8], 2)?;
/// let weights = initial_weights(&head, Init::Torch, 1);
/// let mut trainer = Trainer::builder(&gpu, &head, &weights).batch(4).optimizer(Optimizer::ADAMW).build()?;
/// for _ in 0..20 {
///     trainer.step(&features, &classes, 1e-3)?;
/// }
/// assert_eq!(trainer.evaluate(&features, &classes)?.correct, 4);
///
/// // A model of both, for a `Classifier`, or to be saved.
/// let model = trunk.with_head(&head, &trainer.weights()?, vec!["dark".into(), "bright".into()])?;
/// # assert_eq!(model.network.output().len(), 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`NetworkError`] where a layer has no outputs or too many, or there are more than two hidden ones.
pub fn head(input: Shape, hidden: &[usize], classes: usize) -> Result<Network, NetworkError> {
    let mut builder = Network::builder("head", input).dropout("drop6");
    for (index, &outputs) in hidden.iter().enumerate() {
        // A third one has the name of the last, which is an error.
        let (layer, dropout) = (6 + index, 7 + index);
        builder = builder.linear(format!("fc{layer}"), Linear::new(outputs).relu()).dropout(format!("drop{dropout}"));
    }
    builder.linear("fc8", Linear::new(classes)).softmax("prob").build()
}
