//! How the tasks and outcomes of a view follow the events of work, whatever the noun.
//!
//! Not here: what an outcome means for the object (one file a noun).

use super::held::Held;
use super::{OUTCOMES, OutcomeView, TaskView};
use crate::events::status::Status;
use crate::events::work::{Failure, WorkBlockedV1};
use crate::events::{EventPayload, EventRef, Mark, Verb};
use crate::ids::WorkId;

/// The tasks and outcomes of one view, while an event is applied to it.
pub(super) struct WorkOf<'a> {
    pub tasks: &'a mut Vec<TaskView>,
    pub outcomes: &'a mut Vec<OutcomeView>,
    pub event: &'a EventRef<'a>,
}

impl WorkOf<'_> {
    /// Takes in what an event means for work.
    pub fn follow<E: EventPayload>(&mut self, payload: &E) {
        match (payload.mark(), payload.work_id()) {
            (Mark::Asks(verb), _) => {
                if verb == Verb::Delete {
                    let queued = self.tasks.iter().filter(|task| !runs_beside(&task.action));
                    let overtaken: Vec<WorkId> = queued.map(|task| task.id).collect();
                    self.cancel(&overtaken, "cancelled by a delete");
                }
                self.ask(verb);
            }
            (Mark::Done(verb), Some(work)) => self.end(work, verb.name(), None),
            (Mark::Failed | Mark::Unknown, Some(work)) => {
                let Some(Failure { action, reason }) = payload.failure() else { return };
                self.end(work, action, Some(reason.to_owned()));
                let why = match payload.mark() {
                    Mark::Unknown => {
                        format!("cancelled, because the outcome of {action} is unknown: {reason}")
                    }
                    _ => format!("cancelled, because {action} failed: {reason}"),
                };
                self.cancel(payload.cancelled(), &why);
            }
            (Mark::Progress, Some(work)) => progress(self.tasks, work, None),
            _ => {}
        }
        if let Some(blocked) = payload.blocked() {
            block(self.tasks, self.event, blocked);
        }
    }

    /// Adds work: what is queued before the commands that run beside the queue, so that the first
    /// task is the one that others wait for.
    fn ask(&mut self, verb: Verb) {
        let first = self.tasks.iter().position(|task| runs_beside(&task.action));
        let place = first.filter(|_| !verb.runs_beside()).unwrap_or(self.tasks.len());
        let task = TaskView {
            id: self.event.id,
            action: verb.name().to_owned(),
            requested_at: self.event.time,
            attempts: 0,
            blocked_on: None,
            reason: None,
            blocked_since: None,
            retry_at: None,
            progress: None,
        };
        self.tasks.insert(place, task);
    }

    fn end(&mut self, work: WorkId, action: &str, failure: Option<String>) {
        self.tasks.retain(|task| task.id != work);
        if self.outcomes.len() >= OUTCOMES {
            self.outcomes.remove(0);
        }
        self.outcomes.push(OutcomeView {
            work_id: work,
            action: action.to_owned(),
            failure,
            exit_code: None,
            position: self.event.position,
        });
    }

    fn cancel(&mut self, works: &[WorkId], why: &str) {
        for work in works {
            let Some(task) = self.tasks.iter().find(|task| task.id == *work) else { continue };
            let action = task.action.clone();
            self.end(*work, &action, Some(why.to_owned()));
        }
    }
}

/// The methods of a [`View`](super::View) that keeps its work in `tasks` and `outcomes`.
macro_rules! has_work {
    () => {
        fn work(&mut self) -> Option<(&mut Vec<TaskView>, &mut Vec<OutcomeView>)> {
            Some((&mut self.tasks, &mut self.outcomes))
        }

        fn tasks(&self) -> &[TaskView] {
            &self.tasks
        }

        fn outcomes(&self) -> &[OutcomeView] {
            &self.outcomes
        }

        fn is_deleting(&self) -> bool {
            self.status.is_deleting()
        }
    };
}
pub(super) use has_work;

/// Moves a status on. What changes it is its reason, in words if it is a failure.
pub(super) fn follow<S: Status>(status: &mut S, reason: &mut Option<String>, payload: &S::Event) {
    let before = *status;
    *status = before.after(payload);
    if *status != before {
        *reason = explained(payload);
    }
}

/// Why an object has the status that a failure led to, in words; `None` if none did.
pub(super) fn explained<E: EventPayload>(payload: &E) -> Option<String> {
    let Failure { action, reason } = payload.failure()?;
    Some(match payload.mark() {
        Mark::Unknown => format!("outcome of {action} is unknown: {reason}"),
        _ => format!("{action} failed: {reason}"),
    })
}

