//! The life of an object that has work: the only writer of its status and of its queue (rule E6).
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
use super::Fact;
use crate::backends::{Outcome, WorkResult};
use crate::events::status::Status;
use crate::events::work::{WorkBlockedV1, WorkFailedV2, WorkUnknownV2};
use crate::events::{EventPayload, Mark, Verb};
use crate::ids::Timestamp;

/// Status and work of one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lifecycle<S> {
    status: S,
    tasks: WorkQueue,
}

impl<S: Status> Lifecycle<S> {
    /// How far its life is.
    pub const fn status(&self) -> S {
        self.status
    }

    /// What it waits for.
    pub const fn work(&self) -> &WorkQueue {
        &self.tasks
    }

    /// Takes in an event. `effect` is what the event asks for, or the next step of work
    /// that goes on.
    pub fn apply(&mut self, event: &S::Event, effect: Option<Effect>, fact: Fact<'_>) {
        let was_deleting = self.status.is_deleting();
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
            !was_deleting || self.status.is_deleting() || event.mark().ends_work(),
            "only the outcome of a deletion ends it"
        );
    }

    /// What is recorded of an outcome that says that work failed, is unknown or waits; `None` if
    /// the outcome is about no open work, or says something else.
    pub fn setback(&self, outcome: &Outcome, now: Timestamp) -> Option<Setback> {
        let task = self.tasks.current(outcome)?;
        let (work_id, action) = (task.id, task.action.name().to_owned());
        let cancelled = || self.tasks.behind(work_id);
        Some(match &outcome.result {
            WorkResult::Failed { reason } => Setback::Failed(WorkFailedV2 {
                work_id,
                action,
                reason: reason.clone(),
                cancelled: cancelled(),
            }),
            WorkResult::Unknown { reason } => Setback::Unknown(WorkUnknownV2 {
                work_id,
                action,
                reason: reason.clone(),
                cancelled: cancelled(),
            }),
            WorkResult::Blocked { blocked_on, reason, retry } => Setback::Blocked(WorkBlockedV1 {
                work_id,
                attempt: outcome.attempt,
                blocked_on: blocked_on.clone(),
                reason: reason.clone(),
                retry_at: retry.at(now),
            }),
            // The attempt has not begun, so it does not count; it may begin at any time.
            WorkResult::Waiting { blocked_on, reason } => Setback::Blocked(WorkBlockedV1 {
                work_id,
                attempt: outcome.attempt.saturating_sub(1),
                blocked_on: blocked_on.clone(),
                reason: reason.clone(),
                retry_at: now,
            }),
            WorkResult::Done(_) | WorkResult::Progress(_) => return None,
        })
    }
}

/// An outcome other than success, as every noun records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Refused for good, or out of attempts.
    Failed(WorkFailedV2),
    /// Nothing is known.
    Unknown(WorkUnknownV2),
    /// Not now.
    Blocked(WorkBlockedV1),
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
    use crate::ids::{Kind, ObjectId, ProjectId, StreamId, WorkId};

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
