//! A container's work: what its events ask a backend to do, and what comes of it as events.
//!
//! Pure. Not here: what is allowed when (`container`), the queue (`tasks`).

use super::tasks::{Task, Tasks, blocked};
use crate::backends::{Action, Done, Outcome, WorkResult};
use crate::events::container::{
    ActionDoneV1, ContainerEvent as Event, CreatedV1, ExecutedV1, PullProgressedV1,
};
use crate::events::work::{WorkFailedV1, WorkUnknownV1};
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
        Event::DeleteRequested(_) => Action::DeleteContainer,
        _ => return None,
    })
}

/// What came of open work; late and repeated outcomes change nothing (rule W4).
pub fn settle(tasks: &Tasks, outcome: &Outcome, now: Timestamp) -> Vec<Event> {
    let Some(task) = tasks.current(outcome) else { return vec![] };
    let (work_id, action) = (task.id, task.action.name().to_owned());
    let event = match &outcome.result {
        WorkResult::Done(done) => return done_event(task, done).into_iter().collect(),
        WorkResult::Failed { reason } => {
            Event::WorkFailed(WorkFailedV1 { work_id, action, reason: reason.clone() })
        }
        WorkResult::Unknown { reason } => {
            Event::WorkUnknown(WorkUnknownV1 { work_id, action, reason: reason.clone() })
        }
        WorkResult::Progress(progress) => Event::PullProgressed(PullProgressedV1 {
            work_id,
            message: progress.message.clone(),
            current_bytes: progress.current_bytes,
            total_bytes: progress.total_bytes,
        }),
        WorkResult::Blocked { .. } | WorkResult::Waiting { .. } => {
            return blocked(outcome, now).map(Event::WorkBlocked).into_iter().collect();
        }
    };
    vec![event]
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
        Action::DeleteContainer => Event::Deleted(plain),
        Action::CreateNetwork | Action::DeleteNetwork | Action::EmptyBay => return None,
    })
}
