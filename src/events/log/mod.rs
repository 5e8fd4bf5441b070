//! The append-only log: what every engine promises. Engines: `memory` (the reference) and
//! `segment` (own files). One contract suite runs on all of them.
//!
//! `admission` checks appends, `chain` defines the bytes that an event's hash covers, `anchor`
//! signs it, `export` writes and reads events as lines of JSON, `moment` finds a time, `attended`
//! is a log for a reader who may leave.
//!
//! Not here: what events mean.

pub mod admission;
pub mod anchor;
pub mod attended;
pub mod chain;
pub mod excerpt;
pub mod export;
pub mod memory;
pub mod moment;
pub mod segment;

use async_trait::async_trait;
use tokio::sync::watch;

use super::claim::{HeldNames, Name};
use super::envelope::{EventRef, NewEvent, Recorded};
use crate::ids::{CommandId, Position, Revision, StreamId};

/// Most events in one append: a decision makes a handful, an import sends pages.
pub const MAX_APPEND_EVENTS: usize = 1024;

/// Most bytes of one event's payload: four times the largest request body (1 MiB).
pub const MAX_PAYLOAD_BYTES: usize = 4 << 20;

/// Most bytes of one event's [`super::Meta`]: it holds the command, which is a request body.
pub const MAX_META_BYTES: usize = 4 << 20;

/// Most bytes of one append, all events together: eight of the largest payloads, and half of a
/// segment of the usual size, so that no segment is left half empty for one append.
pub const MAX_APPEND_BYTES: usize = 32 << 20;

/// Most bytes of a command id: a project's name (255) and a client's key (255), with room between.
pub const MAX_COMMAND_ID_BYTES: usize = 1024;

/// Most claims of one append: a rename gives one name up and takes one.
pub const MAX_CLAIMS: usize = 16;

/// What an append expects of its stream (rule L5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The stream has no event.
    NoStream,
    /// The stream's last event has this revision.
    Exact(Revision),
}

/// A command id with the digest of the command's body (rule L6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandKey {
    /// The id, unique over the whole log.
    pub id: CommandId,
    /// BLAKE3 of the command as the sender wrote it.
    pub digest: [u8; 32],
}

/// Events of one stream that are recorded together or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// The object.
    pub stream: StreamId,
    /// What the decision was based on.
    pub expected: Expected,
    /// What makes it exactly-once, if anything.
    pub command: Option<CommandKey>,
    /// The events, 1 to [`MAX_APPEND_EVENTS`].
    pub events: Vec<NewEvent>,
}

/// Where an append ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of its first event.
    pub first: Position,
    /// Position of its last event.
    pub last: Position,
    /// Revision of its last event.
    pub revision: Revision,
}

/// What the log knows of a command id that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandSeen {
    /// The object that it changed.
    pub stream: StreamId,
    /// Where its events are.
    pub appended: Appended,
    /// The digest of its body.
    pub digest: [u8; 32],
}

/// Why nothing was appended, or nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream is elsewhere than expected: load again, decide again.
    #[error("{stream} is at revision {actual:?}, not as expected")]
    Conflict {
        /// The object.
        stream: StreamId,
        /// Its last revision, `None` if it has no event.
        actual: Option<Revision>,
    },
    /// The command id was used before.
    #[error("the command was recorded before, at position {}", .0.appended.first)]
    Seen(CommandSeen),
    /// Another object holds a name that it takes (rule L9); nothing was written.
    #[error("{holder} holds the name {:?} in {}", .name.text, .name.scope)]
    Claimed {
        /// The name.
        name: Name,
        /// Who holds it.
        holder: StreamId,
    },
    /// No event, too many, or one too large; nothing was written.
    #[error("the append is not acceptable: {0}")]
    Invalid(String),
    /// No room on the disk; nothing was written, and it is retried with each append.
    #[error("not enough space on the disk of the log: {0}")]
    NoSpace(String),
    /// This process, or the system, may open no more files; as with no room.
    #[error("too many open files: {0}")]
    NoFiles(String),
    /// Writing or syncing failed: the events may or may not be there after a restart (rule L2).
    #[error("the outcome of the append is unknown: {0}")]
    OutcomeUnknown(String),
    /// The log takes no appends any more.
    #[error("the log is closed: {0}")]
    Closed(String),
}

/// Why events could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// A record is damaged; the message names segment, offset and position.
    #[error("{0}")]
    Damaged(String),
    /// The files could not be read.
    #[error("the log cannot be read: {0}")]
    Io(String),
    /// This program does not understand an event that an object needs; the message names both.
    #[error("{0}")]
    Unreadable(String),
    /// Whoever wanted to know has gone.
    #[error("nobody waits for what is read")]
    Abandoned,
}

/// Why a log could not be opened. Each says what is wrong and which command helps.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the data directory {path} is in use by process {holder}; stop that one first")]
    InUse {
        /// The folder.
        path: String,
        /// Who holds it, as far as it says.
        holder: String,
    },
    /// A newer program wrote it.
    #[error(
        "the log in {path} has format {found}, this magnum reads up to {known}; use a newer magnum"
    )]
    Newer {
        /// The folder or file.
        path: String,
        /// Its format.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// Damage that is more than a torn end.
    #[error("{0}")]
    Damaged(String),
    /// The folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Events that are asked for were archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The events before position {oldest} were archived; those from {oldest} to {latest} are \
     available. Start after position {}, or use the backup that has the others.",
    oldest.before()
)]
pub struct Archived {
    /// The oldest position from which on all are there.
    pub oldest: Position,
    /// The latest one.
    pub latest: Position,
}

