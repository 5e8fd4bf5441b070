//! Checks of every engine before an append is queued, and its encoding as bytes.
//!
//! This runs on the caller's thread. Not here: what needs the log's state (expectations, command
//! ids), which only the writer knows.

use super::chain::{self, Hash};
use super::{
    Append, AppendError, Appended, CommandKey, Expected, MAX_APPEND_BYTES, MAX_APPEND_EVENTS,
    MAX_CLAIMS, MAX_COMMAND_ID_BYTES, MAX_META_BYTES, MAX_PAYLOAD_BYTES,
};
use crate::events::claim::Claim;
use crate::events::{NewEvent, codec};
use crate::ids::{Position, Revision, StreamId};

/// An append that is acceptable by itself, as bytes.
#[derive(Debug)]
pub struct Prepared {
    /// The object.
    pub stream: StreamId,
    /// What the decision was based on.
    pub expected: Expected,
    /// What makes it exactly-once, if anything.
    pub command: Option<CommandKey>,
    /// What it means for names.
    pub claims: Vec<Claim>,
    /// The events, in order.
    pub events: Vec<PreparedEvent>,
}

/// One event as bytes (see [`chain`]).
#[derive(Debug)]
pub struct PreparedEvent {
    /// What the chain covers.
    pub content: Vec<u8>,
    /// BLAKE3 of it.
    pub digest: Hash,
}

impl Expected {
    /// The revision that the first event of such an append gets.
    pub const fn first_revision(self) -> Revision {
        match self {
            Self::NoStream => Revision(0),
            Self::Exact(revision) => revision.next(),
        }
    }

    /// Whether a stream with this last revision is as expected.
    pub fn holds(self, actual: Option<Revision>) -> bool {
        match self {
            Self::NoStream => actual.is_none(),
            Self::Exact(revision) => actual == Some(revision),
        }
    }
}

impl Prepared {
    /// Checks an append and encodes it.
    ///
    /// # Errors
    /// [`AppendError::Invalid`] with the limit that it breaks.
    pub fn new(append: &Append) -> Result<Self, AppendError> {
        within("events", append.events.len(), 1, MAX_APPEND_EVENTS)?;
        if let Some(command) = &append.command {
            within("bytes of the command id", command.id.0.len(), 1, MAX_COMMAND_ID_BYTES)?;
        }
        let mut revision = append.expected.first_revision();
        let mut events = Vec::with_capacity(append.events.len());
        let mut bytes = 0;
        let mut claims = append.events.iter().map(|event| &event.meta.claims.0);
        let first = claims.next().cloned().unwrap_or_default();
        within("claims", first.len(), 0, MAX_CLAIMS)?;
        within("claims after the first event", claims.map(Vec::len).sum(), 0, 0)?;
        for event in &append.events {
            let prepared = prepare(append.stream, revision, event)?;
            bytes += prepared.content.len();
            within("bytes of all events", bytes, 1, MAX_APPEND_BYTES)?;
            events.push(prepared);
            revision = revision.next();
        }
        Ok(Self {
            stream: append.stream,
            expected: append.expected,
            command: append.command.clone(),
            claims: first,
            events,
        })
    }

    /// Where its events are, given the position of the first one.
    pub fn appended(&self, first: Position) -> Appended {
        let more = self.events.len().saturating_sub(1) as u64;
        Appended {
            first,
            last: Position(first.get() + more),
            revision: Revision(self.expected.first_revision().get() + more),
        }
    }
}

fn prepare(
    stream: StreamId,
    revision: Revision,
    event: &NewEvent,
) -> Result<PreparedEvent, AppendError> {
    within("bytes of the event type", event.event_type.as_str().len(), 1, usize::from(u8::MAX))?;
    within("bytes of the payload", event.payload.len(), 0, MAX_PAYLOAD_BYTES)?;
    let meta = codec::encode(&event.meta);
    within("bytes of meta", meta.len(), 1, MAX_META_BYTES)?;
    let content = chain::content(stream, revision, event, &meta);
    let digest = chain::digest(&content);
    Ok(PreparedEvent { content, digest })
}

fn within(what: &str, found: usize, least: usize, most: usize) -> Result<(), AppendError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(AppendError::Invalid(format!("{what}: {found}, not within {least} to {most}")))
}
