//! The whole system at two points in time: which objects were created, deleted and changed, and the
//! last change of each.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{self, FieldChange};
use super::when::in_order;
use super::{ReplayError, Source, When};
use crate::ids::{ObjectId, Position, StreamId};
use crate::projections::View;
use crate::projections::as_of::SystemState;
use crate::with_noun;

/// Most objects of an answer: 20 MB.
const MAX_OBJECTS: usize = 10_000;

/// What changed in the whole system.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SystemDiff {
    /// The position of the first moment.
    pub from: u64,
    /// The position of the second one.
    pub to: u64,
    /// How many objects appeared, went, changed, and came and went.
    pub counts: BTreeMap<String, u64>,
    /// The objects, in the order in which the last thing was done to them.
    pub objects: Vec<ObjectDiff>,
    /// How many objects before these are left out.
    pub omitted: u64,
}

/// What changed about an object.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ObjectDiff {
    /// `container/` and its uuid.
    pub object: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// `appeared`, `gone`, `changed`, or `passed` where it came and went between the two moments.
    pub change: String,
    /// What is shown differently, where it was there at both moments.
    pub fields: Vec<FieldChange>,
    /// How many events it had.
    pub events: u64,
    /// The last of them: its position,
    pub last: u64,
    /// when it was,
    pub time: String,
    /// what it was,
    pub r#type: String,
    /// who asked for it,
    pub user: String,
    /// in which request.
    pub request_id: String,
}

/// What happened to an object between two moments.
struct Touched {
    events: u64,
    position: Position,
    time: String,
    event_type: String,
    user: String,
    request_id: String,
}

/// What changed between two moments in all that a source shows.
///
/// # Errors
/// When there is no such moment, or the log cannot be read.
pub fn diff(source: &Source, from: When, to: When) -> Result<SystemDiff, ReplayError> {
    let (from, to) = (from.anywhere(source)?, to.anywhere(source)?);
    in_order(from, to)?;
    let mut system = SystemState::as_of(source.log(), from)?;
    let mut touched: HashMap<StreamId, Touched> = HashMap::new();
    // Only what is touched can differ: the rest of the system need not be kept twice.
    let mut before: HashMap<StreamId, Option<(String, Value)>> = HashMap::new();
    source.each(from, to, |event| {
        let stream = event.stream;
        before.entry(stream).or_insert_with(|| shown(&system, stream));
        system.apply(source.log(), &event.borrowed())?;
        let events = touched.get(&stream).map_or(1, |touched| touched.events + 1);
        let last = Touched {
            events,
            position: event.position,
            time: event.time.rfc3339(),
            event_type: event.event_type.as_str().to_owned(),
            user: event.meta.user.clone(),
            request_id: event.meta.request_id.clone(),
        };
        touched.insert(stream, last);
        Ok(ControlFlow::Continue(()))
    })?;
    let mut objects: Vec<ObjectDiff> = touched
        .into_iter()
        .filter_map(|(stream, touched)| {
            let before = before.remove(&stream).flatten();
            object(stream, before, shown(&system, stream), touched)
        })
        .collect();
    objects.sort_by_key(|object| object.last);
    let mut counts = BTreeMap::new();
    for object in &objects {
        *counts.entry(object.change.clone()).or_insert(0) += 1;
    }
    let omitted = objects.len().saturating_sub(MAX_OBJECTS);
    let objects = objects.split_off(omitted);
    Ok(SystemDiff { from: from.get(), to: to.get(), counts, objects, omitted: omitted as u64 })
}

/// What changed about an object; `None` if nothing is shown differently.
fn object(
    stream: StreamId,
    before: Option<(String, Value)>,
    after: Option<(String, Value)>,
    touched: Touched,
) -> Option<ObjectDiff> {
    let mut fields = Vec::new();
    let change = match (&before, &after) {
        (None, Some(_)) => "appeared",
        (Some(_), None) => "gone",
        (None, None) => "passed",
        (Some((_, before)), Some((_, after))) => {
            fields = fields::compare(before, after);
            fields.retain(|change| !fields::is_within(&change.field, "head"));
            "changed"
        }
    };
    if change == "changed" && fields.is_empty() {
        return None;
    }
    let name = after.or(before).map(|(name, _)| name).filter(|name| !name.is_empty());
    Some(ObjectDiff {
        object: stream.to_string(),
        name,
        change: change.to_owned(),
        fields,
        events: touched.events,
        last: touched.position.get(),
        time: touched.time,
        r#type: touched.event_type,
        user: touched.user,
        request_id: touched.request_id,
    })
}

/// The name of an object and what is shown of it.
fn shown(system: &SystemState, stream: StreamId) -> Option<(String, Value)> {
    fn of<V: View>(system: &SystemState, id: ObjectId) -> Option<(String, Value)> {
        let view = system.views.of::<V>().get(&id)?;
        let name = view.field("name").or_else(|| view.field("host")).unwrap_or_default();
        Some((name, serde_json::to_value(view).unwrap_or_default()))
    }
    with_noun!(stream.kind.noun()?, view V => of::<V>(system, stream.id))
}
