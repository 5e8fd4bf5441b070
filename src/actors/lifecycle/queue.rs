//! Work that one object waits for: one item after the other, bounded (rule W5), and beside the
//! queue the commands that run in it.
//!
//! Not here: what changes it ([`super::Lifecycle`], the only one that may).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::effect::{DueWork, Effect};
use crate::actors::Fact;
use crate::backends::{Action, Exec, Load, Order, Outcome, WorkResult};
use crate::bus::Refusal;
use crate::events::Verb;
use crate::events::work::WorkBlockedV1;
use crate::ids::{EventId, ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// Most items that wait in one object's queue: a person's impatience, with room to spare; more is
/// a client in a loop.
pub const MAX_QUEUED: usize = 16;

/// Most commands that run in one container at once: each holds a connection to the engine.
pub const MAX_EXECUTIONS: usize = 16;

/// One work item that was asked for and has no outcome yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// The event that asked for it.
    pub id: WorkId,
    /// What to do.
    #[serde(with = "super::effect::kept")]
    pub action: Effect,
    /// The request that it came from.
    pub request_id: String,
    /// How many attempts ended without an outcome.
    pub attempts: u32,
    /// When it is tried next, if it is blocked.
    pub retry_at: Option<Timestamp>,
    /// Since when it has been its turn: it is the first in the queue, and no signal is open that
    /// passed what was before it.
    pub due_at: Option<Timestamp>,
}

/// All work of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkQueue {
    /// One after the other; the first one is in progress.
    #[schema(value_type = Vec<Task>)]
    queue: VecDeque<Task>,
    /// Commands that run in a container, which may take forever, what ends them, and signals that
    /// passed a stop. They hold nothing else back.
    executions: Vec<Task>,
}

impl WorkQueue {
    /// Whether nothing more can be queued; signals beside the queue count.
    pub fn is_full(&self) -> bool {
        self.queue.len() + self.signals().count() >= MAX_QUEUED
    }

    /// Whether what is in progress waits for a process to end, or for its turn to do so.
    pub fn waits_for_an_end(&self) -> bool {
        self.queue.front().is_some_and(|first| first.action.traits().load == Load::Wait)
    }

    /// Signals that passed what waits for a process to end.
    pub fn signals(&self) -> impl Iterator<Item = &Task> {
        self.executions.iter().filter(|task| task.action.verb() == Verb::Kill)
    }

    /// Whether no further command may run.
    pub fn is_full_of_executions(&self) -> bool {
        let runs = |task: &&Task| task.action.verb() == Verb::Execute;
        self.executions.iter().filter(runs).count() >= MAX_EXECUTIONS
    }

    /// Since when it has been the turn of the first in the queue.
    pub fn turn(&self) -> Option<Timestamp> {
        self.queue.front()?.due_at
    }

    /// The queue, the item in progress first.
    pub fn queued(&self) -> impl Iterator<Item = &Task> {
        self.queue.iter()
    }

    /// The commands that run, what ends them, and signals.
    pub fn executions(&self) -> impl Iterator<Item = &Task> {
        self.executions.iter()
    }

    /// Whether a command that runs is to end already.
    ///
    /// # Errors
    /// When no such command runs: it may have ended since.
    pub fn is_asked_to_end(&self, execution_id: WorkId) -> Result<bool, Refusal> {
        let runs = |task: &Task| task.id == execution_id && task.action.verb() == Verb::Execute;
        if !self.executions().any(runs) {
            let id = ObjectId(execution_id.0);
            return Err(Refusal::NotFound { kind: "Execution".to_owned(), id });
        }
        let ending = Effect::Engine(Action::Exec(Exec::End { execution_id }));
        Ok(self.executions().any(|task| task.action == ending))
    }

    /// Whether this work has no outcome yet.
    pub fn contains(&self, id: WorkId) -> bool {
        self.queue.iter().chain(&self.executions).any(|task| task.id == id)
    }

