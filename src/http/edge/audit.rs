//! What no change of an object shows, recorded before it is answered: refused commands and reads
//! of what may hold secrets. One stream a project; one task writes all of them, so that nothing
//! conflicts.
//!
//! A command counts as refused once it reached an object, named a key that was used before, or was
//! nothing that its user may do.
//! What is malformed reached none and is not recorded; `/metrics` counts it. Not here: commands
//! that were accepted, which are events of their objects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::{CommandError, Ctx};
use crate::clock;
use crate::config::AuditConfig;
use crate::events::audit::{AuditEvent, CommandRefusedV1, CountedV1, KeyErasedV1, ReadV1};
use crate::events::cloudevent::redacted;
use crate::events::log::{Append, AppendError, EventLog, Expected};
use crate::events::{Meta, NewEvent};
use crate::http::error::{FORBIDDEN, command_code};
use crate::http::text::derived_uuid;
use crate::ids::{Kind, ObjectId, ProjectId, Revision, StreamId, Timestamp};

/// Records that wait for the writer: those who wait for them hold a request each.
const QUEUE: usize = 1024;

/// Records of one append: what came while the last one was synced.
const BATCH: usize = 64;

/// Records of a project in one [`SPAN`]; what is more is counted. Some 30 MB a day, if it goes on
/// all day.
const RECORDS: u32 = 1000;

/// How long is counted until the count is recorded.
const SPAN: Duration = Duration::from_secs(10);

/// Longest words of a refusal that are recorded, in bytes: a paragraph.
const MAX_WORDS: usize = 1024;

/// Decisions again after a conflict: nobody else writes these streams, but a restore may have.
const TRIES: usize = 3;

/// What wants to be recorded, and who waits for that.
struct Entry {
    meta: Meta,
    event: AuditEvent,
    done: oneshot::Sender<Result<(), AppendError>>,
}

/// Takes down what happened. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    wanted: AuditConfig,
    entries: mpsc::Sender<Entry>,
}

impl Audit {
    /// Starts the writer; it ends with the last clone.
    pub fn start(log: Arc<dyn EventLog>, installation: Uuid, wanted: AuditConfig) -> Self {
        let (entries, waiting) = mpsc::channel(QUEUE);
        let writer = Writer { log, installation, books: HashMap::new() };
        tokio::spawn(writer.run(waiting));
        Self { wanted, entries }
    }

    /// Records that a command was refused, if it was. The answer is the same either way.
    pub async fn refused(
        &self,
        ctx: &Ctx,
        stream: StreamId,
        command: &Value,
        error: &CommandError,
    ) {
        let is_refusal = matches!(error, CommandError::Refused(_) | CommandError::CommandIdReused);
        if !self.wanted.refusals || !is_refusal {
            return;
        }
        let event = AuditEvent::CommandRefused(CommandRefusedV1 {
            object: stream.to_string(),
            command: name_of(command),
            code: command_code(error).to_owned(),
            reason: shortened(error.to_string()),
        });
        let command = Some(redacted(command.clone()).to_string()).filter(|_| !command.is_null());
        if let Err(error) = self.record(Meta { command, ..ctx.meta() }, event).await {
            tracing::error!(%error, %stream, "a refusal was not recorded");
        }
    }

    /// Records that somebody asked for what they may not. The answer is the same either way.
    pub async fn forbidden(&self, meta: Meta, object: String, command: String, words: String) {
        if !self.wanted.refusals {
            return;
        }
        let code = FORBIDDEN.to_owned();
        let refused = CommandRefusedV1 { object, command, code, reason: shortened(words) };
        if let Err(error) = self.record(meta, AuditEvent::CommandRefused(refused)).await {
            tracing::error!(%error, "a refusal was not recorded");
        }
    }

    /// Records that a container's log is read, if that is wanted.
    ///
    /// # Errors
    /// When it cannot be recorded: then it is not to be read.
    pub async fn logs(&self, ctx: &Ctx, stream: StreamId) -> Result<(), CommandError> {
        self.read(self.wanted.logs, ctx, stream, "logs").await
    }

    /// Records that the output of a command is read, if that is wanted.
    ///
    /// # Errors
    /// When it cannot be recorded: then it is not to be read.
    pub async fn execute_output(&self, ctx: &Ctx, stream: StreamId) -> Result<(), CommandError> {
        self.read(self.wanted.executes, ctx, stream, "execute_output").await
    }

