//! Work that an object waits for: one piece after the other, the queue part of its state, and
//! bounded (rule W5). Shared by the nouns that have work.
//!
//! Not here: what each piece does, and who does it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Fact;
use crate::backends::{Action, Outcome, Work, WorkResult};
use crate::events::work::WorkBlockedV1;
use crate::ids::{EventId, ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// Most pieces of work that wait for one object: a person's impatience, with room to spare; more
/// is a client in a loop.
pub const MAX_TASKS: usize = 16;

/// One piece of work that was asked for and has no outcome yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// The event that asked for it.
    pub id: WorkId,
    /// What to do.
    pub action: Action,
    /// The request that it came from.
    pub request_id: String,
    /// How many attempts ended without an outcome.
    pub attempts: u32,
    /// When it is tried next, where it is blocked.
    pub retry_at: Option<Timestamp>,
    /// When nothing stood before it any more.
    pub due_at: Option<Timestamp>,
}

/// All work of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tasks {
    /// One after the other; the first one is under way.
    #[schema(value_type = Vec<Task>)]
    queue: VecDeque<Task>,
    /// Beside the queue: commands that run in a container, which may take for ever.
    beside: Vec<Task>,
}

impl Tasks {
    /// Whether no more fits.
    pub fn is_full(&self) -> bool {
        self.queue.len() + self.beside.len() >= MAX_TASKS
    }

    /// Takes up work that an event asked for.
    pub fn push(&mut self, action: Action, fact: Fact<'_>) {
        let task = Task {
            id: fact.id,
            request_id: fact.request_id.to_owned(),
            attempts: 0,
            retry_at: None,
            due_at: None,
            action,
        };
        if matches!(task.action, Action::ExecuteInContainer { .. }) {
            self.beside.push(task);
        } else {
            self.queue.push_back(task);
        }
    }

    /// Notes since when the first of the queue has been the first.
    pub fn note_turn(&mut self, now: Timestamp) {
        if let Some(first) = self.queue.front_mut() {
            first.due_at.get_or_insert(now);
        }
    }

    /// When it was the turn of the first of the queue.
    pub fn turn(&self) -> Option<Timestamp> {
        self.queue.front()?.due_at
    }

    /// The queue, the piece under way first.
    pub fn queued(&self) -> impl Iterator<Item = &Action> {
        self.queue.iter().map(|task| &task.action)
    }

    /// Whether this work has no outcome yet.
    pub fn contains(&self, id: WorkId) -> bool {
        self.queue.iter().chain(&self.beside).any(|task| task.id == id)
    }

    /// The work that an outcome may end: the first of the queue, or one beside it (rule W4).
    pub fn open(&self, id: WorkId) -> Option<&Task> {
        self.queue.front().into_iter().chain(&self.beside).find(|task| task.id == id)
    }

    /// What an outcome says, where it is about open work and not about an attempt long past.
    pub fn current<'a>(&'a self, outcome: &Outcome) -> Option<&'a Task> {
        let task = self.open(outcome.work_id)?;
        let past = outcome.attempt <= task.attempts;
        let repeats =
            matches!(outcome.result, WorkResult::Blocked { .. } | WorkResult::Waiting { .. });
        (!(past && repeats)).then_some(task)
    }

    /// Drops work that ended.
    pub fn end(&mut self, id: WorkId) {
        self.drop_all(&[id]);
    }

    /// Drops work that was cancelled or ended.
    pub fn drop_all(&mut self, ids: &[EventId]) {
        self.queue.retain(|task| !ids.contains(&task.id));
        self.beside.retain(|task| !ids.contains(&task.id));
    }

    /// Goes on with another action under the same id: the second half of one piece of work.
    pub fn turn_into(&mut self, id: WorkId, action: Action) {
        for task in self.queue.iter_mut().filter(|task| task.id == id) {
            // Attempts are numbered on, so that this half is not taken for the one that is done.
            task.attempts = task.attempts.saturating_add(1);
            task.retry_at = None;
            task.due_at = None;
            task.action = action.clone();
        }
    }

    /// Records that an attempt ended without an outcome.
    pub fn block(&mut self, blocked: &WorkBlockedV1) {
        for task in self.queue.iter_mut().chain(&mut self.beside) {
            if task.id == blocked.work_id {
                task.attempts = blocked.attempt;
                task.retry_at = Some(blocked.retry_at);
            }
        }
    }

    /// What a delete cancels: everything queued, but not a piece that may be under way.
    pub fn cancellable(&self) -> Vec<EventId> {
        let waits = |(place, task): &(usize, &Task)| *place > 0 || task.retry_at.is_some();
        self.queue.iter().enumerate().filter(waits).map(|(_, task)| task.id).collect()
    }

    /// The work that is due now.
    pub fn due(&self, stream: StreamId, project: &ProjectId, node_id: ObjectId) -> Vec<Work> {
        let work = |task: &Task| Work {
            id: task.id,
            attempt: task.attempts.saturating_add(1),
            not_before: task.retry_at,
            due_at: task.due_at,
            stream,
            project: project.clone(),
            node_id,
            request_id: task.request_id.clone(),
            action: task.action.clone(),
        };
        self.queue.front().into_iter().chain(&self.beside).map(work).collect()
    }
}

/// When an attempt is given up that began as soon as it was due.
pub fn deadline(work: &Work) -> Option<Timestamp> {
    let limit = work.action.limit()?;
    let begins = work.not_before.max(work.due_at)?;
    Some(begins.plus_ms(limit.as_secs().saturating_mul(1000)))
}

/// The event payload of an outcome that says "not now".
pub fn blocked(outcome: &Outcome, now: Timestamp) -> Option<WorkBlockedV1> {
    match &outcome.result {
        // The attempt has not begun, so it does not count.
        WorkResult::Waiting { blocked_on, reason } => Some(WorkBlockedV1 {
            work_id: outcome.work_id,
            attempt: outcome.attempt.saturating_sub(1),
            blocked_on: blocked_on.clone(),
            reason: reason.clone(),
            retry_at: now,
        }),
        WorkResult::Blocked { blocked_on, reason, retry_at } => Some(WorkBlockedV1 {
            work_id: outcome.work_id,
            attempt: outcome.attempt,
            blocked_on: blocked_on.clone(),
            reason: reason.clone(),
            retry_at: *retry_at,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Kind;

    #[test]
    fn an_attempt_has_its_time_from_when_it_may_begin() {
        let work = |action: Action, due_at: Option<i64>, not_before: Option<i64>| Work {
            id: WorkId::default(),
            attempt: 1,
            not_before: not_before.map(Timestamp),
            due_at: due_at.map(Timestamp),
            stream: StreamId::new(Kind::Container, ObjectId::default()),
            project: ProjectId::default(),
            node_id: ObjectId::default(),
            request_id: String::new(),
            action,
        };
        let after = |begins_us: i64| Some(Timestamp(begins_us + 40 * 60 * 1_000_000));
        let start =
            |due_at, not_before| deadline(&work(Action::StartContainer, due_at, not_before));
        assert_eq!(start(None, None), None, "it waits behind other work");
        assert_eq!(start(Some(5), None), after(5));
        assert_eq!(start(Some(5), Some(7)), after(7), "it waits for its next attempt");
        assert_eq!(start(Some(9), Some(7)), after(9));
        let command = Action::ExecuteInContainer { command: vec![] };
        assert_eq!(deadline(&work(command, Some(5), None)), None, "it may take for ever");
        assert_eq!(deadline(&work(Action::EmptyBay, Some(5), None)), None);
    }
}
