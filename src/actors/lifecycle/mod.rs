//! The life of an object that has work: the only writer of its status and of its queue (rule E6).
//! It is the whole state of a noun that needs to know no more, and a part of that of others.
//!
//! A delete is the last goal of an object: it cancels what is queued, and from then on only its own
//! outcome counts. Not here: what an event asks a backend for, and what is allowed when (one file a
//! noun); the status itself (`events/<noun>.rs`).

mod effect;
mod queue;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::effect::{Cascade, Due, DueWork, Effect};
pub use self::queue::{MAX_EXECUTIONS, MAX_QUEUED, Task, WorkQueue};
use super::{Fact, ObjectState};
use crate::backends::{Done, Outcome, WorkResult};
use crate::events::status::Status;
use crate::events::work::{WorkBlockedV1, WorkEvent, WorkFailedV2, WorkResumedV1, WorkUnknownV2};
use crate::events::{EventPayload, Mark, Verb};
use crate::ids::{Kind, ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// Whose an object is, its status and its work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lifecycle<S> {
    project: Option<ProjectId>,
    id: ObjectId,
    /// Where its work is done.
    node_id: ObjectId,
    /// When creation counts as failed, if ever.
    create_deadline: Option<Timestamp>,
    status: S,
    tasks: WorkQueue,
    /// Why its deletion does not end, as of the last attempt, if one was made: it is blocked, or
    /// has failed.
    stuck: Option<String>,
}

impl<S: Status> ObjectState for Lifecycle<S> {
    const HAS_WORK: bool = true;

    fn project(&self) -> Option<&ProjectId> {
        self.project.as_ref()
    }

    fn due(&self, kind: Kind) -> Vec<DueWork> {
        let Some(project) = &self.project else { return vec![] };
        self.tasks.due(StreamId::new(kind, self.id), project, self.node_id)
    }

    fn awaits(&self, id: WorkId) -> bool {
        self.tasks.contains(id)
    }
}

impl<S: Status> Lifecycle<S> {
    /// The life of an object whose work is done on a node, before the event that asks for it is
    /// applied. Its creation counts as failed after so many minutes; after 0 never.
    pub fn begin(fact: Fact<'_>, node_id: ObjectId, create_timeout_min: u32) -> Self {
        let timeout_ms = u64::from(create_timeout_min).saturating_mul(60_000);
        Self {
            project: Some(ProjectId(fact.project.to_owned())),
            id: fact.object,
            node_id,
            create_deadline: (timeout_ms > 0).then(|| fact.time.plus_ms(timeout_ms)),
            ..Self::default()
        }
    }

    /// The object.
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// How far its life is.
    pub const fn status(&self) -> S {
        self.status
    }

    /// What it waits for.
    pub const fn work(&self) -> &WorkQueue {
        &self.tasks
    }

    /// Why its deletion, which was tried, does not end: only then may it be given up.
    pub fn stuck(&self) -> Option<&str> {
        self.stuck.as_deref()
    }

    /// Work that a delete cancels; none, not even an empty list, if one was asked for before.
    pub fn overtaken(&self) -> Option<Vec<WorkId>> {
        let works = self.tasks.queued().chain(self.tasks.signals());
        (!self.status.is_deleting()).then(|| works.map(|task| task.id).collect())
    }

    /// Work that ends without an outcome if it is given up.
    pub fn open(&self) -> Vec<WorkId> {
        self.tasks.queued().chain(self.tasks.executions()).map(|task| task.id).collect()
    }

    /// Takes in an event. `effect` is what the event asks for, or the next step of work
    /// that goes on.
    pub fn apply(&mut self, event: &S::Event, effect: Option<Effect>, fact: Fact<'_>) {
        let was_deleting = self.status.is_deleting();
        self.note_stuck(event);
        self.status = self.status.after(event);
        self.tasks.drop_all(event.cancelled());
        match (event.mark(), effect, event.work_id()) {
            (Mark::Asks(verb), Some(effect), _) => {
                if verb == Verb::Delete {
                    self.tasks.overtake();
                }
                self.tasks.push(effect, fact);
            }
            (Mark::Done(Verb::Delete), ..) => self.tasks.clear(),
            (Mark::Step, Some(effect), Some(id)) => self.tasks.continue_as(id, &effect),
            (Mark::Progress, _, Some(id)) => self.tasks.resume(id),
            (Mark::Done(_) | Mark::Failed | Mark::Unknown, _, Some(id)) => {
                self.tasks.drop_all(&[id]);
            }
            _ => {}
        }
        if let Some(blocked) = event.blocked() {
            self.tasks.block(blocked);
        }
        self.tasks.note_turn(fact.time);
        debug_assert!(
            !was_deleting
                || self.status.is_deleting()
                || event.mark().ends_work()
                || event.is_end(),
            "only the outcome of a deletion ends it, or that it is given up"
        );
    }