    /// Records that a key was erased, always.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn key_erased(&self, ctx: &Ctx, key: String) -> Result<(), CommandError> {
        let recorded = self.record(ctx.meta(), AuditEvent::KeyErased(KeyErasedV1 { key })).await;
        recorded.map_err(|error| {
            CommandError::Unavailable(format!("the key is erased, but not on record: {error}"))
        })
    }

    async fn read(
        &self,
        is_wanted: bool,
        ctx: &Ctx,
        stream: StreamId,
        what: &str,
    ) -> Result<(), CommandError> {
        if !is_wanted {
            return Ok(());
        }
        let (object, what) = (stream.to_string(), what.to_owned());
        let recorded = self.record(ctx.meta(), AuditEvent::Read(ReadV1 { object, what })).await;
        recorded.map_err(|error| match error {
            AppendError::NoSpace(reason) => CommandError::NoSpace(reason),
            error => CommandError::Unavailable(format!("the read cannot be recorded: {error}")),
        })
    }

    async fn record(&self, meta: Meta, event: AuditEvent) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        let stopped = || AppendError::Closed("the service stops".to_owned());
        self.entries.send(Entry { meta, event, done }).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// What a command asks for: `start` of `"start"` and of `{"start": {…}}`.
fn name_of(command: &Value) -> String {
    let name = match command {
        Value::String(name) => Some(name),
        Value::Object(fields) => fields.keys().next(),
        _ => None,
    };
    name.map_or_else(|| "repeat".to_owned(), Clone::clone)
}

fn shortened(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(MAX_WORDS));
    words
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
}

/// The one that writes all audit streams.
struct Writer {
    log: Arc<dyn EventLog>,
    installation: Uuid,
    books: HashMap<ProjectId, Book>,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Entry>) {
        let mut entries = Vec::with_capacity(BATCH);
        loop {
            entries.clear();
            let more = tokio::time::timeout(SPAN, waiting.recv_many(&mut entries, BATCH)).await;
            let is_last = more == Ok(0);
            let mut by_project: HashMap<ProjectId, Vec<Entry>> = HashMap::new();
            for entry in entries.drain(..) {
                by_project.entry(entry.meta.project.clone()).or_default().push(entry);
            }
            for (project, entries) in by_project {
                self.write(project, entries).await;
            }
            self.write_counts(is_last).await;
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
        let (now, mut new, mut waiting) = (clock::now(), Vec::new(), Vec::new());
        for Entry { meta, event, done } in entries {
            if book.records < RECORDS || matches!(event, AuditEvent::KeyErased(_)) {
                book.records = book.records.saturating_add(1);
                new.push(NewEvent::new(clock::new_event_id(), now, meta, &event));
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
        let written = append(self.log.as_ref(), book, new).await;
        for done in waiting {
            let _ = done.send(written.clone());
        }
    }

    /// Records what was counted in spans that are over, or in all of them.
    async fn write_counts(&mut self, all: bool) {
        let now = clock::now();
        for book in self.books.values_mut() {
            if !all && book.span.elapsed() < SPAN {
                continue;
            }
            let Some(counted) = book.counted.take() else { continue };
            let project = book.project.clone();
            let meta = Meta { project, user: "magnum:audit".to_owned(), ..Meta::default() };
            let event = AuditEvent::Counted(counted.clone());
            let new = vec![NewEvent::new(clock::new_event_id(), now, meta, &event)];
            if let Err(error) = append(self.log.as_ref(), book, new).await {
                tracing::error!(%error, "a count of what was not recorded one by one waits");
                book.counted = Some(counted);
            }
        }
    }
}

impl Book {
    fn new(installation: Uuid, project: ProjectId) -> Self {
        let (stream, span) = (stream(installation, &project), Instant::now());
        Self { project, stream, head: None, span, records: 0, counted: None }
    }

    fn count(&mut self, event: &AuditEvent, now: Timestamp) {
        let none = CountedV1 { since: now, commands_refused: 0, reads: 0 };
        let counted = self.counted.get_or_insert(none);
        match event {
            AuditEvent::CommandRefused(_) => counted.commands_refused += 1,
            AuditEvent::Read(_) => counted.reads += 1,
            // These are recorded one by one.
            AuditEvent::Counted(_) | AuditEvent::KeyErased(_) | AuditEvent::Archived(_) => {}
        }
    }
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
    StreamId::new(Kind::Audit, ObjectId(derived_uuid(installation, &format!("audit/{project}"))))
}
