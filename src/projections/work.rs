//! How the tasks and outcomes of a view follow the events of work, whatever the noun.
//!
//! Not here: what an outcome means for the object (one file a noun).

use super::{OUTCOMES, OutcomeView, TaskView};
use crate::events::work::WorkBlockedV1;
use crate::events::{EventPayload, EventRef, Mark, Verb};
use crate::ids::WorkId;

/// The tasks and outcomes of one view, while an event is applied to it.
pub(super) struct WorkOf<'a> {
    pub tasks: &'a mut Vec<TaskView>,
    pub outcomes: &'a mut Vec<OutcomeView>,
    pub event: &'a EventRef<'a>,
}

impl WorkOf<'_> {
    /// Takes in what an event means for work. `failure` is why, if it says that work failed;
    /// `exit_code` that of a command.
    pub fn follow<E: EventPayload>(
        &mut self,
        payload: &E,
        failure: Option<Failure<'_>>,
        exit_code: Option<i64>,
    ) {
        match (payload.mark(), payload.work_id()) {
            (Mark::Asks(verb), _) => {
                if verb == Verb::Delete {
                    let queued = self.tasks.iter().filter(|task| !runs_beside(&task.action));
                    let overtaken: Vec<WorkId> = queued.map(|task| task.id).collect();
                    self.cancel(&overtaken, "cancelled by a delete");
                }
                self.ask(verb.name());
            }
            (Mark::Done(verb), Some(work)) => self.end(work, verb.name(), None, exit_code),
            (Mark::Failed | Mark::Unknown, Some(work)) => {
                let Some(Failure { action, reason }) = failure else { return };
                self.end(work, action, Some(reason.to_owned()), None);
                let why = format!("cancelled, because {action} failed: {reason}");
                self.cancel(payload.cancelled(), &why);
            }
            (Mark::Progress, Some(work)) => progress(self.tasks, work, None),
            _ => {}
        }
        if let Some(blocked) = payload.blocked() {
            block(self.tasks, self.event, blocked);
        }
    }

    fn ask(&mut self, action: &str) {
        self.tasks.push(TaskView {
            id: self.event.id,
            action: action.to_owned(),
            requested_at: self.event.time,
            attempts: 0,
            blocked_on: None,
            reason: None,
            blocked_since: None,
            retry_at: None,
            progress: None,
        });
    }

    fn end(&mut self, work: WorkId, action: &str, failure: Option<String>, exit: Option<i64>) {
        self.tasks.retain(|task| task.id != work);
        if self.outcomes.len() >= OUTCOMES {
            self.outcomes.remove(0);
        }
        self.outcomes.push(OutcomeView {
            work_id: work,
            action: action.to_owned(),
            failure,
            exit_code: exit,
            position: self.event.position,
        });
    }

    fn cancel(&mut self, works: &[WorkId], why: &str) {
        for work in works {
            let Some(task) = self.tasks.iter().find(|task| task.id == *work) else { continue };
            let action = task.action.clone();
            self.end(*work, &action, Some(why.to_owned()), None);
        }
    }
}

/// Why work failed, as the event says.
#[derive(Clone, Copy)]
pub(super) struct Failure<'a> {
    /// What was asked for: `start`.
    pub action: &'a str,
    /// The backend's message.
    pub reason: &'a str,
}

/// Whether work of this name is not in the queue, so that a delete does not overtake it.
fn runs_beside(action: &str) -> bool {
    matches!(Verb::named(action), Some(Verb::Execute | Verb::EndExecution))
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

/// A field's new value as text; `None` if it was cleared.
pub(super) fn text(json: &str) -> Option<String> {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::Null) => None,
        Ok(serde_json::Value::String(text)) => Some(text),
        Ok(other) => Some(other.to_string()),
        Err(_) => Some(json.to_owned()),
    }
}

/// A field's new value as a number, written as one or as text; `None` if it was cleared.
pub(super) fn number<N: std::str::FromStr>(json: &str) -> Option<N> {
    text(json)?.parse().ok()
}
