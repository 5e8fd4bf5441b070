//! How tasks and outcomes of a view follow the events of work, whatever the noun.
//!
//! Not here: what an outcome means for the object (one file a noun).

use super::{OUTCOMES, OutcomeView, TaskView};
use crate::events::EventRef;
use crate::events::work::WorkBlockedV1;
use crate::ids::WorkId;

/// The tasks and outcomes of one view, while an event is applied to it.
pub(super) struct WorkOf<'a> {
    pub tasks: &'a mut Vec<TaskView>,
    pub outcomes: &'a mut Vec<OutcomeView>,
    pub event: &'a EventRef<'a>,
}

impl WorkOf<'_> {
    /// The event asks for work.
    pub fn ask(self, action: &str) {
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

    /// The event says that work is done.
    pub fn done(&mut self, work: WorkId, action: &str, exit_code: Option<i64>) {
        self.end(work, action, None, exit_code);
    }

    /// The event says that work failed, never starts, or what came of it is unknown.
    pub fn failed(&mut self, work: WorkId, action: &str, why: &str) {
        self.end(work, action, Some(why.to_owned()), None);
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

    /// The event cancels work that has not started.
    pub fn cancel(&mut self, works: &[WorkId]) {
        for work in works {
            let Some(task) = self.tasks.iter().find(|task| task.id == *work) else { continue };
            let action = task.action.clone();
            self.failed(*work, &action, "cancelled by a delete");
        }
    }
}

/// Work waits for something.
pub(super) fn block(tasks: &mut [TaskView], event: &EventRef<'_>, blocked: WorkBlockedV1) {
    let Some(task) = tasks.iter_mut().find(|task| task.id == blocked.work_id) else { return };
    task.attempts = blocked.attempt;
    task.blocked_on = Some(blocked.blocked_on);
    task.reason = Some(blocked.reason);
    task.blocked_since.get_or_insert(event.time);
    task.retry_at = Some(blocked.retry_at);
    task.progress = None;
}

/// Work gets on, so it is blocked no longer.
pub(super) fn progress(tasks: &mut [TaskView], work: WorkId, words: String) {
    let Some(task) = tasks.iter_mut().find(|task| task.id == work) else { return };
    task.blocked_on = None;
    task.reason = None;
    task.blocked_since = None;
    task.retry_at = None;
    task.progress = Some(words);
}

/// A field's new value as text; none where it was cleared.
pub(super) fn text(json: &str) -> Option<String> {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::Null) => None,
        Ok(serde_json::Value::String(text)) => Some(text),
        Ok(other) => Some(other.to_string()),
        Err(_) => Some(json.to_owned()),
    }
}

/// A field's new value as a number, written as one or as text; none where it was cleared.
pub(super) fn number<N: std::str::FromStr>(json: &str) -> Option<N> {
    text(json)?.parse().ok()
}
