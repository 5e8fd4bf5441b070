//! Follows the event log to tell the service's own log what goes wrong and what is put right, and
//! to count what happens for the metrics. So nothing is said here that is not recorded, and what
//! is tried again and again is one line.
//!
//! Not here: what parts of the service say of themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::field::display;

use crate::events::container::ContainerEvent;
use crate::events::log::EventLog;
use crate::events::subscription::Subscription;
use crate::events::{EventPayload as _, Mark, Recorded, Verb};
use crate::http::edge::tally::{Finish, Tally};
use crate::ids::{Kind, ObjectId, Position, Timestamp, WorkId};
use crate::projections::View as _;
use crate::projections::service_reads::ServiceReads;
use crate::with_noun;

/// Work that is kept in mind until it ends: many times what a busy installation has at once. What
/// is beyond is counted without its duration.
const MAX_OPEN: usize = 65_536;

/// Events that are read at once.
const PAGE: usize = 256;

/// What is new is taken in this often: the log is followed for each append by those who must, and
/// each of them costs the appends something.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two tries to read the log.
const RETRY: Duration = Duration::from_secs(1);

/// How long a line waits for the read models, which know the names of objects.
const NAME_WAIT: Duration = Duration::from_secs(1);

/// Work that has not ended.
struct OpenWork {
    kind: Kind,
    verb: Verb,
    asked: Timestamp,
    is_blocked: bool,
    /// Whether it pulled an image.
    pulls: bool,
    /// The object's name, where it is gone when the work is done.
    name: Option<String>,
}

/// Whether an event says that work has begun to pull an image.
fn is_pull(event_type: &str) -> bool {
    matches!(event_type, "container.pull_started" | "pod.pull_started")
}

/// What an event says, whatever its noun.
struct Told {
    mark: Mark,
    work: Option<WorkId>,
    cancelled: Vec<WorkId>,
    verb: Option<Verb>,
    reason: String,
    blocked_on: String,
}

/// What is kept in mind of the log.
pub struct Chronicle {
    reads: ServiceReads,
    tally: Arc<Tally>,
    open: HashMap<WorkId, OpenWork>,
}

impl Chronicle {
    /// Of an installation with these read models.
    pub fn new(reads: ServiceReads, tally: Arc<Tally>) -> Self {
        Self { reads, tally, open: HashMap::new() }
    }