/// What is shown of why an object is as it is: of work that is blocked the reason, in words,
/// because clients of 2015 do not know of `task`; otherwise why its status is what it is.
pub(super) fn reason<'a>(tasks: &'a [TaskView], status_reason: Option<&'a str>) -> Held<'a> {
    let blocked = tasks.first().filter(|task| task.blocked_on.is_some());
    match blocked.and_then(|task| Some((task, task.reason.as_deref()?))) {
        Some((task, reason)) => {
            let tries = if task.attempts == 1 { "attempt" } else { "attempts" };
            let (action, attempts) = (&task.action, task.attempts);
            Held::Text(format!("{action} is blocked after {attempts} {tries}: {reason}").into())
        }
        None => status_reason.into(),
    }
}

/// Why a deletion that was tried does not end: it is blocked, or it failed and nothing else was
/// done since.
pub(super) fn stuck<'a>(tasks: &'a [TaskView], outcomes: &'a [OutcomeView]) -> Option<&'a str> {
    let deletes = |action: &str| matches!(Verb::named(action), Some(Verb::Empty | Verb::Delete));
    let blocked = tasks.iter().find(|task| deletes(&task.action));
    let failed = outcomes.last().filter(|outcome| deletes(&outcome.action));
    let blocked = blocked.and_then(|task| task.reason.as_deref());
    blocked.or(failed.and_then(|outcome| outcome.failure.as_deref()))
}

/// Whether work of this name is not in the queue, so that a delete does not overtake it.
fn runs_beside(action: &str) -> bool {
    Verb::named(action).is_some_and(Verb::runs_beside)
}

fn block(tasks: &mut [TaskView], event: &EventRef<'_>, blocked: &WorkBlockedV1) {
    let Some(task) = tasks.iter_mut().find(|task| task.id == blocked.work_id) else { return };
    task.attempts = blocked.attempt;
    task.blocked_on = Some(blocked.blocked_on.clone());
    task.reason = Some(blocked.reason.clone());
    task.blocked_since.get_or_insert(event.time);
    task.retry_at = Some(blocked.retry_at);
    task.progress = None;
}

/// Work proceeds, so it is blocked no longer.
pub(super) fn progress(tasks: &mut [TaskView], work: WorkId, message: Option<String>) {
    let Some(task) = tasks.iter_mut().find(|task| task.id == work) else { return };
    task.blocked_on = None;
    task.reason = None;
    task.blocked_since = None;
    task.retry_at = None;
    task.progress = message;
}

/// What is said of work that has so many bytes, where they are known:
/// `pulling busybox:1 (12 of 40 MB)`.
pub fn with_bytes(message: &str, current_bytes: u64, total_bytes: u64) -> String {
    const MB: u64 = 1_000_000;
    if total_bytes == 0 {
        return message.to_owned();
    }
    format!("{message} ({} of {} MB)", current_bytes / MB, total_bytes.div_ceil(MB))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failed, unknown};
    use super::*;
    use crate::events::bay::{BayDeleteRequestedV1, BayEvent, Status};
    use crate::ids::Timestamp;

    #[test]
    fn what_work_is_blocked_on_is_why_an_object_is_as_it_is() {
        let mut task = TaskView {
            id: WorkId::default(),
            action: "create".to_owned(),
            requested_at: Timestamp(0),
            attempts: 1,
            blocked_on: None,
            reason: None,
            blocked_since: None,
            retry_at: None,
            progress: None,
        };
        let shown = |task: &TaskView| reason(std::slice::from_ref(task), Some("earlier")).text();
        assert_eq!(shown(&task).as_deref(), Some("earlier"));
        task.blocked_on = Some("node n1".to_owned());
        task.reason = Some("connection refused".to_owned());
        let words = "create is blocked after 1 attempt: connection refused";
        assert_eq!(shown(&task).as_deref(), Some(words));
        progress(std::slice::from_mut(&mut task), WorkId::default(), None);
        assert_eq!(shown(&task).as_deref(), Some("earlier"));
        assert_eq!(reason(&[], None).text(), None);
    }

    #[test]
    fn what_changes_a_status_is_its_reason_and_what_is_late_is_not() {
        let (mut status, mut reason) = (Status::CreateInProgress, Some("earlier".to_owned()));
        let delete = || BayEvent::DeleteRequested(BayDeleteRequestedV1 {});
        let id = WorkId::default();
        for (event, expected) in [
            (delete(), None),
            (BayEvent::WorkFailed(failed(id, "create")), None),
            (BayEvent::WorkFailed(failed(id, "empty")), Some("empty failed: no such image")),
            (delete(), None),
            (
                BayEvent::WorkUnknown(unknown(id, "delete")),
                Some("outcome of delete is unknown: answer lost"),
            ),
        ] {
            follow(&mut status, &mut reason, &event);
            assert_eq!(reason.as_deref(), expected, "{event:?}");
        }
    }
}
