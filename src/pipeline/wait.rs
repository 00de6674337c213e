//! Waiting for the device, on a device that a host shares.

use std::{
    thread,
    time::{Duration, Instant},
};

use futures::channel::oneshot::{Canceled, Receiver};
use wgpu::{Device, PollError, PollType};

/// The longest time between two questions.
const LONGEST: Duration = Duration::from_micros(500);
/// Until then it asks again at once: GPUs run the network in less, and the shortest sleep takes a tenth of that.
const AT_ONCE: Duration = Duration::from_micros(500);

/// Waits for what a callback of wgpu's sends, by asking at intervals that grow with the time: while a thread waits inside
/// wgpu, no other one can present a frame, and a wait with a time limit may panic there when several threads wait.
///
/// # Errors
///
/// When the device cannot be polled; [`Canceled`] when the callback was dropped.
pub(super) fn wait<T>(device: &Device, mut coming: Receiver<T>) -> Result<Result<T, Canceled>, PollError> {
    let start = Instant::now();
    loop {
        device.poll(PollType::Poll)?;
        match coming.try_recv() {
            Ok(None) if start.elapsed() < AT_ONCE => thread::yield_now(),
            Ok(None) => thread::sleep((start.elapsed() / 32).min(LONGEST)),
            Ok(Some(sent)) => return Ok(Ok(sent)),
            Err(dropped) => return Ok(Err(dropped)),
        }
    }
}
