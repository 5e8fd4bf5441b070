//! A container's work: which action each event requests, and which events outcomes become.
//!
//! Pure. Not here: which commands are legal (`container`), the queue (`lifecycle`).

use super::lifecycle::{Lifecycle, Setback, Task};
use crate::backends::{Action, Done, Outcome, Progress, WorkResult};
use crate::events::container::{
    ActionDoneV1, ContainerEvent as Event, CreatedV1, ExecutedV1, PullProgressedV1, Status,
};
use crate::events::work::WorkResumedV1;
use crate::ids::Timestamp;

/// What an event asks a backend to do.
pub fn asked_for(event: &Event) -> Option<Action> {
    Some(match event {
        Event::CreateRequested(asked) => Action::CreateContainer {
            name: asked.name.clone(),
            bay_id: asked.bay_id,
            spec: asked.spec.clone(),
        },
        Event::StartRequested(_) => Action::StartContainer,
        Event::StopRequested(asked) => Action::StopContainer { grace_s: asked.grace_s },
        Event::RebootRequested(asked) => Action::RebootContainer { grace_s: asked.grace_s },
        Event::PauseRequested(_) => Action::PauseContainer,
        Event::UnpauseRequested(_) => Action::UnpauseContainer,
        Event::KillRequested(asked) => Action::KillContainer { signal: asked.signal.clone() },
        Event::ExecuteRequested(asked) => {
            Action::ExecuteInContainer { command: asked.command.clone() }
        }
        Event::ExecutionEndRequested(asked) => {
            Action::EndExecution { execution_id: asked.execution_id }
        }
        Event::DeleteRequested(_) => Action::DeleteContainer,
        _ => return None,
    })
}

/// What an outcome of open work leads to; late and repeated outcomes change nothing (rule W4).
pub fn settle(lifecycle: &Lifecycle<Status>, outcome: &Outcome, now: Timestamp) -> Vec<Event> {
    let Some(task) = lifecycle.work().current(outcome) else { return vec![] };
    let event = match &outcome.result {
        WorkResult::Done(done) => done_event(task, done),
        WorkResult::Progress(progress) => progress_event(task, progress),
        _ => lifecycle.setback(outcome, now).map(|setback| match setback {
            Setback::Failed(failed) => Event::WorkFailed(failed),
            Setback::Unknown(unknown) => Event::WorkUnknown(unknown),
            Setback::Blocked(blocked) => Event::WorkBlocked(blocked),
        }),
    };
    event.into_iter().collect()
}

/// A pull says how far it is; other work only that it proceeds after it was blocked.
fn progress_event(task: &Task, progress: &Progress) -> Option<Event> {
    let work_id = task.id;
    match task.action {
        Action::CreateContainer { .. } => Some(Event::PullProgressed(PullProgressedV1 {
            work_id,
            message: progress.message.clone(),
            current_bytes: progress.current_bytes,
            total_bytes: progress.total_bytes,
        })),
        _ => task.retry_at.map(|_| Event::WorkResumed(WorkResumedV1 { work_id })),
    }
}

fn done_event(task: &Task, done: &Done) -> Option<Event> {
    let work_id = task.id;
    let plain = ActionDoneV1 { work_id };
    Some(match &task.action {
        Action::CreateContainer { .. } => {
            let engine_id = done.engine_id.clone().unwrap_or_default();
            Event::Created(CreatedV1 { work_id, engine_id })
        }
        Action::StartContainer => Event::Started(plain),
        Action::StopContainer { .. } => Event::Stopped(plain),
        Action::RebootContainer { .. } => Event::Rebooted(plain),
        Action::PauseContainer => Event::Paused(plain),
        Action::UnpauseContainer => Event::Unpaused(plain),
        Action::KillContainer { .. } => Event::Killed(plain),
        Action::ExecuteInContainer { .. } => {
            let exit_code = done.exit_code.unwrap_or_default();
            Event::Executed(ExecutedV1 { work_id, exit_code })
        }
        Action::EndExecution { .. } => Event::ExecutionEnded(plain),
        Action::DeleteContainer => Event::Deleted(plain),
        Action::CreateNetwork | Action::DeleteNetwork | Action::EmptyBay => return None,
    })
}
