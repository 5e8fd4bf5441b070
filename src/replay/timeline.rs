//! The history of an object, in order: requests, causes, work and outcomes.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::entry::Entry;
use super::object::{self, Object};
use super::source::size;
use super::{ReplayError, Source, state};
use crate::events::{Mark, Recorded, codec};
use crate::ids::{EventId, Kind, Position, Revision, StreamId, Timestamp};

/// Most events of a timeline, the last ones: what a person looks through, and 20 MB at most.
pub const MAX_EVENTS: usize = 10_000;

/// What happened to an object, or to it and those around it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Timeline {
    /// `container/` and its uuid.
    pub object: String,
    /// Its last name, where it has one.
    pub name: Option<String>,
    /// Every object in it.
    pub objects: Vec<Named>,
    /// What happened, oldest first.
    pub events: Vec<Step>,
    /// Work that was asked for, oldest first.
    pub works: Vec<WorkStory>,
    /// How many events before these are left out.
    pub omitted: u64,
}

/// An object with its last name.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Named {
    /// `container/` and its uuid.
    pub object: String,
    /// Where it has one.
    pub name: Option<String>,
}

/// An event among others.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Step {
    /// The event.
    pub event: Entry,
    /// How many events, each of which led to the next, led to it among them.
    pub depth: usize,
    /// The position of the one that led to it, where it is among them.
    pub parent: Option<u64>,
    /// Milliseconds since the first of them.
    pub since_ms: u64,
    /// The work that it asks for, or that it is about: `start`.
    pub work: Option<String>,
    /// For an event about work: milliseconds since that was asked for.
    pub took_ms: Option<u64>,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WorkStory {
    /// Its id: that of the event that asked for it.
    pub id: String,
    /// `container/` and its uuid.
    pub object: String,
    /// `start`.
    pub action: String,
    /// The position of the event that asked for it.
    pub asked: u64,
    /// `done`, `failed`, `unknown`, `cancelled`, or `waiting` where it has not ended.
    pub outcome: String,
    /// The position of the event that ended it.
    pub ended: Option<u64>,
    /// Milliseconds from being asked for to its end.
    pub took_ms: Option<u64>,
    /// How many attempts ended before.
    pub attempts: u32,
    /// The backend's last words about it.
    pub words: Option<String>,
}

/// The timeline of an object; with `related` also of its bay, its node, and the containers on it.
///
/// # Errors
/// When there is no such object, or the log cannot be read.
pub fn timeline(
    source: &Source,
    stream: StreamId,
    related: bool,
    until: Position,
) -> Result<Timeline, ReplayError> {
    let mut streams = BTreeSet::from([stream]);
    if related {
        streams.extend(around(source, stream, until)?);
    }
    let (mut told, mut omitted) = (Vec::new(), 0);
    let mut works = Vec::new();
    let (mut objects, mut name) = (Vec::new(), None);
    for object in &streams {
        let story = Story::of(source, *object, until, |_| true)?;
        if *object == stream {
            name.clone_from(&story.name);
        }
        objects.push(Named { object: object.to_string(), name: story.name });
        told.extend(story.events);
        omitted += story.omitted + leave_latest(source, &mut told);
        works.extend(story.works);
    }
    if told.is_empty() {
        return Err(ReplayError::NotFound(format!("The log has no event of {stream}.")));
    }
    if omitted > 0 {
        let first = told.first().map_or(0, |told| told.event.position.get());
        works.retain(|work: &WorkStory| work.ended.is_none_or(|ended| ended >= first));
    }
    works.sort_by_key(|work: &WorkStory| work.asked);
    let events = as_tree(told);
    let object = stream.to_string();
    Ok(Timeline { object, name, objects, events, works, omitted })
}

/// Puts events in order and leaves the last ones, as many as an answer may have; how many it drops.
fn leave_latest(source: &Source, told: &mut Vec<Told>) -> u64 {
    told.sort_by_key(|told| told.event.position);
    let (mut bytes, mut events) = (0, 0);
    let fit = told.iter().rev().take_while(|told| {
        (bytes, events) = (bytes + size(&told.event), events + 1);
        events <= MAX_EVENTS && (source.fits(bytes) || events == 1)
    });
    let dropped = told.len() - fit.count();
    told.drain(..dropped);
    dropped as u64
}

/// An event with what it means for work.
pub(super) struct Told {
    pub event: Recorded,
    pub work: Option<String>,
    pub took_ms: Option<u64>,
}

impl Told {
    /// With its place among other events, the first of which was at `begin`.
    pub fn step(self, begin: Timestamp, depth: usize, parent: Option<Position>) -> Step {
        Step {
            since_ms: self.event.time.since_ms(begin),
            event: Entry::from(&self.event),
            depth,
            parent: parent.map(Position::get),
            work: self.work,
            took_ms: self.took_ms,
        }
    }
}

/// Puts events, in order, under those that led to them.
pub(super) fn as_tree(told: Vec<Told>) -> Vec<Step> {
    let begin = told.first().map(|told| told.event.time).unwrap_or_default();
    let mut places: HashMap<EventId, (Position, usize)> = HashMap::new();
    let mut steps = Vec::with_capacity(told.len());
    for told in told {
        let parent = told.event.meta.causation.and_then(|cause| places.get(&cause).copied());
        let depth = parent.map_or(0, |(_, depth)| depth + 1);
        places.insert(told.event.id, (told.event.position, depth));
        steps.push(told.step(begin, depth, parent.map(|(position, _)| position)));
    }
    steps
}

