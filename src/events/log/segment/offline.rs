//! A log read from its files without opening it: no lock, no sled index, nothing written.
//!
//! Works while a server is running. It ends with the last complete append in the files when it is
//! opened; that may include a write of a running server just before it is acknowledged. The end of
//! each stream is found by one pass over the records, spread over the cores, when the first stream
//! is requested; nothing is decoded for it. Not here: whether the log is intact (`verify`);
//! appending, which is refused.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;

use async_trait::async_trait;
use tokio::sync::watch;

use super::super::{
    Append, AppendError, Appended, CommandSeen, Each, EventLog, LogHealth, OpenError, ReadError,
};
use super::SEGMENT_HEADER_BYTES;
use super::disk::{Disk, Folder};
use super::fault::Fault;
use super::file::Segment;
use super::index::Head;
use super::read;
use super::record::Location;
use super::recover;
use super::scan::{Scanner, Segments};
use crate::events::Recorded;
use crate::ids::{CommandId, Position, Revision, StreamId};

/// Where streams end.
type Heads = HashMap<StreamId, Head>;

/// The log in a folder, for reading.
pub struct OfflineLog {
    segments: Segments,
    list: Vec<Arc<Segment>>,
    head: watch::Sender<Position>,
    heads: OnceLock<Heads>,
}

impl std::fmt::Debug for OfflineLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfflineLog").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl OfflineLog {
    /// Opens the log in a folder of segments. Reads their headers and the last one.
    ///
    /// # Errors
    /// When files cannot be read, are damaged, or a newer program wrote them.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_on(&Folder::read_only(folder))
    }

    /// As [`OfflineLog::open`], on any disk.
    ///
    /// # Errors
    /// As [`OfflineLog::open`].
    pub fn open_on(disk: &dyn Disk) -> Result<Self, OpenError> {
        let list = recover::open_segments(disk)?;
        let scanned = list.last().map(|last| scan(last, None, &mut Heads::new())).transpose();
        let end = scanned.map_err(|fault| fault.into_open_error(disk.path()))?;
        let (head, _) = watch::channel(end.unwrap_or_default());
        Ok(Self { segments: Segments::new(list.clone()), list, head, heads: OnceLock::new() })
    }

    fn heads(&self) -> Result<&Heads, ReadError> {
        if let Some(heads) = self.heads.get() {
            return Ok(heads);
        }
        // Found again the next time where a read fails.
        let heads = index(&self.list, *self.head.borrow())?;
        Ok(self.heads.get_or_init(|| heads))
    }
}

/// Where the streams of a log end, up to a position.
fn index(segments: &[Arc<Segment>], end: Position) -> Result<Heads, ReadError> {
    let ends = segments.iter().skip(1).map(|next| next.header.first.before()).chain([end]);
    let jobs: Vec<(&Arc<Segment>, Position)> = segments.iter().zip(ends).collect();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = jobs.len().div_ceil(cores).max(1);
    let parts: Vec<Result<Heads, ReadError>> = thread::scope(|scope| {
        let workers: Vec<_> =
            jobs.chunks(share).map(|jobs| scope.spawn(move || part(jobs))).collect();
        let ended = || ReadError::Io("the scan of the log panicked".to_owned());
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(ended()))).collect()
    });
    let mut parts = parts.into_iter();
    let mut heads = parts.next().unwrap_or_else(|| Ok(Heads::new()))?;
    for part in parts {
        // Later segments know better.
        heads.extend(part?);
    }
    Ok(heads)
}

/// Where streams end in some segments that follow one another.
fn part(jobs: &[(&Arc<Segment>, Position)]) -> Result<Heads, ReadError> {
    let mut heads = Heads::new();
    for (segment, end) in jobs {
        let reached = scan(segment, Some(*end), &mut heads)?;
        if reached != *end {
            let what = "there is no valid record, and valid segments follow";
            return Err(segment.damaged(0, reached.next().get(), what).into());
        }
    }
    Ok(heads)
}

/// Notes the last event of each stream in a segment, up to a position or the last whole append; the
/// position that it got to.
fn scan(segment: &Segment, until: Option<Position>, heads: &mut Heads) -> Result<Position, Fault> {
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
    let mut whole = segment.header.first.before();
    let mut at = whole;
    while until.is_none_or(|until| at < until) {
        let offset = scanner.offset();
        let Some(record) = scanner.next_record()? else { break };
        let is_next = record.frame.position == at.next();
        if !is_next && segment.header.remains.is_none() {
            break;
        }
        at = record.frame.position;
        if record.frame.left == 0 {
            whole = at;
        }
        if until.is_some() {
            let place = Location { segment: segment.header.number, offset };
            let content = &record.content;
            // The way back to older events is in the records themselves.
            let skip = Location::default();
            heads.insert(content.stream, Head { revision: content.revision, at: place, skip });
        }
    }
    let end = Location { segment: segment.header.number, offset: scanner.offset() };
    let archived = segment.header.remains.filter(|_| segment.end() == Some(end));
    Ok(archived.map_or(whole, |remains| remains.last_position))
}

#[async_trait]
impl EventLog for OfflineLog {
    async fn append(&self, _append: Append) -> Result<Appended, AppendError> {
        Err(AppendError::read_only())
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        read::forward(&self.segments, *self.head.borrow(), after, limit)
    }

    fn scan(&self, after: Position, limit: usize, each: &mut Each<'_>) -> Result<usize, ReadError> {
        read::scan_events(&self.segments, *self.head.borrow(), after, limit, each)
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let head = self.heads()?.get(&stream);
        head.map_or(Ok(Vec::new()), |head| read::stream(&self.segments, *head, stream, from, limit))
    }

    fn scan_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
        each: &mut Each<'_>,
    ) -> Result<usize, ReadError> {
        let head = self.heads()?.get(&stream);
        let segments = &self.segments;
        head.map_or(Ok(0), |head| read::scan_stream(segments, *head, stream, from, limit, each))
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        Ok(self.heads()?.get(&stream).map(|head| head.revision))
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        for segment in &self.list {
            let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
            while let Some(record) =
                scanner.next_record().map_err(|error| ReadError::Io(error.to_string()))?
            {
                let seen = record.command_seen().filter(|(found, _)| found == id);
                if let Some((_, seen)) = seen {
                    return Ok((seen.appended.last <= *self.head.borrow()).then_some(seen));
                }
            }
        }
        Ok(None)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    fn archived(&self) -> Position {
        self.segments.archived()
    }

    fn health(&self) -> LogHealth {
        LogHealth::read_only()
    }

    async fn close(&self) {}
}
