//! How long each layer takes on the device.

use wgpu::{BufferUsages, ComputePassTimestampWrites, Features, QUERY_SIZE, QuerySetDescriptor, QueryType};

use super::{Pipeline, RunError};

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
        let device = self.gpu.device();
        let count = 2 * (1 + self.steps.len() as u32);
        if !device.features().contains(Features::TIMESTAMP_QUERY) || count > wgpu::QUERY_SET_MAX_QUERIES {
            return Ok(None);
        }
        if self.steps.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let size = u64::from(count) * u64::from(QUERY_SIZE);
        let reading = self
            .submit(|encoder| {
                let query_set = device.create_query_set(&QuerySetDescriptor {
                    label: Some("layers"),
                    ty: QueryType::Timestamp,
                    count,
                });
                let resolved = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size,
                    usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                });
                // Only the ends count: on a device that draws too, lavapipe (Mesa 22.3) notes the time when it comes to the next
                // timestamp, and a pass begins right after the one before. The first layer is computed twice, since it follows none.
                for (begin, step) in (0..).step_by(2).zip([0].into_iter().chain(0..self.steps.len())) {
                    let writes = ComputePassTimestampWrites {
                        query_set: &query_set,
                        beginning_of_pass_write_index: Some(begin),
                        end_of_pass_write_index: Some(begin + 1),
                    };
                    self.encode_steps(encoder, step..step + 1, Some(writes));
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
        let time = |(step, ends): (&super::Step, &[u64])| LayerTime {
            layer: self.network.layers()[step.layer].name.clone(),
            kernel: step.kernel.clone(),
            ms: ends[1].saturating_sub(ends[0]) as f64 * period / 1e6,
        };
        Ok(Some(self.steps.iter().zip(ends.windows(2)).map(time).collect()))
    }
}