    /// Follows the log after a position until it is closed.
    pub async fn follow(mut self, log: Arc<dyn EventLog>, after: Position) {
        let mut events = Subscription::new(log, after);
        let mut is_read = true;
        loop {
            match events.next_page(PAGE).await {
                Ok(Some(page)) => {
                    is_read = true;
                    for event in &page.events {
                        self.take_in(event).await;
                    }
                    if page.cursor == page.head {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    if is_read {
                        tracing::error!(%error, "the log cannot be read; work is not reported");
                    }
                    is_read = false;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn take_in(&mut self, event: &Recorded) {
        let Some(kind) = event.stream.kind.noun() else { return };
        // What a newer program wrote has no meaning here.
        let Some(told) = told(kind, event) else { return };
        if is_pull(event.event_type.as_str())
            && let Some(open) = told.work.and_then(|work| self.open.get_mut(&work))
        {
            open.pulls = true;
        }
        if kind == Kind::Container
            && let Ok(event) = event.decode()
        {
            self.count_container(&event);
        }
        match told.mark {
            Mark::Asks(verb) => self.ask(kind, verb, event),
            Mark::Done(verb) => self.done(kind, verb, &told, event).await,
            Mark::Failed => self.not_done(kind, Finish::Failed, &told, event).await,
            Mark::Unknown => self.not_done(kind, Finish::Unknown, &told, event).await,
            Mark::Blocked => self.blocked(kind, &told, event).await,
            _ => tracing::debug!(
                object = %event.stream, event = event.event_type.as_str(),
                request_id = event.meta.request_id, "recorded"
            ),
        }
        for id in &told.cancelled {
            if let Some(open) = self.open.remove(id) {
                self.tally.settled(open.kind, open.verb, Finish::Cancelled, None);
            }
        }
    }

    /// What the metrics count of containers besides work.
    fn count_container(&mut self, event: &ContainerEvent) {
        if matches!(event, ContainerEvent::Restarted(_)) {
            self.tally.restarted();
        }
        if let Some(end) = event.run_end()
            && let Some(exit_code) = end.exit_code
        {
            self.tally.ended(exit_code, end.oom_killed);
        }
    }

    fn ask(&mut self, kind: Kind, verb: Verb, event: &Recorded) {
        let is_bay = kind == Kind::Bay && verb == Verb::Delete;
        let name = if is_bay { self.known_name(kind, event.stream.id) } else { None };
        let (asked, is_blocked, pulls) = (event.time, false, false);
        if self.open.len() < MAX_OPEN {
            self.open.insert(event.id, OpenWork { kind, verb, asked, is_blocked, pulls, name });
        }
        tracing::debug!(
            object = %event.stream, work = %event.id, action = verb.name(),
            request_id = event.meta.request_id, "work is asked for"
        );
    }

    /// Forgets work that ended, and counts it.
    fn settle(
        &mut self,
        kind: Kind,
        verb: Verb,
        result: Finish,
        told: &Told,
        event: &Recorded,
    ) -> Option<OpenWork> {
        let open = told.work.and_then(|work| self.open.remove(&work));
        let took = open.as_ref().map(|open| event.time.since_ms(open.asked));
        self.tally.settled(kind, verb, result, took.map(Duration::from_millis));
        if open.as_ref().is_some_and(|open| open.pulls) {
            self.tally.pulled(result);
        }
        open
    }

    async fn done(&mut self, kind: Kind, verb: Verb, told: &Told, event: &Recorded) {
        let open = self.settle(kind, verb, Finish::Done, told, event);
        let was_blocked = open.as_ref().is_some_and(|open| open.is_blocked);
        let of_a_bay = kind == Kind::Bay && matches!(verb, Verb::Create | Verb::Delete);
        let (object, action, request_id) = (event.stream, verb.name(), &event.meta.request_id);
        let work = told.work.unwrap_or_default();
        if was_blocked || of_a_bay {
            let name = match open.and_then(|open| open.name) {
                Some(name) => name,
                None => self.name(kind, event).await,
            };
            tracing::info!(%object, name, %work, action, was_blocked, request_id, "work is done");
        } else {
            tracing::debug!(%object, %work, action, request_id, "work is done");
        }
    }

    async fn not_done(&mut self, kind: Kind, result: Finish, told: &Told, event: &Recorded) {
        let Some(verb) = told.verb else { return };
        self.settle(kind, verb, result, told, event);
        let (object, action, reason) = (event.stream, verb.name(), &told.reason);
        // What was refused at once was no work.
        let (work, request_id) = (told.work.map(display), &event.meta.request_id);
        let name = self.name(kind, event).await;
        // A command that fails in a container is its user's matter.
        if verb.is_inside() {
            tracing::info!(%object, name, work, action, reason, request_id, "work failed");
        } else if result == Finish::Unknown {
            let words = "the outcome of work is unknown";
            tracing::warn!(%object, name, work, action, reason, request_id, "{words}");
        } else {
            tracing::warn!(%object, name, work, action, reason, request_id, "work failed");
        }
    }

    async fn blocked(&mut self, kind: Kind, told: &Told, event: &Recorded) {
        let Some(work) = told.work else { return };
        // What was asked for before the start is known to the read models alone.
        let verb = self.open.get(&work).map(|open| open.verb);
        let verb = verb.or_else(|| self.known_verb(kind, event.stream.id, work));
        let Some(verb) = verb else { return };
        let (object, action) = (event.stream, verb.name());
        let Told { reason, blocked_on, .. } = told;
        let request_id = &event.meta.request_id;
        let open = self.open.entry(work).or_insert_with(|| {
            let (asked, is_blocked, pulls, name) = (event.time, false, false, None);
            OpenWork { kind, verb, asked, is_blocked, pulls, name }
        });
        if std::mem::replace(&mut open.is_blocked, true) {
            tracing::debug!(%object, %work, action, reason, request_id, "work is still blocked");
            return;
        }
        self.tally.blocked(kind, verb);
        let name = self.name(kind, event).await;
        let words = "work is blocked; it is tried again";
        tracing::warn!(%object, name, %work, action, blocked_on, reason, request_id, "{words}");
    }

    /// The name of an event's object as of the event, or of later.
    async fn name(&self, kind: Kind, event: &Recorded) -> String {
        // Without it the line has no name, or an older one.
        drop(self.reads.wait_for(event.position, NAME_WAIT).await);
        self.known_name(kind, event.stream.id).unwrap_or_default()
    }

    fn known_verb(&self, kind: Kind, id: ObjectId, work: WorkId) -> Option<Verb> {
        with_noun!(kind, view V => {
            let view = self.reads.any::<V>(id).ok()??;
            let task = view.tasks().iter().find(|task| task.id == work)?;
            Verb::named(&task.action)
        })
    }

    fn known_name(&self, kind: Kind, id: ObjectId) -> Option<String> {
        with_noun!(kind, view V => {
            let view = self.reads.any::<V>(id).ok()??;
            view.field("name").or_else(|| view.field("host"))
        })
    }
}

/// What an event says; `None` if this build cannot read it.
fn told(kind: Kind, event: &Recorded) -> Option<Told> {
    with_noun!(kind, event E => {
        let payload: E = event.decode().ok()?;
        let failure = payload.failure();
        let blocked = payload.blocked();
        let reason = failure.map(|it| it.reason).or(blocked.map(|it| it.reason.as_str()));
        Some(Told {
            mark: payload.mark(),
            work: payload.work_id().or(blocked.map(|it| it.work_id)),
            cancelled: payload.cancelled().to_vec(),
            verb: payload.failed_verb(),
            reason: reason.unwrap_or_default().to_owned(),
            blocked_on: blocked.map(|it| it.blocked_on.clone()).unwrap_or_default(),
        })
    })
}
