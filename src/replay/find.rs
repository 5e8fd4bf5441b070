//! When a condition became true: for one object, for all of a noun, or for any.
//!
//! Normally every event is checked, because a condition may become false again. With `monotone` the
//! caller promises that it stays true: then only the end is checked, and the event is found by
//! bisection, first over states kept on the way, then over the events between two of them. Not
//! here: conditions (`condition`).

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::among::Among;
use super::condition::{Condition, Undecided};
use super::moments::{Moment, Moments};
use super::object::{self, Object};
use super::source::size;
use super::{ReplayError, Source};
use crate::each_noun;
use crate::events::Recorded;
use crate::ids::{ObjectId, Position, StreamId};
use crate::projections::View;
use crate::projections::as_of::SystemState;
use crate::projections::parallel::in_halves;

/// Events between two states that are kept for a bisection: some ten steps lie between them, and an
/// object with a million events keeps a thousand states.
const KEPT_EVERY: usize = 1_024;

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
            "the condition could never be evaluated: {words}."
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

    /// Finds the event of one object that made the condition true for good.
    fn bisect(&mut self, stream: StreamId) -> Result<(), ReplayError> {
        let mut folded = object::new(stream);
        // Each state with the position up to which it is.
        let mut kept = vec![(folded.fork(), Position(0))];
        let (mut count, mut last) = (0, Position(0));
        self.source.each_of(stream, self.source.head(), |event| {
            folded.take(event)?;
            (count, last) = (count + 1, event.position);
            if count % KEPT_EVERY == 0 {
                kept.push((folded.fork(), last));
            }
            Ok(())
        })?;
        if !self.holds(folded.as_ref())? {
            return Ok(());
        }
        let (mut low, mut high) = (0, kept.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let is_true = match kept.get(middle) {
                Some((state, _)) => self.holds(state.as_ref())?,
                None => true,
            };
            if is_true { high = middle } else { low = middle + 1 }
        }
        let until = kept.get(low).map_or(last, |(_, position)| *position);
        let Some((state, from)) = kept.into_iter().nth(low.saturating_sub(1)) else {
            return Ok(());
        };
        self.narrow(stream, state, from, until)
    }

    /// Bisects the events between two states of an object.
    fn narrow(
        &mut self,
        stream: StreamId,
        state: Box<dyn Object>,
        from: Position,
        until: Position,
    ) -> Result<(), ReplayError> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        self.source.each_of(stream, until, |event| {
            if event.position > from {
                bytes += size(event);
                if !self.source.fits(bytes) {
                    return Err(ReplayError::TooLarge(bytes));
                }
                events.push(event.clone());
            }
            Ok(())
        })?;
        let after = |count: usize| {
            let mut folded = state.fork();
            events.iter().take(count).try_for_each(|event| folded.take(event))?;
            Ok::<_, ReplayError>(folded)
        };
        let (mut low, mut high) = (1, events.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let folded = after(middle)?;
            if self.holds(folded.as_ref())? { high = middle } else { low = middle + 1 }
        }
        if let Some(event) = events.get(low.saturating_sub(1)) {
            let folded = after(low)?;
            self.note(folded.as_ref(), event)?;
        }
        Ok(())
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
