//! When a condition became true: for one object, for all of a noun, or for any.
//!
//! Normally every event is checked, because a condition may become false again. With `monotone` the
//! caller promises that it stays true: then only the end is checked, and the event is found by
//! bisection, over a few states kept on the way, then over those between two of them. Not here:
//! conditions (`condition`).

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::among::Among;
use super::condition::{Condition, Undecided};
use super::moments::{Moment, Moments};
use super::object::{self, Object};
use super::{ReplayError, Source};
use crate::each_noun;
use crate::events::Recorded;
use crate::ids::{ObjectId, Position, StreamId};
use crate::projections::View;
use crate::projections::as_of::SystemState;
use crate::projections::parallel::in_halves;

/// States that a bisection keeps at once. A state may have a few MiB, as much as a request; an
/// object with a million events is gone through five times.
const KEPT_MAX: usize = 32;

/// Objects that are bisected before all others are looked at again: of as many that became true in
/// any order, a sixty-fourth is left.
const SAMPLE: usize = 64;

/// How to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Only the first moment.
    pub first: bool,
    /// Once true, the condition stays true.
    pub monotone: bool,
}

/// When a condition became true.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Found {
    /// The condition.
    pub condition: String,
    /// Everything up to this position was looked at.
    pub position: u64,
    /// `scan` or `bisection`.
    pub by: String,
    /// Each moment at which it became true, oldest first.
    pub moments: Vec<Moment>,
    /// How many more there are.
    pub omitted: u64,
    /// Objects that were deleted up to this position are archived, and were not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<u64>,
}

/// Finds when a condition became true.
///
/// # Errors
/// When it cannot be meant, could never be decided, or the log cannot be read.
pub fn find(source: &Source, text: &str, among: Among, how: How) -> Result<Found, ReplayError> {
    let condition = Condition::read(text)?;
    let (moments, trouble) = (Moments::default(), EvaluationTrouble::None);
    let mut search = Search { source, condition, among, how, moments, trouble };
    match (how.monotone, among) {
        (true, Among::Object(stream)) => search.bisect(stream)?,
        (true, _) => search.bisect_all(among)?,
        (false, Among::Object(stream)) => search.scan_one(stream)?,
        (false, _) => search.scan_all(among)?,
    }
    if let (EvaluationTrouble::Only(words), None) = (&search.trouble, search.moments.first()) {
        return Err(ReplayError::Invalid(format!(
            "the condition could never be evaluated: {}.",
            words.trim_end_matches('.')
        )));
    }
    let (moments, omitted) = search.moments.told(source, how.first)?;
    Ok(Found {
        condition: text.to_owned(),
        position: source.head().get(),
        by: if how.monotone { "bisection" } else { "scan" }.to_owned(),
        moments,
        omitted,
        archived: Some(source.log().archived().get()).filter(|archived| *archived > 0),
    })
}

/// Whether the condition was ever neither true nor false.
enum EvaluationTrouble {
    None,
    /// Each time so far; the last words about it.
    Only(String),
    /// Now and then, as where a field has no value yet.
    Sometimes,
}

struct Search<'a> {
    source: &'a Source,
    condition: Condition,
    among: Among,
    how: How,
    moments: Moments,
    trouble: EvaluationTrouble,
}

