//! Waiting for a device that a host shares.

#[cfg(not(target_arch = "wasm32"))]
use std::{
    thread,
    time::{Duration, Instant},
};

use futures::channel::oneshot::Receiver;
#[cfg(not(target_arch = "wasm32"))]
use futures::channel::oneshot::{self, Canceled};
use wgpu::Device;
#[cfg(not(target_arch = "wasm32"))]
use wgpu::{PollError, PollType};

/// The thread that polls the device. In a browser, polling is not necessary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Poller {
    /// A separate thread, so that the task that awaits the result is not blocked.
    Thread,
    /// The thread that waits.
    #[cfg(not(target_arch = "wasm32"))]
    Caller,
}

impl Poller {
    /// Waits for the value that a wgpu callback sends. An error says why none arrived.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn wait<T: Send + 'static>(self, device: &Device, coming: Receiver<T>) -> Result<T, String> {
        let waited = match self {
            Self::Caller => wait(device, coming),
            Self::Thread => {
                let (device, (send, waited)) = (device.clone(), oneshot::channel());
                let poll = move || _ = send.send(wait(&device, coming));
                thread::Builder::new().name("wait for the device".into()).spawn(poll).map_err(|e| e.to_string())?;
                waited.await.map_err(|_| "the readback was dropped")?
            }
        };
        waited.map_err(|e| e.to_string())?.map_err(|_| "the readback was dropped".into())
    }

    /// Waits for the value that a wgpu callback sends. An error says why none arrived.
    #[cfg(target_arch = "wasm32")]
    pub async fn wait<T>(self, _: &Device, coming: Receiver<T>) -> Result<T, String> {
        coming.await.map_err(|_| "the readback was dropped".into())
    }
}

/// The longest interval between two polls.
#[cfg(not(target_arch = "wasm32"))]
const LONGEST: Duration = Duration::from_micros(500);
/// The time during which it polls without sleeping: GPUs run the network in less, and the shortest sleep takes a tenth of that.
#[cfg(not(target_arch = "wasm32"))]
const AT_ONCE: Duration = Duration::from_micros(500);

/// Waits for the value that a wgpu callback sends, by polling at intervals that grow with the elapsed time. While a
/// thread waits inside wgpu, no other thread can present a frame, and a wait with a time limit may panic there when
/// several threads wait.
///
/// # Errors
///
/// When the device cannot be polled; [`Canceled`] when the callback was dropped.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wait<T>(device: &Device, mut coming: Receiver<T>) -> Result<Result<T, Canceled>, PollError> {
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
