//! How long each layer takes on the device.

use std::time::Duration;

use wgpu::{
    BufferUsages, CommandEncoder, ComputePassTimestampWrites, Features, QUERY_SIZE, QuerySetDescriptor, QueryType,
};

use super::{Input, Pipeline, RunError};

/// A layer's time on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// The layer's name.
    pub layer: String,
    /// Its kernel, in a few words; the first one where there are several.
    pub kernel: String,
    /// Milliseconds, for the whole batch.
    pub ms: f64,
}

impl Pipeline {
    /// Runs the network on the input that was written last, and measures each layer by timestamps, from the end of the one
    /// before to its own; `None` where the device has none. Layers that compute nothing are left out.
    ///
    /// # Errors
    ///
    /// [`RunError::Device`] when the device is lost.
    pub async fn profile(&self) -> Result<Option<Vec<LayerTime>>, RunError> {
        if self.steps.is_empty() {
            return Ok(Some(Vec::new()));
        }
        // The first layer is computed twice, since it follows none.
        let times = self.ends(1 + self.steps.len(), |encoder, pass, writes| {
            let step = pass.saturating_sub(1);
            self.encode_steps(encoder, step..step + 1, Some(writes));
        });
        let time = |(step, ms): (&super::Step, f64)| LayerTime {
            layer: self.network.layers()[step.layer].name.clone(),
            kernel: step.kernel.clone(),
            ms,
        };
        Ok(times.await?.map(|times| self.steps.iter().zip(times).map(time).collect()))
    }

    /// Fills the input by `input`, and measures by timestamps how long that takes; `None` where the device has none. For
    /// [`Slices::set_input_cost`](crate::Slices::set_input_cost).
    ///
    /// # Errors
    ///
    /// [`RunError::Device`] when the device is lost.
    pub async fn profile_input(&self, input: &Input) -> Result<Option<Duration>, RunError> {
        let times = self.ends(2, |encoder, _, writes| input.encode_timed(encoder, Some(writes))).await?;
        Ok(times.and_then(|times| Duration::try_from_secs_f64(times.first()? / 1e3).ok()))
    }

    /// Runs `passes`, and gives the milliseconds from the end of each to the end of the next; `None` where the device has no
    /// timestamps, or not as many.
    async fn ends(
        &self,
        passes: usize,
        record: impl Fn(&mut CommandEncoder, usize, ComputePassTimestampWrites<'_>),
    ) -> Result<Option<Vec<f64>>, RunError> {
        let device = self.gpu.device();
        let count = 2 * passes as u32;
        if !device.features().contains(Features::TIMESTAMP_QUERY) || count > wgpu::QUERY_SET_MAX_QUERIES {
            return Ok(None);
        }
        let size = u64::from(count) * u64::from(QUERY_SIZE);
        let reading = self
            .submit(|encoder| {
                let query_set = device.create_query_set(&QuerySetDescriptor {
                    label: Some("passes"),
                    ty: QueryType::Timestamp,
                    count,
                });
                let resolved = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size,
                    usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                });
                self.begin_run();
                // Only the ends count: on a device that draws too, lavapipe (Mesa 22.3) notes the time when it comes to the next
                // timestamp, and a pass begins right after the one before.
                for (pass, begin) in (0..count).step_by(2).enumerate() {
                    let writes = ComputePassTimestampWrites {
                        query_set: &query_set,
                        beginning_of_pass_write_index: Some(begin),
                        end_of_pass_write_index: Some(begin + 1),
                    };
                    record(encoder, pass, writes);
                }
                encoder.resolve_query_set(&query_set, 0..count, &resolved, 0);
                let readback = self.readback(size);
                encoder.copy_buffer_to_buffer(&resolved, 0, &readback, 0, size);
                Ok(vec![readback])
            })
            .await?;
        let ticks: Vec<u64> = self.read(reading).await?.concat();
        let ends: Vec<u64> = ticks.into_iter().skip(1).step_by(2).collect();
        let period = f64::from(self.gpu.queue().get_timestamp_period());
        Ok(Some(ends.windows(2).map(|ends| ends[1].saturating_sub(ends[0]) as f64 * period / 1e6).collect()))
    }
}
