//! Non-blocking readback: a ring of readback buffers, and tickets for them.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use wgpu::{Buffer, BufferAsyncError, BufferUsages, CommandEncoder, Device, MapMode};

use super::{Pipeline, RunError, TopEntry, pipeline::Copy, run::to_chw};
use crate::{gpu::error_scopes::Scopes, shape::Shape};

impl Pipeline {
    /// Records a copy of the largest outputs into `encoder`, after [`Pipeline::encode`] or the last
    /// [`Pipeline::encode_slice`], and returns a ticket for them.
    ///
    /// Nothing is made on the device: the readback buffers exist already ([`PipelineBuilder::tickets`](crate::PipelineBuilder)).
    /// The ticket resolves after the host submits the encoder and, once the device is done, submits again or polls the
    /// device. This library does neither. If wgpu rejects the host's submission, the ticket resolves to the result of an
    /// older run.
    ///
    /// # Errors
    ///
    /// [`RunError::NotAVector`] when the network does not end in a vector, [`RunError::Busy`] when all tickets are
    /// open. Nothing is recorded then.
    pub fn ticket(&self, encoder: &mut CommandEncoder) -> Result<Ticket, RunError> {
        let Some((entries, _)) = self.top() else {
            return Err(RunError::NotAVector { output: self.network.output() });
        };
        Ok(self.ring.reserve()?.ticket(encoder, entries))
    }

    /// Makes readback buffers for the activation of the layer called `name`: as many as [`Pipeline::encode_layer`] may have
    /// open tickets at once.
    ///
    /// # Errors
    ///
    /// [`RunError::Layer`] when the name is unknown, [`RunError::OutOfMemory`] when the device has no memory for them.
    pub fn layer_readback(&self, name: &str, tickets: usize) -> Result<LayerReadback, RunError> {
        let (size, shape, batch) = (self.activation_bytes(name)?, self.network.layer(name)?.output, self.batch());
        let decode = move |bytes: &[u8]| Ok(to_chw(&bytemuck::pod_collect_to_vec(bytes), shape, batch));
        let scopes = Scopes::push(self.gpu.device());
        let ring = Ring::new(self.gpu.device(), tickets, size, decode);
        match scopes.pop_now() {
            Some(error) => Err(error.into()),
            None => Ok(LayerReadback { layer: name.to_string(), shape, ring }),
        }
    }

    /// Records a run up to the layer of `readback`, as [`Pipeline::encode_layers`] does, and returns a ticket for its
    /// activation: `batch` times the values in CHW order. `readback` must be this pipeline's.
    ///
    /// # Errors
    ///
    /// [`RunError::Busy`] when all tickets of `readback` are open. Nothing is recorded then.
    pub fn encode_layer(
        &self,
        encoder: &mut CommandEncoder,
        readback: &LayerReadback,
    ) -> Result<Ticket<Vec<f32>>, RunError> {
        let output = self.output(&readback.layer)?;
        let reserved = readback.ring.reserve()?;
        self.begin_run();
        self.encode_copies(encoder, 0..output.steps, vec![Copy { output, buffer: reserved.buffer() }]);
        Ok(reserved.recorded(encoder))
    }
}

/// Readback buffers for one layer's activation; see [`Pipeline::layer_readback`].
#[derive(Debug)]
pub struct LayerReadback {
    layer: String,
    shape: Shape,
    ring: Ring<Vec<f32>>,
}

impl LayerReadback {
    /// Returns the shape of the activation of one image.
    pub fn shape(&self) -> Shape {
        self.shape
    }
}

/// Readback buffers, one per ticket.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    slots: Vec<Arc<Slot<T>>>,
}

impl<T: 'static> Ring<T> {
    /// Makes the buffers of `tickets` tickets for results of `size` bytes, which `decode` reads.
    pub fn new(
        device: &Device,
        tickets: usize,
        size: u64,
        decode: impl Fn(&[u8]) -> Result<T, RunError> + Send + Sync + 'static,
    ) -> Self {
        let decode: Decode<T> = Arc::new(decode);
        let slot = |_| {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("ticket"),
                size,
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            Arc::new(Slot { buffer, decode: decode.clone(), state: Mutex::new(State::Free) })
        };
        let count = if size == 0 { 0 } else { tickets };
        Self { slots: (0..count).map(slot).collect() }
    }

    /// Takes a free buffer.
    ///
    /// # Errors
    ///
    /// [`RunError::Busy`] when there is none.
    pub fn reserve(&self) -> Result<Reserved<T>, RunError> {
        let slots = &self.slots;
        let Some(slot) = slots.iter().find(|s| s.claim()) else {
            let lost = slots.iter().any(|s| matches!(*s.state(), State::Lost));
            let lost = lost.then(|| RunError::Device("an earlier ticket was not read".into()));
            return Err(lost.unwrap_or(RunError::Busy { tickets: slots.len() }));
        };
        Ok(Reserved(Mapping { slot: slot.clone(), done: false }))
    }
}

/// A buffer of a [`Ring`], taken.
pub(crate) struct Reserved<T>(Mapping<T>);