/// How the log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHealth {
    /// Why it takes no appends; none when it does.
    pub failed: Option<String>,
    /// Where a read found damage since the start, and what helps; none if it found none.
    pub damaged: Option<String>,
    /// Why the last append found no room; none when there is room.
    pub no_space: Option<String>,
    /// Appends that were acknowledged since the start.
    pub appends: u64,
    /// Events that were acknowledged since the start.
    pub events: u64,
    /// Syncs since the start: `appends / syncs` is the size of the group commit.
    pub syncs: u64,
    /// Appends that wait for the writer.
    pub queued: usize,
}

/// Why a log that is there to be read takes no appends.
const READ_ONLY: &str = "this log is read-only";

impl AppendError {
    /// Of a log that is there to be read.
    pub fn read_only() -> Self {
        Self::Closed(READ_ONLY.to_owned())
    }
}

impl LogHealth {
    /// Of a log that is there to be read.
    pub fn read_only() -> Self {
        Self { failed: Some(READ_ONLY.to_owned()), ..Self::default() }
    }
}

/// Events that are in memory at once where they cannot be scanned where they lie.
const SCANNED: usize = 256;

/// Bytes after which a read of a log on disk ends, at the end of an event: 8,000 events as a rule,
/// and some of those who read at once may meet events of 4 MiB.
pub const READ_BYTES: usize = 8 << 20;

/// Hands over up to `limit` events, a page at a time; how many. `read` gives up to as many as it is
/// asked for, and none only if there are no more, after the last one that it gave.
fn by_pages(
    limit: usize,
    each: &mut Each<'_>,
    mut read: impl FnMut(Option<&Recorded>, usize) -> Result<Vec<Recorded>, ReadError>,
) -> Result<usize, ReadError> {
    let (mut last, mut scanned) = (None, 0);
    loop {
        let most = SCANNED.min(limit - scanned);
        let page = read(last.as_ref(), most)?;
        page.iter().try_for_each(|event| each(&event.borrowed()))?;
        scanned += page.len();
        if page.is_empty() || scanned == limit {
            return Ok(scanned);
        }
        last = page.into_iter().next_back();
    }
}

/// What a scan hands events to.
pub type Each<'a> = dyn FnMut(&EventRef<'_>) -> Result<(), ReadError> + 'a;

/// An append-only log of events (rules L1 to L7).
///
/// Reads are synchronous and served from the page cache; a caller on an async thread that may
/// read much uses a blocking thread.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends; answers when the events are durable.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// Up to `limit` events after a position (exclusive), in order; only durable ones. Fewer where
    /// these have [`READ_BYTES`], none only if there is none.
    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError>;

    /// As [`EventLog::read`], for those who fold many events and need little of each: hands over
    /// each one as it lies in the log, nothing copied. Answers with how many there were; what
    /// `each` says ends it.
    fn scan(&self, after: Position, limit: usize, each: &mut Each<'_>) -> Result<usize, ReadError> {
        by_pages(limit, each, |last, most| self.read(last.map_or(after, |it| it.position), most))
    }

    /// Up to `limit` events of a stream from a revision on (inclusive), in order. Fewer where these
    /// have [`READ_BYTES`], none only if there is none.
    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError>;

    /// As [`EventLog::read_stream`], for those who fold: as [`EventLog::scan`] hands over.
    fn scan_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
        each: &mut Each<'_>,
    ) -> Result<usize, ReadError> {
        by_pages(limit, each, |last, most| {
            self.read_stream(stream, last.map_or(from, |it| it.revision.next()), most)
        })
    }

    /// The last revision of a stream; `None` if it has no event.
    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError>;

    /// What is known of a command id.
    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError>;

    /// Whether the records say who holds which name: not where a build that records no claims gave
    /// objects names, or deleted some.
    fn knows_all_names(&self) -> bool {
        true
    }

    /// Learns which objects hold which names, these and no others; how many of that the records say
    /// otherwise. To be told again with each opening until [`EventLog::knows_all_names`].
    ///
    /// # Errors
    /// When the index cannot be read.
    fn learn_names(&self, _held: &HeldNames) -> Result<u64, ReadError> {
        Ok(0)
    }

    /// Notes that the records say all of names, for the next opening.
    fn all_names_are_recorded(&self) {}

    /// The last position that an archive has taken; 0 if there is none. Of the events up to there
    /// only those of objects that were there then are left; all after it are there.
    fn archived(&self) -> Position {
        Position(0)
    }

    /// Whether all events after a position are there.
    ///
    /// # Errors
    /// Which ones are, where they are not all.
    fn has_all_after(&self, position: Position) -> Result<(), Archived> {
        let archived = self.archived();
        if position >= archived {
            return Ok(());
        }
        Err(Archived { oldest: archived.next(), latest: *self.head().borrow() })
    }

    /// The position of the last durable event, now and whenever it moves (rule S1).
    fn head(&self) -> watch::Receiver<Position>;

    /// How the log is.
    fn health(&self) -> LogHealth;

    /// Answers what is queued, accepts no more, and releases the files.
    async fn close(&self);
}
