//! Error scopes around what this library does on a device that a host may share: nothing reaches the host's own handler,
//! which panics where the host set none.

use wgpu::{Device, Error, ErrorFilter, ErrorScopeGuard};

/// Catches every kind of error of the calls that this thread makes until [`Scopes::pop`]. Each thread needs its own.
#[derive(Debug)]
#[must_use]
pub(crate) struct Scopes {
    // The innermost first: that is the order in which they are dropped, and wgpu insists on it.
    internal: ErrorScopeGuard,
    memory: ErrorScopeGuard,
    validation: ErrorScopeGuard,
}

impl Scopes {
    pub fn push(device: &Device) -> Self {
        let [validation, memory, internal] = [ErrorFilter::Validation, ErrorFilter::OutOfMemory, ErrorFilter::Internal]
            .map(|filter| device.push_error_scope(filter));
        Self { internal, memory, validation }
    }

    /// What was caught, of that what the rest follows from: lack of memory, then what the driver refused. They are popped at
    /// once, whenever the answer comes.
    pub fn pop(self) -> impl Future<Output = Option<Error>> {
        let Self { internal, memory, validation } = self;
        let (internal, memory, validation) = (internal.pop(), memory.pop(), validation.pop());
        async move {
            let (memory, internal, validation) = (memory.await, internal.await, validation.await);
            memory.or(internal).or(validation)
        }
    }

    /// What was caught. On the web the answer comes later, and shows as an error of the first run.
    pub fn pop_now(self) -> Option<Error> {
        #[cfg(not(target_arch = "wasm32"))]
        return pollster::block_on(self.pop());
        #[cfg(target_arch = "wasm32")]
        {
            drop(self);
            None
        }
    }
}
