//! The segment engine: a log in files of its own, durable before it answers.
//!
//! # Files
//!
//! A log is one folder. `0000000001.seg`, `0000000002.seg`, … are its segments, of their full size
//! and written with zeros when they are made; only the last one is written to, and nothing in a
//! segment is ever changed. `lock` keeps a second process out, `writer` says who writes
//! (`claim.rs`), `next-<epoch>.new` is the next segment as far as it is ready (`prepare.rs`). All
//! numbers are little-endian.
//!
//! A segment begins with a header of 4,096 bytes:
//!
//! ```text
//!  0   8  "MAGNUMLG"
//!  8   4  format version: 1, or 2 where an archive has taken events (`remains.rs`)
//! 12   4  CRC-32C of bytes 16 to 96
//! 16  16  id of the data folder (uuid)
//! 32   4  number of the segment, from 1
//! 36   4  epoch: which opening of the log made it, from 1
//! 40   8  position of its first event
//! 48  32  chain before its first event
//! 80   8  location of the last record of the segment before it, 0 in the first one
//! 88   4  end of the segment before it
//! 92   4  bytes of the file
//! ```
//!
//! Records follow one another, each at a multiple of 8; after the last one everything is zero:
//!
//! ```text
//!  0   4  length of the record without padding
//!  4   4  CRC-32C of: folder id, segment number, offset of the record (4 bytes), bytes 8 to length
//!  8   4  offset where the write began that the record is part of (its group)
//! 12   4  epoch of the writer
//! 16   8  location of the event before it in its stream, 0 if it is the first
//! 24   8  location of the last event before it in its stream with a revision of 256 n, or 0
//! 32   8  position
//! 40  32  chain up to and including it
//! 72   2  how many events of the same append follow
//! 74   2  bytes of the command id (c), 0 without one
//! 76      content: see `log/chain.rs`, which also says what the chain covers
//!      c  command id, with the first event of a command
//!     32  digest of the command's body, if there is a command id
//! ```
//!
//! A location is the segment's number times 2^32 plus the offset. An append lies in one segment.
//!
//! # Parts
//!
//! `record` and `file` are the format, `scan` and `read` read it, `stage` gathers what `writer`
//! writes into what `prepare` made ready, `index` knows heads, commands and names (`held`,
//! `holders`), `recover`, `walk` and `tail` open a log as `options` say, `threads` are what runs
//! one, `stepped` one without threads, `verify` looks at one, `scrub` at an open one as `pace` lets
//! it, `repair` cuts one, `export` hands out its events, `offline` reads one in place, `backup`,
//! `manifest` and `restore` copy one, `archive` takes what is old from one and `remains` is what it
//! leaves, `keep` watches over it, `disk` is its disk.

pub mod archive;
pub mod backup;
mod chance;
mod claim;
pub mod disk;
mod export;
mod fault;
mod file;
mod held;
mod holders;
mod index;
mod keep;
mod lock;
pub mod manifest;
mod names;
mod offline;
mod options;
mod pace;
mod prepare;
mod read;
mod record;
mod recover;
mod remains;
pub mod repair;
pub mod restore;
mod scan;
pub mod scrub;
pub mod simulated;
mod stage;
pub mod stepped;
mod tail;
mod threads;
mod verify;
mod walk;
mod writer;

use std::io;
use std::path::Path;
use std::sync::mpsc as signal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use super::admission::Prepared;
use super::{
    Append, AppendError, Appended, CommandSeen, Each, EventLog, LogHealth, OpenError, ReadError,
};
use crate::events::Recorded;
use crate::events::claim::HeldNames;
use crate::ids::{CommandId, Position, Revision, StreamId};
use disk::{Disk, Folder};
pub use export::export;
pub use fault::Damage;
use index::Index;
use keep::Keeper;
pub use lock::FolderLock;
pub use offline::OfflineLog;
pub use options::SegmentOptions;
use prepare::Preparer;
use scan::{Fetcher, Segments};
use stage::{Group, Job, QUEUE_APPENDS, Stage};
use threads::LogThreads;
pub use verify::{Info, SegmentInfo, Verified, hash_at, info, info_on, verify, verify_on};
use writer::{Counts, Writer};