    /// What open work does.
    pub(super) fn verb_of(&self, id: WorkId) -> Option<Verb> {
        let mut open = self.queue.iter().chain(&self.executions);
        open.find(|task| task.id == id).map(|task| task.action.verb())
    }

    /// The work that an outcome is about, if it is still open and the outcome is not that of an
    /// attempt long past (rule W4).
    pub fn current<'a>(&'a self, outcome: &Outcome) -> Option<&'a Task> {
        let mut open = self.queue.front().into_iter().chain(&self.executions);
        let task = open.find(|task| task.id == outcome.work_id)?;
        let past = outcome.attempt <= task.attempts;
        let repeats =
            matches!(outcome.result, WorkResult::Blocked { .. } | WorkResult::Waiting { .. });
        (!(past && repeats)).then_some(task)
    }

    /// What is cancelled when work fails: all that is queued behind it (rule W9).
    pub fn behind(&self, id: WorkId) -> Vec<EventId> {
        let is_first = self.queue.front().is_some_and(|first| first.id == id);
        if is_first { self.queue.iter().skip(1).map(|task| task.id).collect() } else { vec![] }
    }

    /// The work that is due now.
    pub fn due(&self, stream: StreamId, project: &ProjectId, node_id: ObjectId) -> Vec<DueWork> {
        let work = |task: &Task| DueWork {
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
        let first = self.queue.front().filter(|first| first.due_at.is_some());
        first.into_iter().chain(&self.executions).map(work).collect()
    }

    /// Takes up work that an event asked for.
    pub(super) fn push(&mut self, action: Effect, fact: Fact<'_>) {
        let task = Task {
            id: fact.id,
            request_id: fact.request_id.to_owned(),
            attempts: 0,
            retry_at: None,
            due_at: None,
            action,
        };
        match task.action.traits().order {
            Order::Beside => self.executions.push(task),
            Order::PastWaits if self.waits_for_an_end() => self.executions.push(task),
            _ => self.queue.push_back(task),
        }
    }

    /// Drops work that ended or was cancelled.
    pub(super) fn drop_all(&mut self, ids: &[EventId]) {
        self.queue.retain(|task| !ids.contains(&task.id));
        self.executions.retain(|task| !ids.contains(&task.id));
    }

    /// Drops everything that is queued, and signals: a delete overtakes it (rule W5).
    pub(super) fn overtake(&mut self) {
        self.queue.clear();
        self.executions.retain(|task| task.action.verb() != Verb::Kill);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Continues with another action under the same id: the next step of one work item.
    pub(super) fn continue_as(&mut self, id: WorkId, action: &Effect) {
        for task in self.queue.iter_mut().filter(|task| task.id == id) {
            // Attempts are numbered on, so that this step is not taken for the one that is done.
            task.attempts = task.attempts.saturating_add(1);
            task.retry_at = None;
            task.due_at = None;
            task.action = action.clone();
        }
    }

    /// Records that an attempt ended without an outcome.
    pub(super) fn block(&mut self, blocked: &WorkBlockedV1) {
        for task in self.queue.iter_mut().chain(&mut self.executions) {
            if task.id == blocked.work_id {
                task.attempts = blocked.attempt;
                task.retry_at = Some(blocked.retry_at);
            }
        }
    }

    /// Records that work that waited proceeds.
    pub(super) fn resume(&mut self, id: WorkId) {
        for task in self.queue.iter_mut().chain(&mut self.executions) {
            if task.id == id {
                task.retry_at = None;
            }
        }
    }

    /// Records since when it has been the turn of the first in the queue. Signals that passed what
    /// was before it are for the process that ended with that, so they end first: later they would
    /// meet the process that this one starts.
    pub(super) fn note_turn(&mut self, now: Timestamp) {
        let waits = self.signals().next().is_some();
        if let Some(first) = self.queue.front_mut().filter(|_| !waits) {
            first.due_at.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Desired, Operation};
    use crate::events::codec;

    #[test]
    fn a_signal_passes_a_stop_or_a_reboot_and_a_delete_overtakes_both() {
        let push = |queue: &mut WorkQueue, number: u128, operation: Operation| {
            let id = EventId(uuid::Uuid::from_u128(number));
            let (object, time) = (ObjectId::default(), Timestamp(0));
            let fact = Fact { id, object, time, project: "", request_id: "" };
            queue.push(Effect::Engine(Action::Do(operation)), fact);
        };
        let kill = || Operation::Kill { signal: "SIGKILL".to_owned() };
        for waits in [Operation::Stop { grace_s: 3600 }, Operation::Reboot { grace_s: 3600 }] {
            let mut queue = WorkQueue::default();
            push(&mut queue, 1, waits);
            queue.note_turn(Timestamp(1));
            for number in 2..=MAX_QUEUED as u128 {
                assert!(!queue.is_full());
                push(&mut queue, number, kill());
            }
            assert!(queue.is_full(), "there are as many as may wait");
            let stream = StreamId::new(crate::ids::Kind::Container, ObjectId::default());
            let due = queue.due(stream, &ProjectId::default(), ObjectId::default());
            assert_eq!((queue.queued().count(), due.len()), (1, MAX_QUEUED));
            queue.overtake();
            assert_eq!(queue, WorkQueue::default());
        }
        let mut queue = WorkQueue::default();
        push(&mut queue, 1, Operation::Start);
        push(&mut queue, 2, kill());
        assert_eq!((queue.queued().count(), queue.signals().count()), (2, 0));
    }

    #[test]
    fn what_is_queued_behind_a_stop_waits_for_the_signals_that_passed_it() {
        let id = |number: u128| EventId(uuid::Uuid::from_u128(number));
        let push = |queue: &mut WorkQueue, number: u128, operation: Operation| {
            let (object, time) = (ObjectId::default(), Timestamp(0));
            let fact = Fact { id: id(number), object, time, project: "", request_id: "" };
            queue.push(Effect::Engine(Action::Do(operation)), fact);
            queue.note_turn(Timestamp(1));
        };
        let due = |queue: &WorkQueue| -> Vec<EventId> {
            let stream = StreamId::new(crate::ids::Kind::Container, ObjectId::default());
            let due = queue.due(stream, &ProjectId::default(), ObjectId::default());
            due.iter().map(|work| work.id).collect()
        };
        for next in [Operation::Start, Operation::Reboot { grace_s: 1 }] {
            let mut queue = WorkQueue::default();
            push(&mut queue, 1, Operation::Stop { grace_s: 600 });
            push(&mut queue, 2, Operation::Kill { signal: "SIGKILL".to_owned() });
            push(&mut queue, 3, next);
            assert_eq!(due(&queue), [id(1), id(2)]);
            queue.drop_all(&[id(1)]);
            queue.note_turn(Timestamp(2));
            assert_eq!((due(&queue), queue.turn()), (vec![id(2)], None));
            queue.drop_all(&[id(2)]);
            queue.note_turn(Timestamp(3));
            assert_eq!((due(&queue), queue.turn()), (vec![id(3)], Some(Timestamp(3))));
        }
    }

    #[test]
    fn a_snapshot_keeps_what_waits() {
        let spec = crate::events::container::ContainerSpec::default();
        let container = Desired::Container { name: None, bay_id: ObjectId::default(), spec };
        let effects = [
            Effect::Engine(Action::Apply(container)),
            Effect::Engine(Action::Do(Operation::Stop { grace_s: 3 })),
            Effect::Conductor(super::super::Cascade::EmptyBay),
        ];
        for action in effects {
            let task = Task {
                id: WorkId::default(),
                action,
                request_id: String::new(),
                attempts: 1,
                retry_at: None,
                due_at: None,
            };
            assert_eq!(codec::decode::<Task>(&codec::encode(&task)).unwrap(), task);
        }
    }
}
