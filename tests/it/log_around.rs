//! A log in memory with something done around it: what is appended is noted, what is read counted.

use async_trait::async_trait;
use magnum::events::Recorded;
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::{
    Append, AppendError, Appended, CommandSeen, EventLog, LogHealth, ReadError,
};
use magnum::ids::{CommandId, Position, Revision, StreamId};
use tokio::sync::watch;

/// What is done around a log.
#[async_trait]
pub trait Around: Send + Sync + 'static {
    /// Appends.
    async fn append(&self, log: &MemoryLog, append: Append) -> Result<Appended, AppendError> {
        log.append(append).await
    }

    /// So many events were read.
    fn read(&self, _events: usize) {}
}

/// The log, and what is done around it.
pub struct LogAround<A> {
    log: MemoryLog,
    pub around: A,
}

impl<A: Around> LogAround<A> {
    pub fn new(log: MemoryLog, around: A) -> Self {
        Self { log, around }
    }

    fn told(&self, events: Result<Vec<Recorded>, ReadError>) -> Result<Vec<Recorded>, ReadError> {
        self.around.read(events.as_ref().map_or(0, Vec::len));
        events
    }
}

#[async_trait]
impl<A: Around> EventLog for LogAround<A> {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.around.append(&self.log, append).await
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.told(self.log.read(after, limit))
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.told(self.log.read_stream(stream, from, limit))
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        self.log.stream_head(stream)
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        self.log.command(id)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.log.head()
    }

    fn health(&self) -> LogHealth {
        self.log.health()
    }

    async fn close(&self) {
        self.log.close().await;
    }
}