/// Bytes of a segment's header: one page, so that no record shares its first write.
pub const SEGMENT_HEADER_BYTES: usize = 4096;

/// What readers, the writer and the indexer share.
struct Shared {
    segments: Segments,
    index: Index,
    /// Gone once the log is closed, so that those waiting for the head notice.
    head: Mutex<Option<watch::Sender<Position>>>,
    health: Mutex<LogHealth>,
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, LogHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the log take no appends any more, from before anyone hears of it.
    fn fail(&self, stage: &Stage, why: &str) {
        if self.health().failed.replace(why.to_owned()).is_none() {
            tracing::error!(why, "the log no longer accepts appends");
        }
        stage.fail(why);
    }

    /// Remembers that a read found damage: it stays until the log is repaired.
    fn noted<T>(&self, read: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(ReadError::Damaged(words)) = &read {
            self.health().damaged.get_or_insert_with(|| words.clone());
        }
        read
    }

    /// Lets readers see what became durable.
    fn publish(&self, head: Position, counts: &Counts) {
        {
            let mut health = self.health();
            health.appends += counts.appends;
            health.events += counts.events;
            health.syncs += 1;
            health.no_space = None;
        }
        if let Some(sender) = &*self.head.lock().unwrap_or_else(PoisonError::into_inner) {
            sender.send_replace(head);
        }
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        let Some(at) = self.index.command(id).map_err(index_error)? else { return Ok(None) };
        let mut fetcher = Fetcher::new(&self.segments);
        let seen = fetcher.record(at)?.0.command_seen();
        Ok(seen.and_then(|(found, seen)| (found == *id).then_some(seen)))
    }
}

fn index_error(error: sled::Error) -> ReadError {
    ReadError::Io(format!("the index: {error}"))
}

/// The log in segment files.
pub struct SegmentLog {
    shared: Arc<Shared>,
    head: watch::Receiver<Position>,
    stage: Arc<Stage>,
    running: tokio::sync::Mutex<Option<LogThreads>>,
}

impl std::fmt::Debug for SegmentLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentLog").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl SegmentLog {
    /// Locks a folder and opens the log in it; makes both if they are not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        folder: &Path,
        options: SegmentOptions,
        index: sled::Tree,
    ) -> Result<Self, OpenError> {
        Self::open_locked(FolderLock::take(folder)?, options, index)
    }

    /// Opens the log in a folder that was locked before, so that whatever else is in the data
    /// directory (the index's sled) can be opened under the same lock.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_locked(
        lock: FolderLock,
        options: SegmentOptions,
        index: sled::Tree,
    ) -> Result<Self, OpenError> {
        let folder = Folder::new(lock.folder());
        Self::open_on(Arc::new(folder), Some(lock), options, index)
    }

    /// Opens the log on any disk; the lock is let go of when it is closed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        lock: Option<FolderLock>,
        options: SegmentOptions,
        index: sled::Tree,
    ) -> Result<Self, OpenError> {
        let (indexer, signals) = signal::sync_channel(1);
        let (mut log, writer, preparer) =
            Self::assemble(&disk, options, index, indexer, Preparer::start)?;
        let path = disk.path();
        let io = |source| OpenError::Io { path: path.clone(), source };
        let keeper = Keeper {
            shared: Arc::clone(&log.shared),
            stage: Arc::clone(&log.stage),
            disk,
            claim: writer.claim,
        };
        let indexer = thread::Builder::new().name("log-index".to_owned());
        let indexer = indexer.spawn(move || keeper.run(&signals)).map_err(io)?;
        let thread = thread::Builder::new().name("log-writer".to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(io)?;
        *log.running.get_mut() = Some(LogThreads { writer, preparer, indexer, lock });
        Ok(log)
    }

    /// Recovers the log; nothing runs its writer yet.
    fn assemble<P>(
        disk: &Arc<dyn Disk>,
        options: SegmentOptions,
        index: sled::Tree,
        indexer: signal::SyncSender<()>,
        prepare: impl FnOnce(Arc<dyn Disk>, u32) -> io::Result<(Preparer, P)>,
    ) -> Result<(Self, Writer, P), OpenError> {
        let index = Index::new(index);
        let recovered = recover::recover(disk.as_ref(), &index, &options)?;
        index.begin(recovered.claim.epoch);
        let (sender, head) = watch::channel(recovered.end.walk.position);
        let shared = Arc::new(Shared {
            segments: Segments::new(recovered.segments),
            index,
            head: Mutex::new(Some(sender)),
            health: Mutex::default(),
        });
        let stage = Arc::new(Stage::new(recovered.end, recovered.claim));
        if let Some(last) = shared.segments.get(recovered.end.next.segment) {
            stage.state().begin_segment(recovered.end.next, last.header.size, last.salt);
        }
        let least = SEGMENT_HEADER_BYTES as u64;
        let (preparer, prepared) = prepare(Arc::clone(disk), recovered.claim.epoch)
            .map_err(|source| OpenError::Io { path: disk.path(), source })?;
        let writer = Writer {
            shared: Arc::clone(&shared),
            stage: Arc::clone(&stage),
            disk: Arc::clone(disk),
            end: recovered.end,
            claim: recovered.claim,
            preparer,
            segment_bytes: options.segment_bytes.clamp(least, u64::from(u32::MAX)) as u32,
            indexer,
            empty: Group::default(),
        };
        let log = Self { shared, head, stage, running: tokio::sync::Mutex::default() };
        Ok((log, writer, prepared))
    }

    fn closed(&self) -> AppendError {
        let why = self.shared.health().failed.clone();
        AppendError::Closed(why.unwrap_or_else(|| "the log is closed".to_owned()))
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.stage.close();
        if let Some(running) = self.running.get_mut().take() {
            running.finish();
        }
    }
}

