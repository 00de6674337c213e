//! What the doctor (src/doctor.rs) asks of a pipeline and its planner.

use std::collections::BTreeSet;

use super::{Input, Pipeline, RunError, to_chw};
use crate::{
    doctor::Variant,
    kernels::Kernel,
    lower::Inference,
    network::Network,
    program::{Algorithms, Options, QUAD},
};

/// The kernels that compute `network` by `variant`; none where it does not fit WebGPU's default limits.
pub(crate) fn kernels(network: &Network, variant: Variant) -> BTreeSet<Kernel> {
    let Variant { style, algorithm, precision, batch } = variant;
    let algorithms: Algorithms = network.layers().iter().map(|l| (l.name.clone(), algorithm)).collect();
    let limit = wgpu::Limits::default().max_storage_buffer_binding_size / QUAD;
    let options = Options { style, batch, precision, algorithms: &algorithms, limit, top: 0 };
    let dispatches = Inference::lower(network, options).map(|inference| inference.program.dispatches);
    dispatches.unwrap_or_default().into_iter().map(|dispatch| dispatch.kernel).collect()
}

impl Pipeline {
    /// Fills the network's input by `input`, runs the network and reads the last layer, as [`Pipeline::run`] does.
    pub(crate) async fn run_from(&self, input: &Input) -> Result<Vec<f32>, RunError> {
        let last = self.network.layers().last().map(|l| l.name.as_str()).unwrap_or_default();
        let size = self.activation_bytes(last)?;
        let reading = self
            .submit(|encoder| {
                let activation = self.readback(size);
                input.encode(encoder);
                self.encode_layers(encoder, &[(last, &activation)])?;
                Ok(vec![activation])
            })
            .await?;
        let values: Vec<Vec<f32>> = self.read(reading).await?;
        Ok(to_chw(&values.concat(), self.network.output(), self.batch()))
    }
}
