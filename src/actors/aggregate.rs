//! An object's state with its place in the log: folded from a snapshot and its events.
//!
//! Pure but for reading the log. Not here: deciding and recording (`perform`), the actor that
//! holds it (`entity`).

use super::latest::LatestIds;
use super::naming::Naming;
use super::snapshot::{self, SnapshotPoint, Snapshots};
use super::{Entity, Fact};
use crate::bus::CommandReply;
use crate::events::log::{EventLog, ReadError};
use crate::events::{EventRef, Recorded};
use crate::ids::{EventId, Revision, StreamId, WorkId};

/// Events taken in at once: the log finds them back from the end, which takes as long for few.
const LOAD_PAGE: usize = 8192;

/// An object's state with its place in the log.
pub struct Aggregate<E: Entity> {
    pub(super) stream: StreamId,
    /// What its events fold to.
    pub state: E::State,
    /// What it is called.
    pub naming: Naming,
    /// The last event in it; `None` before the first.
    pub(super) place: Option<SnapshotPoint>,
    /// The ids of what was recorded here.
    pub(super) latest: LatestIds,
    /// The revision of the last snapshot.
    kept: Revision,
}

impl<E: Entity> Clone for Aggregate<E> {
    fn clone(&self) -> Self {
        let (state, naming) = (self.state.clone(), self.naming.clone());
        Self { state, naming, latest: self.latest.clone(), ..*self }
    }
}

impl<E: Entity> Aggregate<E> {
    /// An object before its first event.
    pub fn new(stream: StreamId) -> Self {
        let latest = LatestIds::default();
        let (state, naming) = Default::default();
        Self { stream, state, naming, place: None, latest, kept: Revision(0) }
    }

    /// An object as its last snapshot and the events after it say.
    ///
    /// # Errors
    /// When the log cannot be read, or holds events of a newer program.
    pub fn load(
        stream: StreamId,
        log: &dyn EventLog,
        snapshots: &Snapshots,
    ) -> Result<Self, ReadError> {
        let mut aggregate = Self::new(stream);
        if let Some((state, naming, place)) = snapshots.load::<E>(stream)
            && let Some(last) = log.read_stream(stream, place.revision, 1)?.first()
            && last.id == place.event_id
        {
            (aggregate.state, aggregate.naming) = (state, naming);
            (aggregate.place, aggregate.kept) = (Some(place), place.revision);
        }
        aggregate.catch_up(log)?;
        aggregate.keep(snapshots);
        Ok(aggregate)
    }

    /// Keeps a snapshot if enough has happened since the last one.
    pub(super) fn keep(&mut self, snapshots: &Snapshots) {
        let Some(place) = self.place else { return };
        if place.revision.get() > self.kept.get() + snapshot::EVERY {
            snapshots.save::<E>(self.stream, (&self.state, &self.naming), place);
            self.kept = place.revision;
        }
    }

    /// Takes in what the log has after the present revision.
    ///
    /// # Errors
    /// When the log cannot be read, or holds events of a newer program.
    pub fn catch_up(&mut self, log: &dyn EventLog) -> Result<(), ReadError> {
        loop {
            let (stream, from) = (self.stream, self.next());
            let mut take = |event: &EventRef<'_>| self.take(event);
            if log.scan_stream(stream, from, LOAD_PAGE, &mut take)? < LOAD_PAGE {
                break;
            }
        }
        self.latest = LatestIds::after(self.place.map(|place| place.latest_id));
        Ok(())
    }

    /// Whether one of the object's events has this id.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn has(
        stream: StreamId,
        id: EventId,
        log: &dyn EventLog,
    ) -> Result<bool, ReadError> {
        let (mut next, mut is_there) = (Revision(0), false);
        loop {
            let from = next;
            let mut look = |event: &EventRef<'_>| {
                is_there |= event.id == id;
                next = event.revision.next();
                Ok(())
            };
            if log.scan_stream(stream, from, LOAD_PAGE, &mut look)? < LOAD_PAGE || is_there {
                return Ok(is_there);
            }
        }
    }

    /// Takes in an event that was just recorded, and what lies between it and the present revision.
    ///
    /// # Errors
    /// When the log cannot be read, or this program cannot read the event.
    pub fn follow(&mut self, recorded: &Recorded, log: &dyn EventLog) -> Result<(), ReadError> {
        if recorded.revision > self.next() {
            return self.catch_up(log);
        }
        self.take(&recorded.borrowed())
    }

    /// Takes in the next event; one that was taken in before changes nothing.
    ///
    /// # Errors
    /// When it is not the next one, or this program cannot read it.
    pub fn take(&mut self, recorded: &EventRef<'_>) -> Result<(), ReadError> {
        debug_assert_eq!(recorded.stream, self.stream, "an event of another object");
        let next = self.next();
        if recorded.revision < next {
            return Ok(());
        }
        if recorded.revision > next {
            let (stream, found) = (self.stream, recorded.revision);
            return Err(ReadError::Damaged(format!(
                "{stream} has an event of revision {found} where {next} was expected"
            )));
        }
        let event = recorded.decode::<E::Event>().map_err(|error| {
            let (stream, position) = (self.stream, recorded.position);
            ReadError::Unreadable(format!("{stream} is stopped at position {position}: {error}"))
        })?;
        let fact = Fact {
            id: recorded.id,
            object: self.stream.id,
            time: recorded.time,
            project: recorded.project,
            request_id: recorded.request_id,
        };
        E::evolve(&mut self.state, &event, fact);
        self.naming.apply::<E>(&event);
        self.pass(recorded);
        Ok(())
    }

    /// Leaves the next event out, as if it had not happened.
    pub fn skip(&mut self, recorded: &EventRef<'_>) {
        debug_assert_eq!(recorded.revision, self.next(), "not the next event");
        self.pass(recorded);
    }

    fn pass(&mut self, recorded: &EventRef<'_>) {
        let before = self.place.unwrap_or_default().latest_id;
        self.place = Some(SnapshotPoint {
            revision: recorded.revision,
            position: recorded.position,
            event_id: recorded.id,
            latest_id: before.max(recorded.id),
        });
    }

    /// The revision of its last event.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.place.map(|place| place.revision)
    }

    /// The revision of its next event.
    fn next(&self) -> Revision {
        self.revision().map_or(Revision(0), Revision::next)
    }

    pub(super) fn reply(&self, work: Option<WorkId>) -> CommandReply {
        let SnapshotPoint { position, revision, .. } = self.place.unwrap_or_default();
        CommandReply { stream: self.stream, position, revision, work, repeated: false }
    }
}
