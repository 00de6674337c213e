//! Things that take long to build.

use std::sync::Arc;

use bevy::tasks::{AsyncComputeTaskPool, Task, futures::check_ready};

use crate::AlexNetError;

/// Something that is built beside the frames, on a thread of Bevy's where its feature `multi_threaded` is on.
pub enum Built<T> {
    Building(Task<Result<T, Arc<AlexNetError>>>),
    Ready(Box<T>),
    Failed(Arc<AlexNetError>),
}

impl<T: Send + 'static> Built<T> {
    pub fn begin(build: impl FnOnce() -> Result<T, Arc<AlexNetError>> + Send + 'static) -> Self {
        Self::Building(AsyncComputeTaskPool::get().spawn(async { build() }))
    }

    /// The thing, or why there is none; `None` while it is built.
    pub fn poll(&mut self) -> Option<Result<&mut T, Arc<AlexNetError>>> {
        if let Self::Building(task) = self {
            *self = match check_ready(task)? {
                Ok(built) => Self::Ready(Box::new(built)),
                Err(error) => Self::Failed(error),
            };
        }
        match self {
            Self::Building(_) => None,
            Self::Ready(built) => Some(Ok(built)),
            Self::Failed(error) => Some(Err(error.clone())),
        }
    }
}
