//! Units that have stopped learning.

use super::{TrainError, Trainer, without_softmax};
use crate::{
    activation::Activation,
    runtime::{readback, to_chw, wait::Poller},
};

/// How many channels of a layer with a ReLU are dead: zero at every position, for every image.
///
/// Their parameters have no gradient for these images, so they stay as they are (Maas, Hannun, Ng 2013, "Rectifier
/// nonlinearities improve neural network acoustic models", section 2). A learning rate that is too large makes many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadChannels {
    /// The layer's name.
    pub layer: String,
    /// The dead channels; of a fully connected layer, its outputs.
    pub dead: usize,
    /// All its channels.
    pub channels: usize,
}

impl Trainer {
    /// Counts the dead channels of each layer with a ReLU, with the parameters as they are and without dropout. `inputs` are
    /// as for [`Trainer::step`], of any number.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`].
    pub fn dead_channels(&mut self, inputs: &[f32]) -> Result<Vec<DeadChannels>, TrainError> {
        let len = self.network.input().len();
        let classes = vec![0; inputs.len() / len.max(1)];
        self.check(inputs, &classes)?;
        let layers: Vec<_> = without_softmax(&self.network).iter().enumerate().collect();
        let layers: Vec<_> =
            layers.into_iter().filter(|(_, layer)| layer.op.activation() == Activation::Relu).collect();
        let mut alive: Vec<Vec<bool>> = layers.iter().map(|(_, layer)| vec![false; layer.output.channels]).collect();
        for (pass, classes) in classes.chunks(self.at_once).enumerate() {
            let first = pass * self.at_once;
            self.write(&inputs[first * len..][..classes.len() * len], classes, 0.0);
            self.write_step(first, 0.0, false);
            let outputs = pollster::block_on(self.outputs(layers.iter().map(|&(index, _)| index)))?;
            for ((output, (_, layer)), alive) in outputs.iter().zip(&layers).zip(&mut alive) {
                let positions = layer.output.height * layer.output.width;
                let values = to_chw(output, layer.output, classes.len());
                for (map, values) in values.chunks_exact(positions).enumerate() {
                    alive[map % layer.output.channels] |= values.iter().any(|value| *value != 0.0);
                }
            }
        }
        let counted = layers.iter().zip(alive).map(|((_, layer), alive)| DeadChannels {
            layer: layer.name.clone(),
            dead: alive.iter().filter(|alive| !**alive).count(),
            channels: alive.len(),
        });
        Ok(counted.collect())
    }

    /// Runs the forward pass, and reads the outputs of these layers as they are laid out on the device.
    async fn outputs(&self, layers: impl Iterator<Item = usize>) -> Result<Vec<Vec<f32>>, TrainError> {
        let reading = readback::submit(&self.gpu, |encoder| {
            let mut done = 0;
            let copy = |index: usize| {
                let (end, array) = self.program.outputs[index];
                self.executable.encode(encoder, done..end, None);
                done = done.max(end);
                readback::copy(&self.gpu, encoder, (&self.executable, &self.program.program), array)
            };
            Ok(layers.map(copy).collect())
        });
        Ok(readback::read(&self.gpu, reading.await?, Poller::Caller).await?)
    }
}