/// What happened to one object.
pub(super) struct Story {
    pub name: Option<String>,
    /// The last of the events that are wanted.
    pub events: Vec<Told>,
    /// How many before these there are.
    pub omitted: u64,
    pub works: Vec<WorkStory>,
}

impl Story {
    /// Folds an object and watches its work.
    pub fn of(
        source: &Source,
        stream: StreamId,
        until: Position,
        wants: impl Fn(&Recorded) -> bool,
    ) -> Result<Self, ReplayError> {
        let mut folded = object::new(stream);
        let mut story = Self { name: None, events: Vec::new(), omitted: 0, works: Vec::new() };
        let mut bytes = 0;
        let mut open: HashMap<EventId, Open> = HashMap::new();
        source.each_of(stream, until, |event| {
            folded.take(event)?;
            story.name = state::name(folded.as_ref()).or(story.name.take());
            let told = story.watch(folded.as_ref(), event, &mut open);
            if wants(event) {
                story.events.push(told);
                bytes += size(event);
                // Now and then, so that it costs little for each event.
                if story.events.len() > 2 * MAX_EVENTS || !source.fits(bytes / 2) {
                    story.omitted += leave_latest(source, &mut story.events);
                    bytes = story.events.iter().map(|told| size(&told.event)).sum();
                }
            }
            Ok(())
        })?;
        Ok(story)
    }

    /// Notes what an event, which was just taken in, means for work.
    fn watch(
        &mut self,
        folded: &dyn Object,
        event: &Recorded,
        open: &mut HashMap<EventId, Open>,
    ) -> Told {
        let mut told = Told { event: event.clone(), work: None, took_ms: None };
        if let Some(asked) = folded.tasks().iter().find(|task| task.id == event.id) {
            told.work = Some(asked.action.clone());
            open.insert(event.id, Open { asked: event.time, place: self.works.len() });
            self.works.push(WorkStory {
                id: event.id.to_string(),
                object: event.stream.to_string(),
                action: asked.action.clone(),
                asked: event.position.get(),
                outcome: "waiting".to_owned(),
                ended: None,
                took_ms: None,
                attempts: 0,
                words: None,
            });
        }
        let about = event.meta.causation.filter(|id| open.contains_key(id));
        let waits = |id: &EventId| folded.tasks().iter().find(|task| task.id == *id);
        let ended: Vec<EventId> = open.keys().filter(|id| waits(id).is_none()).copied().collect();
        for id in about.iter().chain(&ended) {
            let Some(Open { asked, place }) = open.get(id) else { continue };
            let took_ms = Some(event.time.since_ms(*asked));
            let Some(work) = self.works.get_mut(*place) else { continue };
            if let Some(task) = waits(id) {
                work.attempts = task.attempts;
                work.words = task.reason.clone().or(work.words.take());
            } else {
                let last = folded.outcomes().iter().rfind(|outcome| outcome.work_id == *id);
                work.words = last.and_then(|last| last.failure.clone()).or(work.words.take());
                work.outcome = ending(event, *id).to_owned();
                work.ended = Some(event.position.get());
                work.took_ms = took_ms;
            }
            if about == Some(*id) {
                told.work = Some(work.action.clone());
                told.took_ms = took_ms;
            }
        }
        open.retain(|id, _| !ended.contains(id));
        told
    }
}

/// Work that has not ended.
struct Open {
    asked: Timestamp,
    place: usize,
}

/// How an event ends work.
fn ending(event: &Recorded, work: EventId) -> &'static str {
    match codec::mark(event.event_type.as_str()) {
        _ if event.meta.causation != Some(work) => "cancelled",
        Some(Mark::Failed) => "failed",
        Some(Mark::Unknown) => "unknown",
        _ => "done",
    }
}

/// The objects around one: the bay and the node it is on, and those that are on it.
pub(super) fn around(
    source: &Source,
    stream: StreamId,
    until: Position,
) -> Result<Vec<StreamId>, ReplayError> {
    let Some(first) = source.first_of(stream)? else { return Ok(Vec::new()) };
    let mut found = places(state::fold(source, stream, first.position)?.0.as_ref());
    if matches!(stream.kind.noun(), Some(Kind::Bay | Kind::Node)) {
        source.each(first.position, until, |event| {
            let is_first = event.revision == Revision(0);
            let may_be_on_it =
                matches!(event.stream.kind.noun(), Some(Kind::Bay | Kind::Container | Kind::Pod));
            if is_first && may_be_on_it {
                let mut member = object::new(event.stream);
                member.take(event)?;
                if places(member.as_ref()).contains(&stream) {
                    found.push(event.stream);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(found)
}

/// The bay and the node that an object is on.
fn places(folded: &dyn Object) -> Vec<StreamId> {
    let place = |field, kind| {
        let id = folded.field(field)?.parse().ok()?;
        Some(StreamId::new(kind, id))
    };
    [place("bay_uuid", Kind::Bay), place("node_uuid", Kind::Node)].into_iter().flatten().collect()
}
