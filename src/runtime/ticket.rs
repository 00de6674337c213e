//! Non-blocking readback: a ring of readback buffers, and tickets for them.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use wgpu::{Buffer, BufferAsyncError, BufferUsages, CommandEncoder, Device, MapMode};

use super::{Pipeline, RunError, TopEntry, run::pictures};

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
        let slots = &self.ring.slots;
        let Some(slot) = slots.iter().find(|s| s.claim()) else {
            let lost = slots.iter().any(|s| matches!(*s.state(), State::Lost));
            let lost = lost.then(|| RunError::Device("an earlier ticket was not read".into()));
            return Err(lost.unwrap_or(RunError::Busy { tickets: slots.len() }));
        };
        encoder.copy_buffer_to_buffer(entries, 0, &slot.buffer, 0, entries.size());
        let mapping = Mapping { slot: slot.clone(), done: false };
        encoder.map_buffer_on_submit(&slot.buffer, MapMode::Read, .., move |result| mapping.finish(result));
        Ok(Ticket { slot: Some(slot.clone()) })
    }
}

/// The readback buffers of a pipeline, one per ticket.
#[derive(Debug)]
pub(super) struct Ring {
    slots: Vec<Arc<Slot>>,
}

impl Ring {
    /// Makes the ring for outputs of `batch` × `k`; empty where there is nothing to read.
    #[cfg_attr(target_arch = "wasm32", expect(clippy::arc_with_non_send_sync, reason = "browsers have one thread"))]
    pub fn new(device: &Device, tickets: usize, batch: usize, k: usize) -> Self {
        let slot = |_| {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("ticket"),
                size: (batch * k * size_of::<TopEntry>()) as u64,
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            Arc::new(Slot { buffer, k, state: Mutex::new(State::Free) })
        };
        let count = if k == 0 { 0 } else { tickets };
        Self { slots: (0..count).map(slot).collect() }
    }
}

struct Slot {
    buffer: Buffer,
    /// Entries per image.
    k: usize,
    state: Mutex<State>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} bytes)", self.buffer.size())
    }
}

enum State {
    Free,
    /// Recorded or submitted, with the action to take when it is done.
    Pending(Then),
    /// Mapped, or failed.
    Ready(Result<(), RunError>),
    /// Never to be mapped again.
    Lost,
}

enum Then {
    Keep,
    Wake(Waker),
    Call(Callback),
    /// The ticket was dropped.
    Forget,
}

/// The result of a ticket.
type Top = Result<Vec<Vec<TopEntry>>, RunError>;
type Callback = Box<dyn FnOnce(Top) + Send>;

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
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
    fn take(&self) -> Option<Top> {
        let mut state = self.state();
        let State::Ready(result) = &mut *state else { return None };
        let entries = mem::replace(result, Ok(())).and_then(|()| {
            let view = self.buffer.get_mapped_range(..).map_err(|e| RunError::Device(e.to_string()))?;
            Ok(bytemuck::pod_collect_to_vec(&view))
        });
        *state = match &entries {
            Ok(_) => {
                self.buffer.unmap();
                State::Free
            }
            Err(RunError::NotSubmitted) => State::Free,
            Err(_) => State::Lost,
        };
        Some(entries.and_then(|entries| pictures(entries, self.k)))
    }
}

/// Called by wgpu, or dropped when the command buffer is never submitted.
struct Mapping {
    slot: Arc<Slot>,
    done: bool,
}

impl Mapping {
    fn finish(mut self, result: Result<(), BufferAsyncError>) {
        self.done = true;
        self.slot.resolve(result.map_err(|e| RunError::Device(e.to_string())));
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.done {
            self.slot.resolve(Err(RunError::NotSubmitted));
        }
    }
}

/// A pending result: the largest outputs of each image, largest first; see [`Pipeline::ticket`]. There are three ways
/// to get it: [`Ticket::poll`] from time to time, [`Ticket::on_ready`] with a callback, or awaiting the ticket.
///
/// The result is given once, after as many submissions as the device lags behind. All tickets of a lost device resolve
/// to [`RunError::Device`]. Dropping a ticket frees its buffer as soon as the device releases it.
#[derive(Debug)]
#[must_use = "the result is thrown away with its ticket"]
pub struct Ticket {
    /// `None` once the result was given.
    slot: Option<Arc<Slot>>,
}

impl Ticket {
    /// Returns the result if it has arrived, without waiting; `None` before it arrives and after it was taken.
    pub fn poll(&mut self) -> Option<Result<Vec<Vec<TopEntry>>, RunError>> {
        let result = self.slot.as_ref()?.take()?;
        self.slot = None;
        Some(result)
    }

    /// Calls `callback` with the result when it arrives, or immediately if it has arrived. The callback runs on the
    /// thread that submits or polls, so it should be short.
    pub fn on_ready(mut self, callback: impl FnOnce(Result<Vec<Vec<TopEntry>>, RunError>) + Send + 'static) {
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

impl Future for Ticket {
    type Output = Result<Vec<Vec<TopEntry>>, RunError>;

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

impl Drop for Ticket {
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
