//! Submissions whose results are read back.

use futures::channel::oneshot;
use wgpu::{Buffer, BufferUsages, CommandEncoder};

use super::{RunError, executable::Executable, wait::Poller};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    program::{ArrayId, Program},
};

/// A buffer that is being read.
pub(crate) struct Reading {
    buffer: Buffer,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// Submits the commands that `record` records, and begins to read the buffers that it returns. Everything that a run makes
/// is made in `record`, so that an error of the device there is an error of the run. On the web, a pipeline that could not
/// be made is reported here.
pub(crate) async fn submit(
    gpu: &Gpu,
    record: impl FnOnce(&mut CommandEncoder) -> Result<Vec<Buffer>, RunError>,
) -> Result<Vec<Reading>, RunError> {
    let scopes = Scopes::push(gpu.device());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let recorded = record(&mut encoder);
    let reading = |buffer: Buffer| {
        let (send, mapped) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            let _ = send.send(result);
        });
        Reading { buffer, mapped }
    };
    let readings = recorded.map(|buffers| {
        gpu.queue().submit([encoder.finish()]);
        buffers.into_iter().map(reading).collect()
    });
    match scopes.pop().await {
        Some(error) => Err(error.into()),
        None => readings,
    }
}

/// Waits until the device has done everything that was submitted, while `poller` polls it.
pub(crate) async fn done(gpu: &Gpu, poller: Poller) -> Result<(), RunError> {
    let (send, done) = oneshot::channel();
    gpu.queue().on_submitted_work_done(move || _ = send.send(()));
    poller.wait(gpu.device(), done).await.map_err(RunError::Device)
}

/// A buffer of `size` bytes to read a result from.
pub(crate) fn buffer(gpu: &Gpu, size: u64) -> Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("readback"),
        size,
        usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Copies an array of a program to a buffer from which it is read.
pub(crate) fn copy(
    gpu: &Gpu,
    encoder: &mut CommandEncoder,
    (executable, program): (&Executable, &Program),
    array: ArrayId,
) -> Buffer {
    let (memory, quads) = (executable.memory(array), program.get(array).len());
    let buffer = buffer(gpu, memory.copy_size(quads));
    memory.copy_to(encoder, quads, &buffer);
    buffer
}

/// Waits for the buffers to be mapped, while `poller` polls the device.
pub(crate) async fn read<T: bytemuck::Pod>(
    gpu: &Gpu,
    readings: Vec<Reading>,
    poller: Poller,
) -> Result<Vec<Vec<T>>, RunError> {
    let mut all = Vec::new();
    for Reading { buffer, mapped } in readings {
        let mapped = poller.wait(gpu.device(), mapped).await.map_err(RunError::Device)?;
        mapped.map_err(|e| RunError::Device(e.to_string()))?;
        let bytes = buffer.get_mapped_range(..).map_err(|e| RunError::Device(e.to_string()))?;
        all.push(bytemuck::pod_collect_to_vec(&bytes));
    }
    Ok(all)
}
