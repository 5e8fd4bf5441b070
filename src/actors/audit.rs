//! The audit streams: what no change of an object shows, as the edges have it recorded. One stream
//! a project; one task writes all of them, so that nothing conflicts.
//!
//! Not here: what is recorded (`http/edge/audit`), and accepted commands, which are events of their
//! objects.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::{AuditRecord, AuditReply, Audited, CommandError};
use crate::clock;
use crate::events::audit::{AuditEvent, CountedV1};
use crate::events::log::{Append, AppendError, EventLog, Expected};
use crate::events::{Meta, NewEvent};
use crate::ids::{EventId, ObjectId, ProjectId, Revision, StreamId, StreamKind, Timestamp};

/// Records that wait for the writer: those who wait for them hold a request each.
const QUEUE: usize = 1024;

/// Records of one append: what came while the last one was synced. As many of the largest, each
/// with a command of 1 MiB, are not too much for an append.
const BATCH: usize = 16;

/// Records of a project in one [`SPAN`]; what is more is counted. Some 3 GB a day, if it goes on
/// all day.
const RECORDS: u32 = 1000;

/// Refusals of one user in a project that are recorded one by one, each as it comes: more than a
/// person runs into. A user's token costs the service nothing, so it must not fill the log.
const REFUSALS: u32 = 100;

/// Then one more is recorded each time: with the counts some 8 MB a day, if it goes on all day.
const REFUSAL_EVERY: Duration = Duration::from_secs(10);

/// How long is counted until the count is recorded.
const SPAN: Duration = Duration::from_secs(10);

/// Decisions again after a conflict: nobody else writes these streams, but a restore may have.
const TRIES: usize = 3;

/// Records that are remembered, so that one that comes twice is recorded once: those of seconds.
const REMEMBERED: usize = 4096;

/// What is to be recorded, and who waits for that.
struct Entry {
    record: AuditRecord,
    done: oneshot::Sender<Result<(), AppendError>>,
}

/// What the writer is sent.
enum Message {
    Entry(Entry),
    /// Nothing more is to be counted.
    Close(oneshot::Sender<()>),
}

/// Where records go. Cheap to clone.
#[derive(Clone)]
pub struct AuditWriter {
    messages: mpsc::Sender<Message>,
}

impl AuditWriter {
    /// Starts the writer; it ends when it is closed.
    ///
    /// While `low_space` says why no changes are taken, the room that is left is for what was
    /// accepted before, and what can be counted is.
    pub fn start(
        log: Arc<dyn EventLog>,
        installation: Uuid,
        low_space: watch::Receiver<Option<String>>,
    ) -> Self {
        let (messages, waiting) = mpsc::channel(QUEUE);
        let (books, seen) = (HashMap::new(), WrittenRecords::default());
        let writer = Writer { log, installation, low_space, books, seen };
        tokio::spawn(writer.run(waiting));
        Self { messages }
    }

    /// Records what was counted, and takes no more.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.messages.send(Message::Close(done)).await.is_ok() {
            // Where the writer panicked there is nothing left to wait for.
            drop(closed.await);
        }
    }

    /// Records something, or counts it.
    ///
    /// # Errors
    /// When it is neither.
    pub async fn record(&self, record: AuditRecord) -> Result<AuditReply, CommandError> {
        let stopped = || CommandError::Unavailable("the service is stopping".to_owned());
        let (done, answer) = oneshot::channel();
        let entry = Message::Entry(Entry { record, done });
        self.messages.send(entry).await.map_err(|_| stopped())?;
        match answer.await.map_err(|_| stopped())? {
            Ok(()) => Ok(AuditReply),
            Err(AppendError::NoSpace(reason)) => Err(CommandError::NoSpace(reason)),
            Err(AppendError::OutcomeUnknown(reason)) => Err(CommandError::OutcomeUnknown(reason)),
            Err(error) => Err(CommandError::Unavailable(error.to_string())),
        }
    }
}

impl From<Audited> for AuditEvent {
    fn from(audited: Audited) -> Self {
        match audited {
            Audited::CommandRefused(refused) => Self::CommandRefused(refused),
            Audited::Read(read) => Self::Read(read),
            Audited::KeyErased(erased) => Self::KeyErased(erased),
            Audited::TokenCreated(created) => Self::TokenCreated(created),
            Audited::TokenRevoked(revoked) => Self::TokenRevoked(revoked),
        }
    }
}

