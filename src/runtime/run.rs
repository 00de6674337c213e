//! Runs that read their results back.

use wgpu::{Buffer, CommandEncoder};

use super::{Input, Pipeline, RunError, readback, wait::Poller};
use crate::shape::Shape;

/// One of a network's largest outputs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct TopEntry {
    /// Index of the class.
    pub index: u32,
    /// The output of this class: a probability where the network ends in a softmax.
    pub value: f32,
}
impl Pipeline {
    /// Runs the network and reads the last layer: `batch` outputs, CHW each. As [`Pipeline::encode`] does, it leaves
    /// the largest outputs and the kept layers on the device.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the input has the wrong length, memory cannot be allocated or the device is lost.
    pub async fn run(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        self.run_last(input, Poller::Thread).await
    }

    pub(super) async fn run_last(&self, input: &[f32], poller: Poller) -> Result<Vec<f32>, RunError> {
        let last = self.network.layers().last().map(|l| l.name.as_str()).unwrap_or_default();
        let mut activations = self.read_layers(input, &[last], poller).await?;
        Ok(activations.pop().unwrap_or_default())
    }

    /// Runs the network and reads the activations of the layers called `names`: for each name, `batch` activations in
    /// CHW order.
    ///
    /// # Errors
    ///
    /// [`RunError`] when a name is unknown, the input has the wrong length, memory cannot be allocated or the device is
    /// lost.
    pub async fn run_layers(&self, input: &[f32], names: &[&str]) -> Result<Vec<Vec<f32>>, RunError> {
        self.read_layers(input, names, Poller::Thread).await
    }

    pub(super) async fn read_layers(
        &self,
        input: &[f32],
        names: &[&str],
        poller: Poller,
    ) -> Result<Vec<Vec<f32>>, RunError> {
        let input = self.lay_out(input)?;
        let reading = readback::submit(&self.gpu, |encoder| {
            let mut reads = Vec::new();
            for name in names {
                reads.push(readback::buffer(&self.gpu, self.activation_bytes(name)?));
            }
            let layers: Vec<(&str, &Buffer)> = names.iter().copied().zip(&reads).collect();
            let copies = self.copies(&layers)?;
            self.encode_input(encoder, &input)?;
            self.begin_run();
            self.encode_copies(encoder, 0..self.inference.forward, copies);
            self.encode_top(encoder);
            Ok(reads)
        })
        .await?;
        let mut activations = Vec::new();
        for (name, values) in names.iter().zip(readback::read(&self.gpu, reading, poller).await?) {
            activations.push(to_chw(&values, self.network.layer(name)?.output, self.batch()));
        }
        Ok(activations)
    }

    /// Runs the network and reads the largest outputs of each image, largest first.
    ///
    /// # Errors
    ///
    /// [`RunError::NotAVector`] when the last layer's output is not a vector, [`RunError::NotANumber`] when the outputs
    /// are NaN; otherwise as [`Pipeline::run`].
    pub async fn run_top(&self, input: &[f32]) -> Result<Vec<Vec<TopEntry>>, RunError> {
        self.run_top_on(Some(input), Poller::Thread).await
    }

    /// Runs the network as [`Pipeline::run_top`] does, on the input that was written last.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    pub async fn run_top_again(&self) -> Result<Vec<Vec<TopEntry>>, RunError> {
        self.run_top_on(None, Poller::Thread).await
    }

    pub(super) async fn run_top_on(
        &self,
        input: Option<&[f32]>,
        poller: Poller,
    ) -> Result<Vec<Vec<TopEntry>>, RunError> {
        let input = input.map(|input| self.lay_out(input)).transpose()?;
        let Some((entries, k)) = self.top() else {
            return Err(RunError::NotAVector { output: self.network.output() });
        };
        let reading = readback::submit(&self.gpu, |encoder| {
            if let Some(input) = &input {
                self.encode_input(encoder, input)?;
            }
            self.encode(encoder);
            let buffer = readback::buffer(&self.gpu, entries.size());
            encoder.copy_buffer_to_buffer(entries, 0, &buffer, 0, entries.size());
            Ok(vec![buffer])
        })
        .await?;
        pictures(readback::read(&self.gpu, reading, poller).await?.concat(), k)
    }

    /// Fills the network's input from `input`, runs the network and reads the last layer, as [`Pipeline::run`] does.
    pub(crate) async fn run_from(&self, input: &Input) -> Result<Vec<f32>, RunError> {
        let last = self.network.layers().last().map(|l| l.name.as_str()).unwrap_or_default();
        let size = self.activation_bytes(last)?;
        let reading = readback::submit(&self.gpu, |encoder| {
            let activation = readback::buffer(&self.gpu, size);
            input.encode(encoder);
            self.encode_layers(encoder, &[(last, &activation)])?;
            Ok(vec![activation])
        })
        .await?;
        let values: Vec<Vec<f32>> = readback::read(&self.gpu, reading, Poller::Thread).await?;
        Ok(to_chw(&values.concat(), self.network.output(), self.batch()))
    }

    /// Records a write of the input, which has the device's layout already.
    pub(super) fn encode_input(&self, encoder: &mut CommandEncoder, laid_out: &[f32]) -> Result<(), RunError> {
        let staged = self.input().copy_from(self.gpu.device(), encoder, laid_out);
        staged.ok_or_else(|| RunError::Device("there is no buffer for the input".into()))
    }
}

/// Splits the entries into `k` per image.
pub(super) fn pictures(entries: Vec<TopEntry>, k: usize) -> Result<Vec<Vec<TopEntry>>, RunError> {
    if entries.iter().any(|e| e.index == u32::MAX) {
        return Err(RunError::NotANumber);
    }
    Ok(entries.chunks_exact(k).map(<[TopEntry]>::to_vec).collect())
}
/// Converts channels-last quads to CHW.
pub(crate) fn to_chw(quads: &[f32], shape: Shape, batch: usize) -> Vec<f32> {
    let padded = shape.channels.div_ceil(4) * 4;
    let pixels = shape.height * shape.width;
    let mut out = Vec::with_capacity(shape.len() * batch);
    for picture in quads.chunks_exact(padded * pixels).take(batch) {
        for c in 0..shape.channels {
            out.extend(picture.iter().skip(c).step_by(padded));
        }
    }
    out
}
