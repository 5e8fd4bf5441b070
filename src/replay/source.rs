//! Where events come from: a server's own log, a folder of segment files, an export. Read-only.
//!
//! In files everything is visible; a server shows a caller only its own project. Not here: points
//! in time (`when`).

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ReplayError;
use crate::events::Recorded;
use crate::events::log::segment::OfflineLog;
use crate::events::log::segment::manifest::{BackupDisk, Manifest};
use crate::events::log::{EventLog, OpenError, export, memory::MemoryLog, moment};
use crate::ids::{EventId, Position, ProjectId, Revision, StreamId, StreamKind, Timestamp};

/// Events that are in memory at once: a payload has 1 KB as a rule.
const PAGE: usize = 512;

/// Most bytes of events that one answer of a server is made of: 10,000 as a rule. As documents they
/// take some ten times as much.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// What an event takes besides its payload and its command.
const EVENT_BYTES: usize = 512;

/// How far the times of neighbours in the log may differ: an event's time is that of its decision,
/// and it waits for the writer; clocks are set right by less than that as a rule. Where it is more,
/// the whole log is searched.
const SKEW_MS: u64 = 60_000;

/// A log, for reading.
#[derive(Clone)]
pub struct Source {
    log: Arc<dyn EventLog>,
    project: Option<ProjectId>,
    /// Whether what was audited is shown.
    audits: bool,
    /// Bytes that the answer may still keep; any number where it is for whoever has the files.
    room: Option<Arc<AtomicUsize>>,
}

