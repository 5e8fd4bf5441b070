//! A request from end to end: its commands, their events, the work that those requested, outcomes
//! and visible changes, as one tree with times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{self, FieldChange};
use super::timeline::{Step, Story, Told, WorkStory};
use super::{ReplayError, Source, diff, object};
use crate::events::Recorded;
use crate::ids::{EventId, Position, StreamId, Timestamp};

/// Most events of a trace, the first ones: what one request leads to is a few for each object that
/// it touches.
pub const MAX_EVENTS: usize = 10_000;

/// What a request led to.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Trace {
    /// The request.
    pub request_id: String,
    /// Who asked.
    pub user: String,
    /// The reason that was given.
    pub reason: Option<String>,
    /// When its first event was decided.
    pub began: String,
    /// Milliseconds from its first to its last event so far.
    pub took_ms: u64,
    /// Each event below the one that led to it.
    pub events: Vec<Traced>,
    /// The work that it asked for.
    pub works: Vec<WorkStory>,
    /// How many events after these are left out.
    pub omitted: u64,
}

/// An event of a request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Traced {
    /// The event, among those of the request.
    #[serde(flatten)]
    pub step: Step,
    /// What the read models show differently from then on.
    pub shown: Vec<FieldChange>,
}

/// What a request led to. Looks at the whole log.
///
/// # Errors
/// When no event has the request's id, or the log cannot be read.
pub fn trace(source: &Source, request_id: &str) -> Result<Trace, ReplayError> {
    let (events, omitted, end) = of_request(source, request_id)?;
    let Some(first) = events.first() else {
        return Err(ReplayError::NotFound(format!(
            "No event has the request id {request_id}. Find it in the response header \
             X-Openstack-Request-Id, or in the events of a timeline. Requests that only read, \
             or were refused, leave no events.{}",
            source.archived()
        )));
    };
    let mut trace = Trace {
        request_id: request_id.to_owned(),
        user: first.meta.user.clone(),
        reason: first.meta.reason.clone(),
        began: first.time.rfc3339(),
        took_ms: end.since_ms(first.time),
        events: Vec::new(),
        works: Vec::new(),
        omitted,
    };
    let streams: BTreeSet<StreamId> = events.iter().map(|event| event.stream).collect();
    let mut told: HashMap<Position, Told> = HashMap::new();
    let wanted: BTreeSet<Position> = events.iter().map(|event| event.position).collect();
    for stream in &streams {
        let is_wanted = |event: &Recorded| wanted.contains(&event.position);
        let story = Story::of(source, *stream, source.head(), is_wanted)?;
        told.extend(story.events.into_iter().map(|it| (it.event.position, it)));
        trace.works.extend(story.works);
    }
    let ids: BTreeSet<String> = events.iter().map(|event| event.id.to_string()).collect();
    trace.works.retain(|work| ids.contains(&work.id));
    trace.works.sort_by_key(|work| work.asked);
    let mut shown = visible(source, &streams, &wanted)?;
    for (event, depth, parent) in as_tree(&events) {
        let plain = || Told { event: event.clone(), work: None, took_ms: None };
        let told = told.remove(&event.position).unwrap_or_else(plain);
        trace.events.push(Traced {
            step: told.step(first.time, depth, parent),
            shown: shown.remove(&event.position).unwrap_or_default(),
        });
    }
    Ok(trace)
}

/// The first events of a request, in order, how many more there are, and when the last one was
/// decided.
fn of_request(
    source: &Source,
    request_id: &str,
) -> Result<(Vec<Recorded>, u64, Timestamp), ReplayError> {
    let (mut events, mut omitted, mut end) = (Vec::new(), 0, Timestamp::default());
    source.each(Position(0), source.head(), |event| {
        if event.meta.request_id == request_id {
            end = event.time;
            if events.len() < MAX_EVENTS {
                source.keep(event)?;
                events.push(event.clone());
            } else {
                omitted += 1;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((events, omitted, end))
}

/// What each of some events changed about what is shown.
fn visible(
    source: &Source,
    streams: &BTreeSet<StreamId>,
    wanted: &BTreeSet<Position>,
) -> Result<HashMap<Position, Vec<FieldChange>>, ReplayError> {
    let mut shown = HashMap::new();
    for stream in streams {
        let mut folded = object::new(*stream);
        source.each_of(*stream, source.head(), |event| {
            if !wanted.contains(&event.position) {
                return folded.take(event);
            }
            let before = diff::document(folded.as_ref());
            folded.take(event)?;
            let mut changed = fields::compare(&before, &diff::document(folded.as_ref()));
            changed.retain(|change| !fields::is_within(&change.field, "state"));
            shown.insert(event.position, changed);
            Ok(())
        })?;
    }
    Ok(shown)
}

/// Events in the order of a tree, with their depth and the position of the one above.
fn as_tree(events: &[Recorded]) -> Vec<(&Recorded, usize, Option<Position>)> {
    let places: HashMap<EventId, Position> =
        events.iter().map(|event| (event.id, event.position)).collect();
    let mut below: BTreeMap<Option<Position>, Vec<&Recorded>> = BTreeMap::new();
    for event in events {
        let cause = event.meta.causation.and_then(|id| places.get(&id).copied());
        // Causes come before effects; anything else would be no tree.
        let cause = cause.filter(|cause| *cause < event.position);
        below.entry(cause).or_default().push(event);
    }
    let mut tree = Vec::with_capacity(events.len());
    let roots = below.remove(&None).unwrap_or_default();
    let mut next: Vec<_> = roots.into_iter().rev().map(|event| (event, 0, None)).collect();
    while let Some((event, depth, parent)) = next.pop() {
        tree.push((event, depth, parent));
        let at = Some(event.position);
        let inner = below.remove(&at).unwrap_or_default();
        next.extend(inner.into_iter().rev().map(|event| (event, depth + 1, at)));
    }
    tree
}