#[async_trait]
impl EventLog for SegmentLog {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let append = Prepared::new(&append)?;
        let _room = self.stage.room.acquire().await.map_err(|_| self.closed())?;
        let (reply, answer) = oneshot::channel();
        self.stage.submit(&self.shared, Job { append, reply });
        let ended = "the writer of the log panicked";
        answer.await.unwrap_or_else(|_| Err(AppendError::OutcomeUnknown(ended.to_owned())))
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        let shared = &self.shared;
        shared.noted(read::forward(&shared.segments, *self.head.borrow(), after, limit))
    }

    fn scan(&self, after: Position, limit: usize, each: &mut Each<'_>) -> Result<usize, ReadError> {
        let shared = &self.shared;
        shared.noted(read::scan_events(&shared.segments, *self.head.borrow(), after, limit, each))
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let head = self.shared.index.head(stream).map_err(index_error)?;
        self.shared.noted(head.map_or(Ok(Vec::new()), |head| {
            read::stream(&self.shared.segments, head, stream, from, limit)
        }))
    }

    fn scan_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
        each: &mut Each<'_>,
    ) -> Result<usize, ReadError> {
        let head = self.shared.index.head(stream).map_err(index_error)?;
        let segments = &self.shared.segments;
        let scan = |head| read::scan_stream(segments, head, stream, from, limit, each);
        self.shared.noted(head.map_or(Ok(0), scan))
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        let head = self.shared.index.head(stream).map_err(index_error)?;
        Ok(head.map(|head| head.revision))
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        self.shared.noted(self.shared.command(id))
    }

    fn knows_all_names(&self) -> bool {
        self.shared.index.knows_all_names()
    }

    fn learn_names(&self, held: &HeldNames) -> Result<u64, ReadError> {
        self.shared.index.learn_names(held).map_err(index_error)
    }

    fn all_names_are_recorded(&self) {
        self.shared.index.names_are_recorded();
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    fn archived(&self) -> Position {
        self.shared.segments.archived()
    }

    fn health(&self) -> LogHealth {
        let queued = QUEUE_APPENDS - self.stage.room.available_permits();
        LogHealth { queued, ..self.shared.health().clone() }
    }

    async fn close(&self) {
        self.stage.close();
        if let Some(running) = self.running.lock().await.take() {
            let finished = tokio::task::spawn_blocking(move || running.finish()).await;
            if let Err(error) = finished {
                tracing::error!(%error, "the log was not closed cleanly");
            }
        }
        self.shared.health().failed.get_or_insert_with(|| "the log is closed".to_owned());
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
