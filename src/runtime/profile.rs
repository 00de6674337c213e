//! Time of each layer on the device.

use std::time::Duration;

use wgpu::{
    BufferUsages, CommandEncoder, ComputePassTimestampWrites, DeviceType, Features, QUERY_SIZE, QuerySetDescriptor,
    QueryType,
};

use super::{Input, Pipeline, RunError, readback, wait::Poller};
use crate::{gpu::Gpu, network::Layer};

/// A layer's time on the device.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerTime {
    /// The layer's name.
    pub layer: String,
    /// A short description of its kernel; of the first one where there are several.
    pub kernel: String,
    /// Milliseconds, for the whole batch.
    pub ms: f64,
}

impl Pipeline {
    /// Runs the network on the input that was written last, and measures each layer with timestamps. `None` where the
    /// device has no timestamps. Layers that compute nothing are left out.
    ///
    /// # Errors
    ///
    /// [`RunError::Device`] when the device is lost.
    pub async fn profile(&self) -> Result<Option<Vec<LayerTime>>, RunError> {
        self.profile_layers(Poller::Thread).await
    }

    pub(super) async fn profile_layers(&self, poller: Poller) -> Result<Option<Vec<LayerTime>>, RunError> {
        let steps = self.inference.forward;
        if steps == 0 {
            return Ok(Some(Vec::new()));
        }
        // The first layer is computed twice, because the first pass is not measured.
        self.begin_run();
        let times = intervals(&self.gpu, poller, 1 + steps, |encoder, pass, writes| {
            let step = pass.saturating_sub(1);
            self.executable.encode(encoder, step..step + 1, Some(writes));
        });
        let time = |((layer, kernel), ms): ((&Layer, String), f64)| LayerTime { layer: layer.name.clone(), kernel, ms };
        Ok(times.await?.map(|times| self.steps().zip(times).map(time).collect()))
    }

    /// Fills the input from `input`, and measures the time with timestamps. `None` where the device has no timestamps.
    /// For [`FrameBudget::set_input_cost`](crate::FrameBudget::set_input_cost).
    ///
    /// # Errors
    ///
    /// [`RunError::Device`] when the device is lost.
    pub async fn profile_input(&self, input: &Input) -> Result<Option<Duration>, RunError> {
        self.time_input(input, Poller::Thread).await
    }

    pub(super) async fn time_input(&self, input: &Input, poller: Poller) -> Result<Option<Duration>, RunError> {
        let times = {
            self.begin_run();
            intervals(&self.gpu, poller, 2, |encoder, _, writes| input.encode_timed(encoder, Some(writes))).await?
        };
        Ok(times.and_then(|times| Duration::try_from_secs_f64(times.first()? / 1e3).ok()))
    }
}

/// Runs `passes`, and returns the milliseconds of each except the first. `None` where the device has no timestamps,
/// or too few.
pub(crate) async fn intervals(
    gpu: &Gpu,
    poller: Poller,
    passes: usize,
    record: impl Fn(&mut CommandEncoder, usize, ComputePassTimestampWrites<'_>),
) -> Result<Option<Vec<f64>>, RunError> {
    let device = gpu.device();
    let count = 2 * passes as u32;
    if !device.features().contains(Features::TIMESTAMP_QUERY) || count > wgpu::QUERY_SET_MAX_QUERIES {
        return Ok(None);
    }
    let size = u64::from(count) * u64::from(QUERY_SIZE);
    let reading = readback::submit(gpu, |encoder| {
        let query_set =
            device.create_query_set(&QuerySetDescriptor { label: Some("passes"), ty: QueryType::Timestamp, count });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timestamps"),
            size,
            usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        for (pass, begin) in (0..count).step_by(2).enumerate() {
            let writes = ComputePassTimestampWrites {
                query_set: &query_set,
                beginning_of_pass_write_index: Some(begin),
                end_of_pass_write_index: Some(begin + 1),
            };
            record(encoder, pass, writes);
        }
        encoder.resolve_query_set(&query_set, 0..count, &resolved, 0);
        let timestamps = readback::buffer(gpu, size);
        encoder.copy_buffer_to_buffer(&resolved, 0, &timestamps, 0, size);
        Ok(vec![timestamps])
    })
    .await?;
    let ticks: Vec<u64> = readback::read(gpu, reading, poller).await?.concat();
    // On a GPU, the microseconds between two passes belong to no layer. A processor has no such gap, but lavapipe
    // (Mesa 22.3), on a device that draws too, records the time only when it reaches the next timestamp, so the
    // passes' ends are used there.
    let from_end_to_end = gpu.info().device_type == DeviceType::Cpu;
    let period = f64::from(gpu.queue().get_timestamp_period());
    let ms = |passes: &[[u64; 2]]| {
        let (before, [begin, end]) = (passes[0], passes[1]);
        end.saturating_sub(if from_end_to_end { before[1] } else { begin }) as f64 * period / 1e6
    };
    Ok(Some(ticks.as_chunks().0.windows(2).map(ms).collect()))
}
