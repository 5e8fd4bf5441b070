//! Slots for responses without end: how many there may be at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bus::CommandError;
use crate::http::error::ApiError;

/// Most answers that go on until somebody ends them, event streams and followed logs together:
/// each holds a connection, a few kilobytes and at most one page.
const MAX_STREAMS: usize = 8192;

/// Most readers that are being sent the present state at once: each holds 16 bytes an object.
const MAX_SNAPSHOTS: usize = 64;

/// Places for answers that go on until somebody ends them.
#[derive(Clone)]
pub struct Places {
    streams: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            snapshots: Arc::new(Semaphore::new(MAX_SNAPSHOTS)),
        }
    }
}

impl Places {
    /// A place, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        one(&self.streams)
    }

    /// A place for being sent the present state, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken.
    pub fn take_snapshot(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        one(&self.snapshots)
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        (MAX_STREAMS - self.streams.available_permits().min(MAX_STREAMS)) as u32
    }
}

fn one(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map_err(|_| ApiError::Command(CommandError::Overloaded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_ends() {
        let places = Places { streams: Arc::new(Semaphore::new(1)), ..Places::default() };
        let held = places.take().unwrap();
        assert_eq!(places.take().unwrap_err().status(), 503);
        drop(held);
        assert!(places.take().is_ok());
    }
}
