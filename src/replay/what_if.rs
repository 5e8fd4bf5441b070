//! The state without some events, or after other commands.
//!
//! A copy of the object takes another course in memory: with the real `evolve` and the real
//! `decide`, and without anything that acts on the result. Nothing is written. Not here: the actual
//! history (`state`).

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::entry::Entry;
use super::fields::{of_object, pairs};
use super::object::{self, Decided, Object, Undecided};
use super::{ReplayError, Source, When, state};
use crate::bus::Ctx;
use crate::events::cloudevent::redacted;
use crate::events::codec::payload_json;
use crate::events::{EventType, Meta, Recorded};
use crate::ids::{EventId, Position, Revision, StreamId};

/// Most commands that are tried one after the other.
const MAX_COMMANDS: usize = 100;

/// An object on another way.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WhatIf {
    /// `container/` and its uuid.
    pub object: String,
    /// Its name then, where it has one.
    pub name: Option<String>,
    /// Where the ways part, as it was asked for.
    pub at: String,
    /// The position that it means.
    pub position: u64,
    /// Events that did not happen here.
    pub dropped: Vec<Entry>,
    /// What was asked here, and what would come of it.
    pub asked: Vec<Asked>,
    /// What would be shown of it; null if it would not be there.
    #[schema(value_type = Option<Object>)]
    pub view: Option<Value>,
    /// What its actor would hold.
    #[schema(value_type = Object)]
    pub state: Value,
    /// What differs from how it really was then.
    pub changes: Vec<Change>,
    /// The work that would be due.
    #[schema(value_type = Vec<Value>)]
    pub work: Vec<Value>,
}

/// A command that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Asked {
    /// The command.
    pub command: Value,
    /// Why it would be refused; null if it would not.
    pub refused: Option<String>,
    /// The events that would come of it; empty if it would change nothing.
    pub events: Vec<WouldBe>,
}

/// An event that would be.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WouldBe {
    /// What would happen: `container.start_requested`.
    pub r#type: String,
    /// The version of `data`.
    pub version: u16,
    /// In detail; depends on `type`.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// A field that would be another.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// The field, as `status` or `state.tasks.queue.0.id`.
    pub field: String,
    /// What it really was; null if it was not there.
    #[schema(value_type = Value)]
    pub was: Option<Value>,
    /// What it would be; null if it would not be there.
    #[schema(value_type = Value)]
    pub would_be: Option<Value>,
}

/// An object at a moment without some of its events, asked for some things.
///
/// # Errors
/// When there is no such object, moment or event, or the log cannot be read.
pub fn what_if(
    source: &Source,
    stream: StreamId,
    at: When,
    drop: &[EventId],
    commands: &[Value],
) -> Result<WhatIf, ReplayError> {
    if commands.len() > MAX_COMMANDS {
        let words = format!("at most {MAX_COMMANDS} commands can be tried at once.");
        return Err(ReplayError::Invalid(words));
    }
    let position = at.of(source, stream)?;
    let (real, last) = state::fold(source, stream, position)?;
    let Some(last) = last else {
        return Err(ReplayError::NotFound(format!("{stream} has no event up to {position}.")));
    };
    let (folded, dropped) = without(source, stream, position, drop)?;
    let mut way = Way { folded, last };
    let asked = commands.iter().map(|command| way.ask(command)).collect::<Result<_, _>>()?;
    let folded = way.folded;
    Ok(WhatIf {
        object: stream.to_string(),
        name: state::name(folded.as_ref()),
        at: at.to_string(),
        position: position.get(),
        dropped,
        asked,
        view: folded.view(),
        state: folded.state(),
        changes: changes(real.as_ref(), folded.as_ref()),
        work: folded.due(),
    })
}

/// An object at a position as if some of its events had not happened.
fn without(
    source: &Source,
    stream: StreamId,
    until: Position,
    drop: &[EventId],
) -> Result<(Box<dyn Object>, Vec<Entry>), ReplayError> {
    let (mut folded, mut dropped) = (object::new(stream), Vec::new());
    source.each_of(stream, until, |event| {
        if drop.contains(&event.id) {
            source.keep(event)?;
            dropped.push(Entry::from(event));
            folded.skip(event);
            return Ok(());
        }
        folded.take(event)
    })?;
    for id in drop {
        let is_there = |entry: &Entry| entry.id == id.to_string();
        if !dropped.iter().any(is_there) {
            return Err(ReplayError::NotFound(format!(
                "{stream} has no event {id} up to position {until}. `magnum replay timeline \
                 {stream} -o json` lists the ids of its events."
            )));
        }
    }
    Ok((folded, dropped))
}

/// An object that goes its own way, with the last event of it.
struct Way {
    folded: Box<dyn Object>,
    last: Recorded,
}

impl Way {
    /// Has a command decided at the time of the last event, and takes in what would come of it.
    fn ask(&mut self, command: &Value) -> Result<Asked, ReplayError> {
        let ctx = Ctx { now: self.last.time };
        let told = redacted(command.clone());
        match self.folded.decide(&command.to_string(), &ctx) {
            Ok(decided) => {
                let events = decided.iter().map(|it| self.take(it)).collect::<Result<_, _>>()?;
                Ok(Asked { command: told, refused: None, events })
            }
            Err(Undecided::Refused(refusal)) => {
                let refused = Some(refusal.to_string());
                Ok(Asked { command: told, refused, events: Vec::new() })
            }
            Err(Undecided::Unreadable(why)) => Err(ReplayError::Invalid(format!(
                "{told} is not a command of {}: {why}. The timeline shows commands as `command` \
                 with -o json.",
                self.last.stream.kind
            ))),
        }
    }

    /// Takes in an event that would be; its id counts from 1, since nobody mints one.
    fn take(&mut self, decided: &Decided) -> Result<WouldBe, ReplayError> {
        let Decided { event_type, version, payload } = decided;
        let stream = self.last.stream;
        let position = self.last.position.next();
        let data = payload_json(stream.kind, event_type, *version, payload)?;
        let event = Recorded {
            position,
            stream,
            revision: Revision(self.last.revision.get() + 1),
            id: EventId(uuid::Uuid::from_u128(u128::from(position.get()))),
            time: self.last.time,
            event_type: EventType::named(event_type),
            version: *version,
            meta: Meta { project: self.last.meta.project.clone(), ..Meta::default() },
            payload: payload.clone(),
            hash: [0; 32],
        };
        self.folded.take(&event)?;
        self.last = event;
        Ok(WouldBe { r#type: (*event_type).to_owned(), version: *version, data: redacted(data) })
    }
}

/// Which fields of two states differ, in what is shown of the object and in what its actor has.
fn changes(real: &dyn Object, other: &dyn Object) -> Vec<Change> {
    let fields = |object: &dyn Object| of_object(object.view().as_ref(), Some(&object.state()));
    let pairs = pairs(&fields(real), &fields(other)).into_iter();
    pairs
        .filter(|(_, was, would_be)| was != would_be)
        .map(|(field, was, would_be)| Change { field, was, would_be })
        .collect()
}