impl Search<'_> {
    /// Notes a moment.
    fn note(&mut self, folded: &dyn Object, event: &Recorded) -> Result<(), ReplayError> {
        self.moments.note(self.source, folded, event)
    }

    fn holds(&mut self, folded: &dyn Object) -> Result<bool, ReplayError> {
        self.decided(self.condition.holds(folded), folded.head().is_some())
    }

    /// What a decision about an object, if it is there, says about the condition.
    fn decided(
        &mut self,
        holds: Result<bool, Undecided>,
        is_there: bool,
    ) -> Result<bool, ReplayError> {
        match holds {
            Ok(holds) => {
                if is_there {
                    self.trouble = EvaluationTrouble::Sometimes;
                }
                Ok(holds)
            }
            Err(Undecided::Invalid(words)) => Err(ReplayError::Invalid(words)),
            Err(Undecided::NoField(words)) if self.among != Among::All => {
                Err(ReplayError::Invalid(words))
            }
            Err(Undecided::NotNow(words) | Undecided::NoField(words)) => {
                if !matches!(self.trouble, EvaluationTrouble::Sometimes) {
                    self.trouble = EvaluationTrouble::Only(words);
                }
                Ok(false)
            }
        }
    }

    fn scan_one(&mut self, stream: StreamId) -> Result<(), ReplayError> {
        let (mut folded, mut held) = (object::new(stream), false);
        let (source, until) = (self.source, self.source.head());
        source.each_of(stream, until, |event| {
            folded.take(event)?;
            let holds = self.holds(folded.as_ref())?;
            if holds && !held {
                self.note(folded.as_ref(), event)?;
            }
            held = holds;
            Ok(())
        })
    }

    fn scan_all(&mut self, among: Among) -> Result<(), ReplayError> {
        let mut objects: HashMap<StreamId, (Box<dyn Object>, bool)> = HashMap::new();
        let (source, until) = (self.source, self.source.head());
        source.each(Position(0), until, |event| {
            if !among.takes(event.stream) {
                return Ok(ControlFlow::Continue(()));
            }
            let fresh = || (object::new(event.stream), false);
            let (folded, held) = objects.entry(event.stream).or_insert_with(fresh);
            folded.take(event)?;
            let holds = self.holds(folded.as_ref())?;
            if holds && !*held {
                self.note(folded.as_ref(), event)?;
                if self.how.first {
                    return Ok(ControlFlow::Break(()));
                }
            }
            *held = holds;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Looks at how all objects are at the end, and bisects those of which the condition is true.
    fn bisect_all(&mut self, among: Among) -> Result<(), ReplayError> {
        let streams = self.true_at(self.source.head(), |stream| among.takes(stream))?;
        if self.how.first {
            return self.bisect_first(streams);
        }
        streams.into_iter().try_for_each(|stream| self.bisect(stream))
    }

    /// Bisects some objects; of the others only those go on of which the condition was true before
    /// the first moment of these.
    fn bisect_first(&mut self, mut streams: Vec<StreamId>) -> Result<(), ReplayError> {
        loop {
            let step = streams.len().div_ceil(SAMPLE).max(1);
            let sample: HashSet<StreamId> = streams.iter().step_by(step).copied().collect();
            sample.iter().try_for_each(|stream| self.bisect(*stream))?;
            let first = self.moments.first();
            let Some(before) = first.filter(|_| step > 1).and_then(|it| it.checked_sub(1)) else {
                return Ok(());
            };
            let others: HashSet<StreamId> =
                streams.into_iter().filter(|stream| !sample.contains(stream)).collect();
            streams = self.true_at(Position(before), |stream| others.contains(&stream))?;
        }
    }

    /// The objects among these of which the condition was true at a position, in the order in which
    /// they were made.
    fn true_at(
        &mut self,
        at: Position,
        among: impl Fn(StreamId) -> bool,
    ) -> Result<Vec<StreamId>, ReplayError> {
        let mut found = if self.condition.names_state() {
            self.folded_true_at(at, among)?
        } else {
            let system = SystemState::as_of(self.source.log(), at)?;
            if system.parked.keys().any(|stream| among(*stream)) {
                // One event after the other, up to that which cannot be read.
                self.folded_true_at(at, among)?
            } else {
                self.shown_true_at(system, among)?
            }
        };
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, stream)| stream).collect())
    }

    /// The same where the condition names nothing but what is shown, which takes a fraction of the
    /// time: with when each was made.
    fn shown_true_at(
        &mut self,
        mut system: SystemState,
        among: impl Fn(StreamId) -> bool,
    ) -> Result<Vec<(Position, StreamId)>, ReplayError> {
        let mut found = Vec::new();
        each_noun!(view V => self.add_true(system.views.take::<V>(), &among, &mut found)?);
        Ok(found)
    }

    fn add_true<V: View>(
        &mut self,
        views: HashMap<ObjectId, V>,
        among: &impl Fn(StreamId) -> bool,
        found: &mut Vec<(Position, StreamId)>,
    ) -> Result<(), ReplayError> {
        let mut views: Vec<_> = views.into_iter().collect();
        views.retain(|(id, view)| {
            among(StreamId::new(V::KIND, *id)) && self.source.shows_project(&view.head().project)
        });
        let condition = &self.condition;
        let decided = in_halves(views, |views| {
            let each = views.into_iter().map(|(id, view)| {
                let made = (view.head().created_position, StreamId::new(V::KIND, id));
                (made, condition.holds_of(object::json(&view), Default::default))
            });
            each.collect::<Vec<_>>()
        });
        for (made, holds) in decided.into_iter().flatten() {
            if self.decided(holds, true)? {
                found.push(made);
            }
        }
        Ok(())
    }

    fn folded_true_at(
        &mut self,
        at: Position,
        among: impl Fn(StreamId) -> bool,
    ) -> Result<Vec<(Position, StreamId)>, ReplayError> {
        let mut objects: HashMap<StreamId, (Box<dyn Object>, Position)> = HashMap::new();
        self.source.each(Position(0), at, |event| {
            if among(event.stream) {
                let fresh = || (object::new(event.stream), event.position);
                objects.entry(event.stream).or_insert_with(fresh).0.take(event)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut found = Vec::new();
        for (stream, (folded, created)) in objects {
            if self.holds(folded.as_ref())? {
                found.push((created, stream));
            }
        }
        Ok(found)
    }

    /// Finds the event of one object that made the condition true for good: between two states at
    /// a time, until these are those right before and after it.
    fn bisect(&mut self, stream: StreamId) -> Result<(), ReplayError> {
        let mut from = (object::new(stream), Position(0));
        let mut until = self.source.head();
        loop {
            let Steps { mut states, every, .. } = self.steps(stream, &from, until)?;
            let Some((last, _)) = states.last() else { return Ok(()) };
            if !self.holds(last.as_ref())? {
                return Ok(());
            }
            let (mut low, mut high) = (0, states.len() - 1);
            while low < high {
                let middle = low + (high - low) / 2;
                let Some((state, _)) = states.get(middle) else { break };
                if self.holds(state.as_ref())? { high = middle } else { low = middle + 1 }
            }
            states.truncate(low + 1);
            let Some((state, position)) = states.pop() else { return Ok(()) };
            if every == 1 {
                let event = self.source.at(position)?;
                return event.map_or(Ok(()), |event| self.note(state.as_ref(), &event));
            }
            until = position;
            if let Some(before) = states.pop() {
                from = before;
            }
        }
    }

    /// The states of an object between one of them and a position, which is the last one.
    fn steps(
        &self,
        stream: StreamId,
        (state, from): &(Box<dyn Object>, Position),
        until: Position,
    ) -> Result<Steps, ReplayError> {
        let mut steps = Steps { states: Vec::new(), every: 1, count: 0 };
        let (mut folded, mut last) = (state.fork(), *from);
        self.source.each_of(stream, until, |event| {
            if event.position > *from {
                folded.take(event)?;
                last = event.position;
                steps.pass(folded.as_ref(), last);
            }
            Ok(())
        })?;
        if steps.states.last().is_some_and(|(_, position)| *position < last) {
            steps.states.push((folded, last));
        }
        Ok(steps)
    }
}

/// States of an object, each with the position up to which it is.
struct Steps {
    states: Vec<(Box<dyn Object>, Position)>,
    /// Events between two of them.
    every: usize,
    /// Events so far.
    count: usize,
}

impl Steps {
    /// Keeps a state if it is its turn; where there would be too many, only every other one.
    fn pass(&mut self, state: &dyn Object, position: Position) {
        self.count += 1;
        if !self.count.is_multiple_of(self.every) {
            return;
        }
        if self.states.len() == KEPT_MAX {
            let mut number = 0;
            self.states.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.every *= 2;
        }
        if self.count.is_multiple_of(self.every) {
            self.states.push((state.fork(), position));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock;
    use crate::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
    use crate::events::log::excerpt::ExcerptLog;
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, EventLog, Expected};
    use crate::events::work::{FieldChange, UpdatedV1};
    use crate::events::{Meta, NewEvent};
    use crate::ids::{Kind, Revision};
    use crate::projections::baymodel::BaymodelView;

    const OBJECTS: u128 = 300;

    /// Objects that are made in one order and renamed in another, by a step through all of them.
    async fn renamed(step: u128) -> Source {
        let log = MemoryLog::default();
        for renames in [false, true] {
            for number in 0..OBJECTS {
                let number = if renames { (number * step + 7) % OBJECTS } else { number };
                let changes = vec![FieldChange { field: "name".into(), value: "\"b\"".into() }];
                let (expected, event) = if renames {
                    let event = BaymodelEvent::Updated(UpdatedV1 { changes });
                    (Expected::Exact(Revision(0)), event)
                } else {
                    let fields =
                        BaymodelFields { name: Some("a".into()), ..BaymodelFields::default() };
                    (Expected::NoStream, BaymodelEvent::Created(BaymodelCreatedV1 { fields }))
                };
                let id = clock::new_event_id();
                let event = NewEvent::new(id, clock::now(), Meta::default(), &event);
                let stream = StreamId::new(Kind::Baymodel, ObjectId(uuid::Uuid::from_u128(number)));
                let append = Append { stream, expected, command: None, events: vec![event] };
                log.append(append).await.unwrap();
            }
        }
        Source::new(Arc::new(log))
    }

    #[tokio::test]
    async fn the_first_of_many_is_found_by_bisection_as_by_scan() {
        for step in [1, 7, 113, 299] {
            let source = renamed(step).await;
            let found = |condition, monotone| {
                let how = How { first: true, monotone };
                find(&source, condition, Among::All, how).unwrap().moments
            };
            let scanned = found("name == 'b'", false);
            assert_eq!(scanned[0].event.position, OBJECTS as u64 + 1);
            assert_eq!(found("name == 'b'", true), scanned);
            assert_eq!(found("state.status == 'Present' && name == 'b'", true), scanned);
        }
    }

    /// However many events an object has, and wherever among them it is.
    #[tokio::test]
    async fn a_bisection_keeps_a_few_states_and_finds_every_event() {
        let counts = [1, 2, KEPT_MAX, KEPT_MAX + 1, 2 * KEPT_MAX, 3 * KEPT_MAX + 5, 700];
        for count in counts {
            let log = MemoryLog::default();
            let stream = StreamId::new(Kind::Baymodel, ObjectId(uuid::Uuid::from_u128(1)));
            for number in 0..count {
                let value = format!("\"{number:03}\"");
                let changes = vec![FieldChange { field: "name".into(), value }];
                let name = Some("000".to_owned());
                let fields = BaymodelFields { name, ..BaymodelFields::default() };
                let (expected, event) = match (number as u64).checked_sub(1) {
                    None => {
                        let event = BaymodelEvent::Created(BaymodelCreatedV1 { fields });
                        (Expected::NoStream, event)
                    }
                    Some(last) => {
                        let event = BaymodelEvent::Updated(UpdatedV1 { changes });
                        (Expected::Exact(Revision(last)), event)
                    }
                };
                let id = clock::new_event_id();
                let event = NewEvent::new(id, clock::now(), Meta::default(), &event);
                let append = Append { stream, expected, command: None, events: vec![event] };
                log.append(append).await.unwrap();
            }
            let source = Source::new(Arc::new(log));
            let mut search = Search {
                source: &source,
                condition: Condition::read("name >= '000'").unwrap(),
                among: Among::Object(stream),
                how: How { first: false, monotone: true },
                moments: Moments::default(),
                trouble: EvaluationTrouble::None,
            };
            let start = (object::new(stream), Position(0));
            let steps = search.steps(stream, &start, source.head()).unwrap();
            assert!(steps.states.len() <= KEPT_MAX + 1, "{count}: {}", steps.states.len());
            for wanted in (0..count).step_by(count.div_ceil(40)) {
                let condition = format!("name >= '{wanted:03}'");
                search.condition = Condition::read(&condition).unwrap();
                search.moments = Moments::default();
                search.bisect(stream).unwrap();
                let first = search.moments.first();
                assert_eq!(first, Some(wanted as u64 + 1), "{wanted} of {count}");
            }
        }
    }

    /// A bundle has the positions of the log that it is from.
    #[tokio::test]
    async fn what_is_between_the_events_of_a_bundle_is_no_end() {
        let whole = renamed(113).await;
        let mut events = whole.log().read(Position(0), usize::MAX).unwrap();
        events.retain(|event| event.position.get() != OBJECTS as u64);
        let first = events.iter().find(|event| event.revision == Revision(1)).unwrap().position;
        let source = Source::new(Arc::new(ExcerptLog::new(events)));
        let how = How { first: true, monotone: true };
        let found = find(&source, "name == 'b'", Among::All, how).unwrap().moments;
        assert_eq!(found[0].event.position, first.get());
        let mut seen = 0;
        let see = |_: &Recorded| {
            seen += 1;
            Ok(ControlFlow::Continue(()))
        };
        source.each(Position(0), Position(first.get() - 1), see).unwrap();
        assert_eq!(seen, OBJECTS as u64 - 1);
        let before = SystemState::as_of(source.log(), Position(first.get() - 1)).unwrap();
        assert_eq!(before.position, Position(first.get() - 2));
        assert!(
            before
                .views
                .of::<BaymodelView>()
                .values()
                .all(|view| view.fields.name.as_deref() == Some("a"))
        );
    }
}
