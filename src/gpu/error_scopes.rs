//! Error scopes around this library's calls on a device that a host may share. Errors do not reach the host's handler,
//! which panics if the host set none.

use wgpu::{Device, Error, ErrorFilter, ErrorScopeGuard};

/// Catches every kind of error from this thread's calls until [`Scopes::pop`]. Each thread needs its own.
#[derive(Debug)]
#[must_use]
pub(crate) struct Scopes {
    // Innermost first: fields are dropped in this order, and wgpu requires it.
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

    /// The error that was caught. If there are several, the likely cause of the others: lack of memory, then an
    /// internal error of the driver, then a validation error. The scopes are popped immediately, whenever the answer
    /// arrives.
    pub fn pop(self) -> impl Future<Output = Option<Error>> {
        let Self { internal, memory, validation } = self;
        let (internal, memory, validation) = (internal.pop(), memory.pop(), validation.pop());
        async move {
            let (memory, internal, validation) = (memory.await, internal.await, validation.await);
            memory.or(internal).or(validation)
        }
    }

    /// The error that was caught. On the web the answer arrives later, and is reported as an error of the first run.
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
