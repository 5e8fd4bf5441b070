//! An object as it was: its actor's state, its view, and the event that led to them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::entry::Entry;
use super::object::{self, Object};
use super::{ReplayError, Source, When};
use crate::events::Recorded;
use crate::ids::{Position, StreamId};

/// An object at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StateAt {
    /// `container/` and its uuid.
    pub object: String,
    /// Its name then, where it has one.
    pub name: Option<String>,
    /// The moment, as it was asked for.
    pub at: String,
    /// The position that it means.
    pub position: u64,
    /// The object's revision then.
    pub revision: u64,
    /// Whether it was there: asked for, and not gone.
    pub exists: bool,
    /// What was shown of it; null if it was not there.
    #[schema(value_type = Option<Object>)]
    pub view: Option<Value>,
    /// What its actor decides by.
    #[schema(value_type = Object)]
    pub state: Value,
    /// The last event that counts: the one that made it so.
    pub last: Entry,
}

/// An object at a moment, also one that is gone.
///
/// # Errors
/// When there is no such object or moment, or the log cannot be read.
pub fn state(source: &Source, stream: StreamId, at: When) -> Result<StateAt, ReplayError> {
    let position = at.of(source, stream)?;
    let (folded, last) = fold(source, stream, position)?;
    let Some(last) = last else {
        return Err(ReplayError::NotFound(format!("{stream} has no event up to {position}.")));
    };
    Ok(StateAt {
        object: stream.to_string(),
        name: name(folded.as_ref()),
        at: at.to_string(),
        position: position.get(),
        revision: last.revision.get(),
        exists: folded.head().is_some(),
        view: folded.view(),
        state: folded.state(),
        last: Entry::from(&last),
    })
}

/// What people call an object: its name, or the host name of a node.
pub fn name(folded: &dyn Object) -> Option<String> {
    folded.field("name").or_else(|| folded.field("host"))
}

/// An object right after the event at a position, and the last event of it by then.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn fold(
    source: &Source,
    stream: StreamId,
    until: Position,
) -> Result<(Box<dyn Object>, Option<Recorded>), ReplayError> {
    let mut folded = object::new(stream);
    let mut last = None;
    source.each_of(stream, until, |event| {
        folded.take(event)?;
        last = Some(event.clone());
        Ok(())
    })?;
    Ok((folded, last))
}
