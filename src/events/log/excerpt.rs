//! Some events of another log as a read-only log: positions have gaps, streams do not.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Append, AppendError, Appended, CommandSeen, EventLog, LogHealth, ReadError};
use crate::events::Recorded;
use crate::ids::{CommandId, Position, Revision, StreamId};

/// A log of some events of another one.
#[derive(Debug)]
pub struct ExcerptLog {
    /// In the order of positions.
    events: Vec<Recorded>,
    /// Where the events of each stream are.
    streams: HashMap<StreamId, Vec<usize>>,
    head: watch::Sender<Position>,
}

impl ExcerptLog {
    /// A log of events in the order of their positions.
    pub fn new(events: Vec<Recorded>) -> Self {
        let mut streams: HashMap<StreamId, Vec<usize>> = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            streams.entry(event.stream).or_default().push(index);
        }
        let (head, _) = watch::channel(events.last().map_or(Position(0), |event| event.position));
        Self { events, streams, head }
    }
}

#[async_trait]
impl EventLog for ExcerptLog {
    async fn append(&self, _append: Append) -> Result<Appended, AppendError> {
        Err(AppendError::read_only())
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        let skip = self.events.partition_point(|event| event.position <= after);
        Ok(self.events.iter().skip(skip).take(limit).cloned().collect())
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let indexes = self.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        let events = indexes.iter().filter_map(|index| self.events.get(*index));
        Ok(events.filter(|event| event.revision >= from).take(limit).cloned().collect())
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        let last = self.streams.get(&stream).and_then(|indexes| indexes.last());
        Ok(last.and_then(|index| self.events.get(*index)).map(|event| event.revision))
    }

    fn command(&self, _id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        Ok(None)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    fn health(&self) -> LogHealth {
        LogHealth::read_only()
    }

    async fn close(&self) {}
}