impl<T: 'static> Reserved<T> {
    /// The buffer.
    pub fn buffer(&self) -> &Buffer {
        &self.0.slot.buffer
    }

    /// Records a copy of `results` into the buffer.
    pub fn ticket(self, encoder: &mut CommandEncoder, results: &Buffer) -> Ticket<T> {
        encoder.copy_buffer_to_buffer(results, 0, self.buffer(), 0, self.buffer().size());
        self.recorded(encoder)
    }

    /// The ticket, after a copy into the buffer was recorded.
    pub fn recorded(self, encoder: &mut CommandEncoder) -> Ticket<T> {
        let Self(mapping) = self;
        let slot = mapping.slot.clone();
        encoder.map_buffer_on_submit(&slot.buffer, MapMode::Read, .., move |result| mapping.finish(result));
        Ticket { slot: Some(slot) }
    }
}

type Decode<T> = Arc<dyn Fn(&[u8]) -> Result<T, RunError> + Send + Sync>;

struct Slot<T> {
    buffer: Buffer,
    decode: Decode<T>,
    state: Mutex<State<T>>,
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} bytes)", self.buffer.size())
    }
}

enum State<T> {
    Free,
    /// Recorded or submitted, with the action to take when it is done.
    Pending(Then<T>),
    /// Mapped, or failed.
    Ready(Result<(), RunError>),
    /// Never to be mapped again.
    Lost,
}

enum Then<T> {
    Keep,
    Wake(Waker),
    Call(Box<dyn FnOnce(Result<T, RunError>) + Send>),
    /// The ticket was dropped.
    Forget,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the slot if it is free.
    fn claim(&self) -> bool {
        let mut state = self.state();
        let free = matches!(*state, State::Free);
        if free {
            *state = State::Pending(Then::Keep);
        }
        free
    }

    /// Stores whether the mapping succeeded, and notifies the waiter.
    fn resolve(&self, result: Result<(), RunError>) {
        let then = match mem::replace(&mut *self.state(), State::Ready(result)) {
            State::Pending(then) => then,
            _ => return,
        };
        // The waiter may use the ring: the lock is free again.
        match then {
            Then::Keep => {}
            Then::Wake(waker) => waker.wake(),
            Then::Call(callback) => {
                if let Some(result) = self.take() {
                    callback(result);
                }
            }
            Then::Forget => _ = self.take(),
        }
    }

    /// Takes the result, if it has arrived. This works once, and frees the slot.
    fn take(&self) -> Option<Result<T, RunError>> {
        let mut state = self.state();
        let State::Ready(result) = &mut *state else { return None };
        let bytes: Result<Vec<u8>, RunError> = mem::replace(result, Ok(())).and_then(|()| {
            let view = self.buffer.get_mapped_range(..).map_err(|e| RunError::Device(e.to_string()))?;
            Ok(view.to_vec())
        });
        *state = match &bytes {
            Ok(_) => {
                self.buffer.unmap();
                State::Free
            }
            Err(RunError::NotSubmitted) => State::Free,
            Err(_) => State::Lost,
        };
        Some(bytes.and_then(|bytes| (self.decode)(&bytes)))
    }
}

/// Called by wgpu, or dropped when the command buffer is never submitted.
struct Mapping<T> {
    slot: Arc<Slot<T>>,
    done: bool,
}

impl<T> Mapping<T> {
    fn finish(mut self, result: Result<(), BufferAsyncError>) {
        self.done = true;
        self.slot.resolve(result.map_err(|e| RunError::Device(e.to_string())));
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        if !self.done {
            self.slot.resolve(Err(RunError::NotSubmitted));
        }
    }
}

/// A pending result: the largest outputs of each image, largest first ([`Pipeline::ticket`]), a layer's activation
/// ([`Pipeline::encode_layer`]), or a [`Comparison`](crate::Comparison). There are three ways to get it: [`Ticket::poll`] from time to time, [`Ticket::on_ready`] with a callback, or awaiting the ticket.
///
/// The result is given once, after as many submissions as the device lags behind. All tickets of a lost device resolve
/// to [`RunError::Device`]. Dropping a ticket frees its buffer as soon as the device releases it.
#[derive(Debug)]
#[must_use = "the result is thrown away with its ticket"]
pub struct Ticket<T = Vec<Vec<TopEntry>>> {
    /// `None` once the result was given.
    slot: Option<Arc<Slot<T>>>,
}

impl<T> Ticket<T> {
    /// Returns the result if it has arrived, without waiting; `None` before it arrives and after it was taken.
    pub fn poll(&mut self) -> Option<Result<T, RunError>> {
        let result = self.slot.as_ref()?.take()?;
        self.slot = None;
        Some(result)
    }

    /// Calls `callback` with the result when it arrives, or immediately if it has arrived. The callback runs on the
    /// thread that submits or polls, so it should be short.
    pub fn on_ready(mut self, callback: impl FnOnce(Result<T, RunError>) + Send + 'static) {
        let Some(slot) = self.slot.take() else { return };
        let mut state = slot.state();
        if let State::Pending(then) = &mut *state {
            *then = Then::Call(Box::new(callback));
            return;
        }
        drop(state);
        if let Some(result) = slot.take() {
            callback(result);
        }
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, RunError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(slot) = &self.slot
            && let State::Pending(then) = &mut *slot.state()
        {
            *then = Then::Wake(context.waker().clone());
            return Poll::Pending;
        }
        Ticket::poll(&mut self).map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let mut state = slot.state();
        if let State::Pending(then) = &mut *state {
            *then = Then::Forget;
            return;
        }
        drop(state);
        slot.take();
    }
}
