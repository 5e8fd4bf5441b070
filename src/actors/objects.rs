//! What every object stands on: the log, the snapshots beside it, and where output of work goes.
//!
//! Loading reads the log where that may take its time. Not here: what is done with a loaded object
//! (`perform`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::Entity;
use super::aggregate::Aggregate;
use super::snapshot::Snapshots;
use crate::blocking;
use crate::bus::ReplyTo;
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Revision, StreamId, WorkId};

/// Keys of commands that run, or wait to: many times what all nodes execute at once.
const MAX_REPLIES: usize = 65_536;

/// Objects loaded at once on threads that may block: each may read the disk.
const MAX_LOADS: usize = 64;

/// Events that are folded without a thread of its own: within some hundred microseconds, which a
/// change of threads takes as well.
const INLINE_EVENTS: u64 = 64;

/// What every object stands on. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Folded states beside it.
    pub snapshots: Snapshots,
    /// Where output of work goes.
    pub replies: Arc<Replies>,
    /// Whether no two objects may hold one name (rule L9).
    pub unique_names: bool,
    loads: Arc<Semaphore>,
}

impl Objects {
    /// Objects of a log.
    pub fn new(log: Arc<dyn EventLog>, snapshots: Snapshots) -> Self {
        let loads = Arc::new(Semaphore::new(MAX_LOADS));
        Self { log, snapshots, replies: Arc::default(), unique_names: true, loads }
    }

    /// An object as its events say. Most have few; the others are read where that may take long.
    /// This runs on the caller's thread, never on an arbiter.
    pub(super) async fn load<E: Entity>(
        &self,
        stream: StreamId,
    ) -> Result<Aggregate<E>, ReadError> {
        let load =
            move |objects: &Self| Aggregate::load(stream, objects.log.as_ref(), &objects.snapshots);
        match self.log.stream_head(stream)? {
            None => Ok(Aggregate::new(stream)),
            Some(Revision(last)) if last < INLINE_EVENTS => load(self),
            Some(_) => {
                let _permit = self.loads.acquire().await;
                self.read(load).await
            }
        }
    }

    /// Reads the log where it may take its time.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let objects = self.clone();
        blocking::run(move || read(&objects)).await.map_err(ReadError::Io)?
    }
}

/// Where the output goes of commands that run in containers. In memory alone: who waits for it is
/// gone with the process as well.
#[derive(Default)]
pub struct Replies(Mutex<HashMap<WorkId, ReplyTo>>);

impl Replies {
    /// Where the output of work goes, if anybody asked for it.
    pub fn of(&self, work: WorkId) -> Option<ReplyTo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&work).copied()
    }

    pub(super) fn note(&self, work: WorkId, reply_to: ReplyTo) {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if replies.len() < MAX_REPLIES {
            replies.insert(work, reply_to);
        }
    }

    pub(super) fn forget(&self, work: WorkId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&work);
    }
}
