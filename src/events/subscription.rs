//! How readers follow the log (rules S1 to S4): catching up and following are one loop.
//!
//! A notification carries only the head; every event is read from the log. So there is no seam
//! between old and new events, and a slow reader affects nobody: it reads later. Not here: what
//! followers share (`newest`), where readers store their position.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::Recorded;
use super::log::{EventLog, ReadError};
use super::newest::{Newest, Shared};
use crate::blocking;
use crate::ids::Position;

/// Most events that are read without a thread of their own: a reader at the end of the log finds
/// what was just written in the page cache, within some tens of microseconds.
const INLINE_EVENTS: u64 = 64;

/// Most bytes of payloads and commands on a page, unless one event alone has more: what a reader
/// that takes nothing makes the service hold.
const PAGE_BYTES: usize = 256 << 10;

/// Which events a reader wants.
pub type Filter = Arc<dyn Fn(&Recorded) -> bool + Send + Sync>;

/// What a reader gets at a time.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events that it wants, in order; none if all of these were filtered out.
    pub events: Vec<Arc<Shared>>,
    /// Everything up to here was looked at, wanted or not (rule S2): resume after it.
    pub cursor: Position,
    /// Where the log ended when this was read.
    pub head: Position,
}

/// A reader's place in the log.
pub struct Subscription {
    log: Arc<Newest>,
    head: watch::Receiver<Position>,
    cursor: Position,
    filter: Option<Filter>,
}

impl Subscription {
    /// Follows the whole log after a position; 0 is the beginning.
    pub fn new(log: Arc<dyn EventLog>, after: Position) -> Self {
        Self::among(Arc::new(Newest::unkept(log)), after)
    }

    /// Follows it as one of many, who share what they read.
    pub fn among(log: Arc<Newest>, after: Position) -> Self {
        let head = log.log().head();
        Self { log, head, cursor: after, filter: None }
    }

    /// Follows only what a filter lets through.
    #[must_use]
    pub fn filtered(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Everything up to here was looked at.
    pub const fn cursor(&self) -> Position {
        self.cursor
    }

    /// Whether there is so much that is new that it is read on a thread of its own.
    pub fn catches_up(&self) -> bool {
        self.head.borrow().get().saturating_sub(self.cursor.get()) > INLINE_EVENTS
    }

    /// The next events, at most `limit` of them before the filter; waits while there are none.
    /// None once the log is closed and everything in it was looked at.
    ///
    /// May be dropped while it waits: nothing is lost, the next call starts at the same place.
    ///
    /// # Errors
    /// See [`ReadError`]. The place stays where it was.
    pub async fn next_page(&mut self, limit: usize) -> Result<Option<Page>, ReadError> {
        let cursor = self.cursor;
        let closed = self.head.wait_for(|head| *head > cursor).await.is_err();
        if closed && *self.head.borrow() <= cursor {
            return Ok(None);
        }
        let head = *self.head.borrow();
        let behind = head.get().saturating_sub(cursor.get()).min(limit as u64);
        let (log, filter) = (Arc::clone(&self.log), self.filter.clone());
        let (events, cursor) = if behind <= INLINE_EVENTS {
            page(&log, filter.as_ref(), cursor, limit)?
        } else {
            blocking::run(move || page(&log, filter.as_ref(), cursor, limit))
                .await
                .map_err(ReadError::Io)??
        };
        self.cursor = cursor;
        Ok(Some(Page { events, cursor, head: head.max(cursor) }))
    }
}

/// Events after a position as far as they are wanted, and up to where was looked.
fn page(
    log: &Newest,
    filter: Option<&Filter>,
    after: Position,
    limit: usize,
) -> Result<(Vec<Arc<Shared>>, Position), ReadError> {
    let mut events = log.read(after, limit)?;
    let mut bytes = 0_usize;
    let fit = events.iter().take_while(|event| {
        bytes += event.bytes();
        bytes <= PAGE_BYTES
    });
    let fit = fit.count().max(1);
    events.truncate(fit);
    let cursor = events.last().map_or(after, |event| event.position);
    if let Some(filter) = filter {
        events.retain(|event| filter(event));
    }
    Ok((events, cursor))
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