/// The last records that were written.
#[derive(Default)]
struct WrittenRecords {
    ids: HashSet<EventId>,
    order: VecDeque<EventId>,
}

impl WrittenRecords {
    fn note(&mut self, id: EventId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// A project's stream and how much was recorded in it lately.
struct Book {
    project: ProjectId,
    stream: StreamId,
    /// The last revision, once it is known; none inside where the stream has no event.
    head: Option<Option<Revision>>,
    span: Instant,
    records: u32,
    counted: Option<CountedV1>,
    /// What is left to users of [`REFUSALS`], where that is not all.
    left: HashMap<String, Left>,
}

/// How many refusals of a user are still recorded one by one.
struct Left {
    refusals: u32,
    /// As of then.
    at: Instant,
}

impl Left {
    /// Adds what came since.
    fn fill(&mut self) {
        let spans = self.at.elapsed().as_nanos() / REFUSAL_EVERY.as_nanos();
        let new = u32::try_from(spans).unwrap_or(u32::MAX);
        self.at += REFUSAL_EVERY.saturating_mul(new);
        self.refusals = self.refusals.saturating_add(new).min(REFUSALS);
    }
}

/// The one that writes all audit streams.
struct Writer {
    log: Arc<dyn EventLog>,
    installation: Uuid,
    low_space: watch::Receiver<Option<String>>,
    books: HashMap<ProjectId, Book>,
    seen: WrittenRecords,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH);
        loop {
            // Nothing for a while is a time to look at what was counted, too.
            let more = waiting.recv_many(&mut messages, BATCH);
            let mut is_last = tokio::time::timeout(SPAN, more).await == Ok(0);
            let mut closed = None;
            let mut by_project: BTreeMap<ProjectId, Vec<Entry>> = BTreeMap::new();
            for message in messages.drain(..) {
                match message {
                    Message::Entry(entry) => {
                        let project = entry.record.meta.project.clone();
                        by_project.entry(project).or_default().push(entry);
                    }
                    Message::Close(done) => (is_last, closed) = (true, Some(done)),
                }
            }
            for (project, entries) in by_project {
                self.write(project, entries).await;
            }
            self.write_counts(is_last).await;
            if let Some(done) = closed {
                let _ = done.send(());
            }
            if is_last {
                return;
            }
        }
    }

    /// Records what fits into the span and counts the rest; answers all.
    async fn write(&mut self, project: ProjectId, entries: Vec<Entry>) {
        let installation = self.installation;
        let book =
            self.books.entry(project.clone()).or_insert_with(|| Book::new(installation, project));
        if book.span.elapsed() >= SPAN {
            (book.span, book.records) = (Instant::now(), 0);
        }
        let (now, is_low) = (clock::now(), self.low_space.borrow().is_some());
        let (mut new, mut waiting): (Vec<NewEvent>, Vec<_>) = (Vec::new(), Vec::new());
        for Entry { record: AuditRecord { id, meta, what }, done } in entries {
            let event = AuditEvent::from(what);
            if self.seen.ids.contains(&id) {
                let _ = done.send(Ok(()));
            } else if new.iter().any(|new| new.id == id) {
                waiting.push(done);
            } else if !is_counted(&event) || (!is_low && book.has_room(&event, &meta.user)) {
                book.records = book.records.saturating_add(1);
                new.push(NewEvent::new(id, now, meta, &event));
                waiting.push(done);
            } else {
                book.count(&event, now);
                // Who was refused, or got what was read, has gone.
                let _ = done.send(Ok(()));
            }
        }
        if new.is_empty() {
            return;
        }
        let ids: Vec<EventId> = new.iter().map(|event| event.id).collect();
        let written = append(self.log.as_ref(), book, new).await;
        if written.is_ok() {
            ids.into_iter().for_each(|id| self.seen.note(id));
        }
        for done in waiting {
            let _ = done.send(written.clone());
        }
    }

