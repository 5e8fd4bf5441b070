//! Views as of any position: the same fold as the read models, straight from the log.
//!
//! Also what remains of deleted objects. Memory is bounded: a stream is folded page by page.

use super::View;
use crate::events::log::{EventLog, ReadError};
use crate::events::{DecodeError, Recorded};
use crate::ids::{ObjectId, Position, Revision, StreamId};

/// Events that are in memory at once: a payload has 1 KB as a rule, 4 MiB at most.
const PAGE: usize = 256;

/// Why a view as of a position could not be told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PastError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event could not be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A view as it was right after the event at a position; none where there was no object then.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn as_of<V: View>(
    log: &dyn EventLog,
    id: ObjectId,
    at: Position,
) -> Result<Option<V>, PastError> {
    let mut view = None;
    each(log, StreamId::new(V::KIND, id), at, |event| {
        view = V::apply(view.take(), event)?;
        Ok(())
    })?;
    Ok(view)
}

/// The last view that there was of an object up to a position, though it was deleted since.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn last_of<V: View>(
    log: &dyn EventLog,
    id: ObjectId,
    at: Position,
) -> Result<Option<V>, PastError> {
    let mut view: Option<V> = None;
    let mut gone = false;
    each(log, StreamId::new(V::KIND, id), at, |event| {
        let before = if gone { None } else { view.clone() };
        let after = V::apply(before, event)?;
        gone = after.is_none();
        view = after.or(view.take());
        Ok(())
    })?;
    Ok(view)
}

fn each(
    log: &dyn EventLog,
    stream: StreamId,
    at: Position,
    mut apply: impl FnMut(&Recorded) -> Result<(), DecodeError>,
) -> Result<(), PastError> {
    let mut from = Revision(0);
    loop {
        let page = log.read_stream(stream, from, PAGE)?;
        for event in &page {
            if event.position > at {
                return Ok(());
            }
            apply(event)?;
        }
        match page.last() {
            Some(last) => from = last.revision.next(),
            None => return Ok(()),
        }
    }
}
