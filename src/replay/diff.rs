//! What changed between two points in time, field by field, with the event and the user.
//!
//! A field is one of the view (`status`) or of the actor's state (`state.status`). Positions and
//! times of the last change do not count as changes. Not here: the whole system (`system`).

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::entry::Entry;
use super::fields::{self, FieldChange};
use super::object::{self, Object};
use super::when::{in_order, last_by};
use super::{ReplayError, Source, When, state};
use crate::ids::{Position, StreamId};

/// What changed about an object.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Diff {
    /// `container/` and its uuid.
    pub object: String,
    /// Its last name, where it has one.
    pub name: Option<String>,
    /// The position of the first moment.
    pub from: u64,
    /// The position of the second one.
    pub to: u64,
    /// What differs between the two.
    pub fields: Vec<FieldChange>,
    /// Each step from one to the other, oldest first.
    pub steps: Vec<Changed>,
}

/// What an event changed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Changed {
    /// The event: what, by whom, why, in which request.
    pub event: Entry,
    /// What it changed.
    pub fields: Vec<FieldChange>,
}

/// Who set a field, and what led to it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Blame {
    /// `container/` and its uuid.
    pub object: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The field.
    pub field: String,
    /// What it is.
    pub value: Value,
    /// What the event changed about it.
    pub changed: Vec<FieldChange>,
    /// The event that set it, then the one that led to that, up to the request.
    pub chain: Vec<Entry>,
}

/// What changed about an object from one moment to another; before its first event it was nothing.
///
/// # Errors
/// When there is no such object or moment, or the log cannot be read.
pub fn diff(source: &Source, stream: StreamId, from: When, to: When) -> Result<Diff, ReplayError> {
    // Of a revision only the object knows; everything else may be before its first event.
    let from = match from {
        When::Revision(_) => from.of(source, stream)?,
        When::Time(time) => last_by(source, stream, time)?.unwrap_or_default(),
        other => other.place(source)?,
    };
    let to = to.of(source, stream)?;
    in_order(from, to)?;
    let mut folded = object::new(stream);
    let mut before = Value::Null;
    let (mut now, mut steps, mut name) = (Value::Null, Vec::new(), None);
    source.each_of(stream, to, |event| {
        folded.take(event)?;
        name = state::name(folded.as_ref()).or(name.take());
        let after = document(folded.as_ref());
        if event.position <= from {
            before.clone_from(&after);
        } else {
            source.keep(event)?;
            let fields = fields::compare(&now, &after);
            steps.push(Changed { event: Entry::from(event), fields });
        }
        now = after;
        Ok(())
    })?;
    let fields = fields::compare(&before, &now);
    let (from, to) = (from.get(), to.get());
    Ok(Diff { object: stream.to_string(), name, from, to, fields, steps })
}

/// The last event that set a field, and what led to it.
///
/// # Errors
/// When there is no such object, moment or field, or the log cannot be read.
pub fn blame(
    source: &Source,
    stream: StreamId,
    field: &str,
    at: When,
) -> Result<Blame, ReplayError> {
    let until = at.of(source, stream)?;
    let (name, now, found) = last_change(source, stream, field, until)?;
    let value = fields::at(&now, field);
    let Some((event, changed)) = found else {
        let known: Vec<String> = fields::flatten(&now).into_iter().map(|(name, _)| name).collect();
        return Err(ReplayError::Invalid(match value {
            Some(value) => format!("{field} of {stream} is {value}, and no event ever set it."),
            None => format!("{stream} has no field {field}. It has: {}.", known.join(", ")),
        }));
    };
    Ok(Blame {
        object: stream.to_string(),
        name,
        field: field.to_owned(),
        value: value.cloned().unwrap_or_default(),
        changed,
        chain: super::cause::chain(source, &event)?.iter().map(Entry::from).collect(),
    })
}

type Last = Option<(crate::events::Recorded, Vec<FieldChange>)>;

/// The name, the present document, and the last event that changed a field of an object.
fn last_change(
    source: &Source,
    stream: StreamId,
    field: &str,
    until: Position,
) -> Result<(Option<String>, Value, Last), ReplayError> {
    let mut folded = object::new(stream);
    let (mut now, mut name, mut found) = (Value::Null, None, None);
    source.each_of(stream, until, |event| {
        folded.take(event)?;
        name = state::name(folded.as_ref()).or(name.take());
        let after = document(folded.as_ref());
        let changed: Vec<FieldChange> = fields::compare(&now, &after)
            .into_iter()
            .filter(|change| fields::is_within(&change.field, field))
            .collect();
        if !changed.is_empty() {
            found = Some((event.clone(), changed));
        }
        now = after;
        Ok(())
    })?;
    Ok((name, now, found))
}

/// An object as one document: what is shown of it, and below `state` what its actor decides by.
pub fn document(folded: &dyn Object) -> Value {
    let shown = folded.view();
    let mut fields = match shown {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.remove("head");
    fields.insert("exists".to_owned(), json!(folded.head().is_some()));
    fields.insert("state".to_owned(), folded.state());
    Value::Object(fields)
}