    /// Records what was counted in spans that are over, or in all of them.
    async fn write_counts(&mut self, all: bool) {
        let now = clock::now();
        for book in self.books.values_mut() {
            book.left.retain(|_, left| {
                left.fill();
                left.refusals < REFUSALS
            });
            if !all && book.span.elapsed() < SPAN {
                continue;
            }
            let Some(counted) = book.counted.take() else { continue };
            let project = book.project.clone();
            let meta = Meta { project, user: "magnum:audit".to_owned(), ..Meta::default() };
            let event = AuditEvent::Counted(counted.clone());
            let new = vec![NewEvent::new(clock::new_event_id(), now, meta, &event)];
            if let Err(error) = append(self.log.as_ref(), book, new).await {
                tracing::error!(%error, "a count of audit events is waiting to be recorded");
                book.counted = Some(counted);
            }
        }
    }
}

impl Book {
    fn new(installation: Uuid, project: ProjectId) -> Self {
        let (stream, span) = (stream(installation, &project), Instant::now());
        let left = HashMap::new();
        Self { project, stream, head: None, span, records: 0, counted: None, left }
    }

    /// Whether an event is recorded by itself, which takes a refusal off what is left to its user.
    fn has_room(&mut self, event: &AuditEvent, user: &str) -> bool {
        if !is_counted(event) {
            return true;
        }
        if self.records >= RECORDS {
            return false;
        }
        if !matches!(event, AuditEvent::CommandRefused(_)) {
            return true;
        }
        let all = || Left { refusals: REFUSALS, at: Instant::now() };
        let left = self.left.entry(user.to_owned()).or_insert_with(all);
        left.fill();
        let has_room = left.refusals > 0;
        left.refusals = left.refusals.saturating_sub(1);
        has_room
    }

    fn count(&mut self, event: &AuditEvent, now: Timestamp) {
        let none = CountedV1 { since: now, commands_refused: 0, reads: 0 };
        let counted = self.counted.get_or_insert(none);
        match event {
            AuditEvent::CommandRefused(_) => counted.commands_refused += 1,
            AuditEvent::Read(_) => counted.reads += 1,
            // These are recorded one by one.
            _ => {}
        }
    }
}

/// Whether there may be so many of an event that they are counted; all others are recorded one by
/// one.
const fn is_counted(event: &AuditEvent) -> bool {
    matches!(event, AuditEvent::CommandRefused(_) | AuditEvent::Read(_))
}

/// Records what was done to a log that no service writes to.
///
/// # Errors
/// When it cannot be recorded.
pub async fn record_offline(
    log: &dyn EventLog,
    installation: Uuid,
    reason: Option<String>,
    event: &AuditEvent,
) -> Result<(), AppendError> {
    let mut book = Book::new(installation, ProjectId::default());
    let (project, user) = (book.project.clone(), "magnum:operator".to_owned());
    let meta = Meta { project, user, reason, ..Meta::default() };
    let new = NewEvent::new(clock::new_event_id(), clock::now(), meta, event);
    append(log, &mut book, vec![new]).await
}

/// Appends to a project's stream.
async fn append(
    log: &dyn EventLog,
    book: &mut Book,
    events: Vec<NewEvent>,
) -> Result<(), AppendError> {
    for _ in 0..TRIES {
        let head = match book.head {
            Some(head) => head,
            None => log
                .stream_head(book.stream)
                .map_err(|error| AppendError::Closed(error.to_string()))?,
        };
        let expected = head.map_or(Expected::NoStream, Expected::Exact);
        let events = events.clone();
        let append = Append { stream: book.stream, expected, command: None, events };
        match log.append(append).await {
            Ok(appended) => {
                book.head = Some(Some(appended.revision));
                return Ok(());
            }
            Err(AppendError::Conflict { actual, .. }) => book.head = Some(actual),
            Err(error) => {
                book.head = None;
                return Err(error);
            }
        }
    }
    Err(AppendError::Conflict { stream: book.stream, actual: None })
}