impl Source {
    /// All of a log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, project: None, audits: true, room: None }
    }

    /// What a log has of one project, for one answer.
    pub fn of_project(log: Arc<dyn EventLog>, project: ProjectId) -> Self {
        let room = Some(Arc::new(AtomicUsize::new(MAX_ANSWER_BYTES)));
        Self { log, project: Some(project), audits: true, room }
    }

    /// The same without what was audited.
    #[must_use]
    pub fn without_audits(self) -> Self {
        Self { audits: false, ..self }
    }

    /// Takes room for an event that becomes part of the answer.
    ///
    /// # Errors
    /// When the answer would be too large.
    pub fn keep(&self, event: &Recorded) -> Result<(), ReplayError> {
        let Some(room) = &self.room else { return Ok(()) };
        let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(size(event))
        });
        taken.map(drop).map_err(|_| ReplayError::TooLarge(MAX_ANSWER_BYTES))
    }

    /// Whether events with so many bytes may be in an answer.
    pub fn fits(&self, bytes: usize) -> bool {
        self.room.is_none() || bytes <= MAX_ANSWER_BYTES
    }

    /// The log of a data directory, of a backup of one, or a folder of segments; beside a running
    /// server too.
    ///
    /// # Errors
    /// When it is none, is damaged, or a newer program wrote it.
    pub fn folder(path: &Path) -> Result<Self, ReplayError> {
        let log = path.join("log");
        let log = match Manifest::read(path) {
            Ok(Some(manifest)) => OfflineLog::open_on(&BackupDisk::new(path, &manifest))?,
            Ok(None) if log.is_dir() => OfflineLog::open(&log)?,
            Ok(None) => OfflineLog::open(path)?,
            Err(error) => return Err(ReplayError::Invalid(error.to_string())),
        };
        if *log.head().borrow() == Position(0) {
            return Err(ReplayError::Invalid(format!(
                "{} contains no events. Specify a data directory of `magnum serve`, or a backup \
                 of one.",
                path.display()
            )));
        }
        Ok(Self::new(Arc::new(log)))
    }

    /// The events of an export (`magnum log export`), each checked against the chain of hashes.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what was exported.
    pub async fn export(path: &Path) -> Result<Self, ReplayError> {
        let named = |source| OpenError::Io { path: path.display().to_string(), source };
        let file = File::open(path).map_err(named)?;
        let log = MemoryLog::new();
        let head = export::import(&log, BufReader::new(file)).await;
        let head = head.map_err(|why| {
            let path = path.display();
            ReplayError::Invalid(format!(
                "{path} is not a complete export of `magnum log export`: {why}"
            ))
        })?;
        if head == Position(0) {
            return Err(ReplayError::Invalid(format!("{} contains no events.", path.display())));
        }
        Ok(Self::new(Arc::new(log)))
    }

    /// The whole log for any caller: for results that reveal none of it, such as digests.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { project: None, ..self.clone() }
    }

    /// Whether all of the log may be shown.
    pub const fn is_whole(&self) -> bool {
        self.project.is_none()
    }

    /// The log, for other folds of it.
    pub fn log(&self) -> &dyn EventLog {
        &*self.log
    }

    /// The position of the last event.
    pub fn head(&self) -> Position {
        *self.log.head().borrow()
    }

    /// Whether an event may be shown.
    pub fn shows(&self, event: &Recorded) -> bool {
        self.shows_project(&event.meta.project)
            && (self.audits || event.stream.kind != StreamKind::Audit)
    }

    /// Whether what is of a project may be shown.
    pub fn shows_project(&self, project: &ProjectId) -> bool {
        self.project.as_ref().is_none_or(|mine| mine == project)
    }

    /// The event at a position.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn at(&self, position: Position) -> Result<Option<Recorded>, ReplayError> {
        let Some(before) = position.get().checked_sub(1) else { return Ok(None) };
        let next = self.log.read(Position(before), 1)?.pop();
        Ok(next.filter(|event| event.position == position))
    }

    /// What an archive may have to do with something that is not found, in words; nothing where
    /// there is none.
    pub fn archived(&self) -> String {
        match self.log.archived() {
            Position(0) => String::new(),
            archived => format!(
                " Objects deleted up to position {archived} are archived: read the backup that \
                 has them with --data TARGET."
            ),
        }
    }

    /// When the first and the last event were decided; none in an empty log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn times(&self) -> Result<Option<(Timestamp, Timestamp)>, ReplayError> {
        // Not the one at position 1: an archive may have taken it.
        let (first, last) = (self.log.read(Position(0), 1)?.pop(), self.at(self.head())?);
        Ok(first.zip(last).map(|(first, last)| (first.time, last.time)))
    }

    /// Goes through events after a position up to another one, in order, until told to stop.
    ///
    /// # Errors
    /// When the log cannot be read, and what `see` says.
    pub fn each(
        &self,
        after: Position,
        until: Position,
        mut see: impl FnMut(&Recorded) -> Result<ControlFlow<()>, ReplayError>,
    ) -> Result<(), ReplayError> {
        let until = until.min(self.head());
        let mut at = after;
        while at < until {
            let page = self.log.read(at, PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            for event in &page {
                // Some logs have gaps: the next event may be beyond.
                if event.position > until {
                    return Ok(());
                }
                at = event.position;
                if self.shows(event) && see(event)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Goes through the events of one object up to a position, in order.
    ///
    /// # Errors
    /// When the log cannot be read, and what `see` says.
    pub fn each_of(
        &self,
        stream: StreamId,
        until: Position,
        mut see: impl FnMut(&Recorded) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let mut from = Revision(0);
        loop {
            let page = self.log.read_stream(stream, from, PAGE)?;
            for event in &page {
                if event.position > until {
                    return Ok(());
                }
                if self.shows(event) {
                    see(event)?;
                }
            }
            match page.last() {
                Some(last) => from = last.revision.next(),
                None => return Ok(()),
            }
        }
    }

    /// The first event of an object, which says whose it is.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn first_of(&self, stream: StreamId) -> Result<Option<Recorded>, ReplayError> {
        let first = self.log.read_stream(stream, Revision(0), 1)?.pop();
        Ok(first.filter(|event| self.shows(event)))
    }

    /// The last position before the first event that was decided later than a time; 0 if there is
    /// none. What was decided earlier again, by a clock that was set back, is after it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn position_at(&self, time: Timestamp) -> Result<Position, ReplayError> {
        Ok(moment::before(&*self.log, later_than(time))?)
    }

    /// The event with an id: where its time says it should be, else anywhere.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn find(&self, id: EventId) -> Result<Option<Recorded>, ReplayError> {
        if let Some(made) = made_at(id) {
            let from = self.position_at(Timestamp(made.0 - SKEW_MS as i64 * 1000))?;
            let to = self.position_at(made.plus_ms(SKEW_MS))?;
            if let Some(found) = self.search(id, from, to)? {
                return Ok(Some(found));
            }
        }
        self.search(id, Position(0), self.head())
    }

    fn search(
        &self,
        id: EventId,
        after: Position,
        until: Position,
    ) -> Result<Option<Recorded>, ReplayError> {
        let mut found = None;
        self.each(after, until, |event| {
            if event.id != id {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(event.clone());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

/// Bytes that an event takes.
pub fn size(event: &Recorded) -> usize {
    EVENT_BYTES + event.payload.len() + event.meta.command.as_ref().map_or(0, String::len)
}

/// The first time that is later.
pub const fn later_than(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_add(1))
}

/// When an id was made, if it says so (UUID version 7).
fn made_at(id: EventId) -> Option<Timestamp> {
    let (seconds, nanos) = id.get().get_timestamp()?.to_unix();
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    Some(Timestamp(micros.checked_add(i64::from(nanos / 1000))?))
}