    /// Takes in what an event says of a deletion. That one is asked for again does not make it one
    /// that was not tried.
    fn note_stuck(&mut self, event: &S::Event) {
        let deletes = |verb| matches!(verb, Some(Verb::Empty | Verb::Delete));
        let is_deletion = |id| deletes(self.tasks.verb_of(id));
        let blocked = event.blocked().filter(|blocked| is_deletion(blocked.work_id));
        let failed = event.failure().filter(|_| deletes(event.failed_verb()));
        let reason = blocked.map(|it| it.reason.as_str()).or(failed.map(|it| it.reason));
        let goes_on = match event.mark() {
            Mark::Progress => event.work_id().is_some_and(is_deletion),
            mark => mark == Mark::Step || mark.ends_work() || event.is_end(),
        };
        if reason.is_some() || goes_on {
            self.stuck = reason.map(str::to_owned);
        }
    }

    /// What an outcome of open work leads to; late and repeated outcomes change nothing (rule W4).
    /// `done` says what is recorded of work that is done.
    pub fn settle(
        &self,
        outcome: &Outcome,
        now: Timestamp,
        done: impl FnOnce(&Task, &Done) -> Option<S::Event>,
    ) -> Vec<S::Event>
    where
        S::Event: From<WorkEvent>,
    {
        let Some(task) = self.tasks.current(outcome) else { return vec![] };
        let work_id = task.id;
        let blocked = |attempt, on: &str, reason: &str, retry_at| {
            let (blocked_on, reason) = (on.to_owned(), reason.to_owned());
            WorkEvent::Blocked(WorkBlockedV1 { work_id, attempt, blocked_on, reason, retry_at })
        };
        let event = match &outcome.result {
            WorkResult::Done(result) => return Vec::from_iter(done(task, result)),
            WorkResult::Progress(_) if task.retry_at.is_none() => return vec![],
            WorkResult::Progress(_) => WorkEvent::Resumed(WorkResumedV1 { work_id }),
            WorkResult::Failed { reason } | WorkResult::NotStarted { reason, .. } => {
                self.failed(task, reason.clone())
            }
            WorkResult::Unknown { reason } => WorkEvent::Unknown(WorkUnknownV2 {
                work_id,
                action: task.action.name().to_owned(),
                reason: reason.clone(),
                cancelled: self.tasks.behind(work_id),
            }),
            WorkResult::Blocked { reason, .. } if self.is_overdue(task, now) => {
                let late = format!("not created within its timeout; last reason: {reason}");
                self.failed(task, late)
            }
            WorkResult::Blocked { blocked_on, reason, retry } => {
                blocked(outcome.attempt, blocked_on, reason, retry.at(now))
            }
            // The attempt has not begun, so it does not count; it may begin at any time.
            WorkResult::Waiting { blocked_on, reason } => {
                blocked(outcome.attempt.saturating_sub(1), blocked_on, reason, now)
            }
        };
        vec![event.into()]
    }

    fn failed(&self, task: &Task, reason: String) -> WorkEvent {
        let (work_id, action) = (task.id, task.action.name().to_owned());
        let cancelled = self.tasks.behind(work_id);
        WorkEvent::Failed(WorkFailedV2 { work_id, action, reason, cancelled })
    }

    fn is_overdue(&self, task: &Task, now: Timestamp) -> bool {
        let is_past = self.create_deadline.is_some_and(|deadline| deadline <= now);
        is_past && task.action.verb() == Verb::Create
    }
}

/// When an attempt is given up that began as soon as it was due.
pub fn deadline(work: &DueWork) -> Option<Timestamp> {
    let limit = work.action.traits().limit?;
    let begins = work.not_before.max(work.due_at)?;
    Some(begins.plus_ms(limit.as_secs().saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Action, Exec, Operation, Work};

    #[test]
    fn an_attempt_has_its_time_from_when_it_may_begin() {
        let work = |effect: Effect, due_at: Option<i64>, not_before: Option<i64>| Work {
            id: WorkId::default(),
            attempt: 1,
            not_before: not_before.map(Timestamp),
            due_at: due_at.map(Timestamp),
            stream: StreamId::new(Kind::Container, ObjectId::default()),
            project: ProjectId::default(),
            node_id: ObjectId::default(),
            request_id: String::new(),
            action: effect,
        };
        let after = |begins_us: i64| Some(Timestamp(begins_us + 40 * 60 * 1_000_000));
        let start = |due_at, not_before| {
            deadline(&work(Action::Do(Operation::Start).into(), due_at, not_before))
        };
        assert_eq!(start(None, None), None, "it waits behind other work");
        assert_eq!(start(Some(5), None), after(5));
        assert_eq!(start(Some(5), Some(7)), after(7), "it waits for its next attempt");
        assert_eq!(start(Some(9), Some(7)), after(9));
        let command = Action::Exec(Exec::Start { command: vec![] });
        assert_eq!(deadline(&work(command.into(), Some(5), None)), None, "it may take for ever");
        assert_eq!(deadline(&work(Effect::Conductor(Cascade::EmptyBay), Some(5), None)), None);
    }
}