/// The audit stream of a project.
fn stream(installation: Uuid, project: &ProjectId) -> StreamId {
    let id = Uuid::new_v5(&installation, format!("audit/{project}").as_bytes());
    StreamId::new(StreamKind::Audit, ObjectId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Recorded;
    use crate::events::audit::{CommandRefusedV1, KeyErasedV1, ReadV1};
    use crate::events::log::memory::MemoryLog;
    use crate::ids::Position;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_into_a_span_is_counted() {
        let log = Arc::new(MemoryLog::new());
        let writer = AuditWriter::start(log.clone(), Uuid::from_u128(1), watch::channel(None).1);
        record(&writer, RECORDS + 7).await;
        tokio::time::sleep(2 * SPAN).await;
        record(&writer, RECORDS + 3).await;
        writer.close().await;
        let events = log.read(Position(0), usize::MAX).unwrap();
        let counts: Vec<u64> = events.iter().filter_map(counted).collect();
        assert_eq!(counts, [7, 3], "those of the last span too");
        assert_eq!(events.len() - counts.len(), 2 * RECORDS as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn below_the_reserve_all_that_can_be_is_counted() {
        let log = Arc::new(MemoryLog::new());
        let (space, low_space) = watch::channel(Some("1 MiB is free".to_owned()));
        let writer = AuditWriter::start(log.clone(), Uuid::from_u128(1), low_space);
        record(&writer, 5).await;
        let erased = Audited::KeyErased(KeyErasedV1 { key: "k".to_owned() });
        let (id, meta) = (clock::new_event_id(), Meta::default());
        writer.record(AuditRecord { id, meta, what: erased }).await.unwrap();
        assert_eq!(log.read(Position(0), usize::MAX).unwrap().len(), 1, "the key only");
        space.send_replace(None);
        record(&writer, 2).await;
        writer.close().await;
        let events = log.read(Position(0), usize::MAX).unwrap();
        assert_eq!(events.iter().filter_map(counted).collect::<Vec<u64>>(), [5]);
        assert_eq!(events.len(), 1 + 2 + 1);
    }

    async fn record(writer: &AuditWriter, count: u32) {
        for _ in 0..count {
            let read = ReadV1 { object: "container/1".to_owned(), what: "logs".to_owned() };
            let (id, meta) = (clock::new_event_id(), Meta::default());
            let record = AuditRecord { id, meta, what: Audited::Read(read) };
            writer.record(record).await.unwrap();
        }
    }

    fn counted(event: &Recorded) -> Option<u64> {
        match event.borrowed().decode().unwrap() {
            AuditEvent::Counted(counted) => Some(counted.reads + counted.commands_refused),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_is_refused_again_and_again_is_counted_and_others_are_recorded() {
        let log = Arc::new(MemoryLog::new());
        let (_space, low_space) = watch::channel(None);
        let writer = AuditWriter::start(log.clone(), Uuid::from_u128(1), low_space);
        let refuse = async |user: &str, count| {
            for _ in 0..count {
                let what = Audited::CommandRefused(CommandRefusedV1 {
                    object: "container/1".to_owned(),
                    command: "start".to_owned(),
                    code: "forbidden".to_owned(),
                    reason: "no".to_owned(),
                });
                let meta = Meta { user: user.to_owned(), ..Meta::default() };
                let record = AuditRecord { id: clock::new_event_id(), meta, what };
                writer.record(record).await.unwrap();
            }
        };
        let recorded = |user: &str| {
            let events = log.read(Position(0), usize::MAX).unwrap();
            events.iter().filter(|event| event.meta.user == user).count()
        };
        let counts = || {
            let events = log.read(Position(0), usize::MAX).unwrap();
            events.iter().filter_map(counted).collect::<Vec<_>>()
        };
        refuse("eve", REFUSALS + 7).await;
        refuse("bob", 2).await;
        assert_eq!((recorded("eve"), recorded("bob")), (REFUSALS as usize, 2));
        tokio::time::sleep(2 * SPAN).await;
        assert_eq!(counts(), [7], "once it is over");
        refuse("eve", 5).await;
        assert_eq!(recorded("eve"), REFUSALS as usize + 2, "as many as came since");
        tokio::time::sleep(REFUSAL_EVERY * (REFUSALS + 1)).await;
        assert_eq!(counts(), [7, 3]);
        refuse("eve", REFUSALS + 1).await;
        writer.close().await;
        assert_eq!(recorded("eve"), 2 * REFUSALS as usize + 2, "all of them again");
        assert_eq!(counts(), [7, 3, 1]);
    }
}
