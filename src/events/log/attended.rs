//! A log as it is read for somebody who may leave: from then on every read of it ends.
//!
//! What reads much of a log does so on a thread that nothing can interrupt; this is how it learns
//! that nobody wants the result any more. Not here: how many may read at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Append, AppendError, Appended, CommandSeen, Each, EventLog, LogHealth, ReadError};
use crate::events::Recorded;
use crate::ids::{CommandId, Position, Revision, StreamId};

/// A log, until its reader has left. Read-only.
pub struct AttendedLog {
    log: Arc<dyn EventLog>,
    has_left: Arc<AtomicBool>,
}

/// The presence of a reader, who leaves when this is dropped.
#[derive(Debug)]
pub struct Attendance {
    has_left: Arc<AtomicBool>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.has_left.store(true, Ordering::Relaxed);
    }
}

impl AttendedLog {
    /// A log for one reader, who is there as long as the second value lives.
    pub fn new(log: Arc<dyn EventLog>) -> (Self, Attendance) {
        let has_left = Arc::new(AtomicBool::new(false));
        (Self { log, has_left: has_left.clone() }, Attendance { has_left })
    }

    fn attended(&self) -> Result<(), ReadError> {
        if self.has_left.load(Ordering::Relaxed) { Err(ReadError::Abandoned) } else { Ok(()) }
    }
}

#[async_trait]
impl EventLog for AttendedLog {
    async fn append(&self, _append: Append) -> Result<Appended, AppendError> {
        Err(AppendError::read_only())
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.attended()?;
        self.log.read(after, limit)
    }

    fn scan(&self, after: Position, limit: usize, each: &mut Each<'_>) -> Result<usize, ReadError> {
        self.log.scan(after, limit, &mut |event| {
            self.attended()?;
            each(event)
        })
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.attended()?;
        self.log.read_stream(stream, from, limit)
    }

    fn scan_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
        each: &mut Each<'_>,
    ) -> Result<usize, ReadError> {
        self.log.scan_stream(stream, from, limit, &mut |event| {
            self.attended()?;
            each(event)
        })
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        self.attended()?;
        self.log.stream_head(stream)
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        self.attended()?;
        self.log.command(id)
    }

    fn archived(&self) -> Position {
        self.log.archived()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.log.head()
    }

    fn health(&self) -> LogHealth {
        self.log.health()
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
    use crate::events::log::Expected;
    use crate::events::log::memory::MemoryLog;
    use crate::events::{Meta, NewEvent};
    use crate::ids::{Kind, ObjectId};

    #[tokio::test]
    async fn nothing_is_read_for_one_who_has_left() {
        let log = MemoryLog::default();
        let mut stream = StreamId::new(Kind::Baymodel, ObjectId::default());
        for number in 0..3 {
            stream = StreamId::new(Kind::Baymodel, ObjectId(uuid::Uuid::from_u128(number)));
            let event =
                BaymodelEvent::Created(BaymodelCreatedV1 { fields: BaymodelFields::default() });
            let event = NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), &event);
            let events = vec![event];
            let append = Append { stream, expected: Expected::NoStream, command: None, events };
            log.append(append).await.unwrap();
        }
        let (log, attendance) = AttendedLog::new(Arc::new(log));
        assert_eq!(log.read(Position(0), 9).unwrap().len(), 3);
        let (mut seen, mut attendance) = (0, Some(attendance));
        // In the middle of a scan, too.
        let scanned = log.scan(Position(0), 9, &mut |_| {
            seen += 1;
            attendance = None;
            Ok(())
        });
        assert!(matches!(scanned, Err(ReadError::Abandoned)), "{scanned:?}");
        assert_eq!(seen, 1);
        let gone = |read: Result<(), ReadError>| matches!(read, Err(ReadError::Abandoned));
        assert!(gone(log.read(Position(0), 9).map(drop)));
        assert!(gone(log.read_stream(stream, Revision(0), 9).map(drop)));
        assert!(gone(log.scan_stream(stream, Revision(0), 9, &mut |_| Ok(())).map(drop)));
        assert!(gone(log.stream_head(stream).map(drop)));
        assert!(attendance.is_none());
    }
}
