//! A container's work: which action each event requests, and which events outcomes become.
//!
//! Pure. Not here: which commands are legal (`container`), the queue (`lifecycle`).

use super::lifecycle::{Effect, Lifecycle, Task};
use super::recreate;
use crate::backends::{
    Action, Adjustment, Desired, Done, Exec, Operation, Outcome, Progress, Pull, Removed,
    WorkResult,
};
use crate::events::Verb;
use crate::events::container::{
    ActionDoneV1, ContainerEvent as Event, CreatedV1, ExecutedV1, NotStartedV1, PullProgressedV1,
    PullStartedV1, PulledV1, RebootedV2, RecreateAdvancedV1, StartedV2, Status, StoppedV2,
};
use crate::events::run::RunEnd;
use crate::ids::{Timestamp, WorkId};

/// What an event asks a backend to do.
pub fn asked_for(event: &Event) -> Option<Effect> {
    Some(Effect::Engine(match event {
        Event::CreateRequested(asked) => Action::Apply(Desired::Container {
            name: asked.name.clone(),
            bay_id: asked.bay_id,
            spec: asked.spec.clone(),
        }),
        Event::RenameRequested(asked) => {
            let (name, bay_id) = (asked.name.clone(), asked.bay_id);
            Action::Adjust(Adjustment::Name { name, bay_id })
        }
        Event::AdjustRequested(asked) => Action::Adjust(Adjustment::Limits(asked.limits.clone())),
        Event::RecreateRequested(asked) => recreate::work(asked),
        Event::StartRequested(_) => Action::Do(Operation::Start),
        Event::StopRequested(asked) => Action::Do(Operation::Stop { grace_s: asked.grace_s }),
        Event::RebootRequested(asked) => Action::Do(Operation::Reboot { grace_s: asked.grace_s }),
        Event::PauseRequested(_) => Action::Do(Operation::Pause),
        Event::UnpauseRequested(_) => Action::Do(Operation::Unpause),
        Event::KillRequested(asked) => Action::Do(Operation::Kill { signal: asked.signal.clone() }),
        Event::ExecuteRequested(asked) => {
            Action::Exec(Exec::Start { command: asked.command.clone() })
        }
        Event::ExecutionEndRequested(asked) => {
            Action::Exec(Exec::End { execution_id: asked.execution_id })
        }
        Event::DeleteRequested(_) => Action::Remove(Removed::Container),
        _ => return None,
    }))
}

/// What an outcome of open work leads to: a pull says how far it is, a start that was refused has
/// an exit code, and a reboot that is done leaves nothing to do for signals that passed it and are
/// to be tried again.
pub fn settle(lifecycle: &Lifecycle<Status>, outcome: &Outcome, now: Timestamp) -> Vec<Event> {
    match (&outcome.result, lifecycle.work().current(outcome)) {
        (WorkResult::Progress(progress), Some(task))
            if matches!(task.action.verb(), Verb::Create | Verb::Recreate)
                && !progress.message.is_empty() =>
        {
            vec![pull_event(task.id, progress)]
        }
        (WorkResult::NotStarted { exit_code, .. }, Some(task)) => {
            let (work_id, exit_code) = (task.id, *exit_code);
            let mut events = vec![Event::NotStarted(NotStartedV1 { work_id, exit_code })];
            events.extend(lifecycle.settle(outcome, now, done_event));
            events
        }
        (WorkResult::Progress(Progress { step: Some(step), .. }), Some(task)) => {
            let step = RecreateAdvancedV1 { work_id: task.id, step: *step };
            vec![Event::RecreateAdvanced(step)]
        }
        // The process that they were for has ended. One that may be under way says itself what came
        // of it.
        (WorkResult::Done(_), Some(task)) if task.action.verb() == Verb::Reboot => {
            let signals = lifecycle.work().signals();
            let late = signals.filter(|signal| signal.retry_at > Some(now));
            let killed = late.map(|signal| Event::Killed(ActionDoneV1 { work_id: signal.id }));
            killed.chain(lifecycle.settle(outcome, now, done_event)).collect()
        }
        _ => lifecycle.settle(outcome, now, done_event),
    }
}

/// What is recorded of a pull. Agents of earlier builds reported only bytes and words.
fn pull_event(work_id: WorkId, progress: &Progress) -> Event {
    match progress.pull.clone() {
        Some(Pull::Started { image }) => Event::PullStarted(PullStartedV1 { work_id, image }),
        Some(Pull::Ended { image, digest }) => {
            Event::Pulled(PulledV1 { work_id, image, bytes: progress.total_bytes, digest })
        }
        None => Event::PullProgressed(PullProgressedV1 {
            work_id,
            message: progress.message.clone(),
            current_bytes: progress.current_bytes,
            total_bytes: progress.total_bytes,
        }),
    }
}

fn done_event(task: &Task, done: &Done) -> Option<Event> {
    let work_id = task.id;
    let plain = ActionDoneV1 { work_id };
    Some(match task.action.verb() {
        Verb::Create => {
            let engine_id = done.engine_id.clone().unwrap_or_default();
            Event::Created(CreatedV1 { work_id, engine_id })
        }
        Verb::Rename => Event::Renamed(plain),
        Verb::Adjust => recreate::adjusted(task)?,
        Verb::Recreate => recreate::done(task, done)?,
        Verb::Start => Event::Started(StartedV2 { work_id, run: done.run.clone() }),
        Verb::Stop => {
            let RunEnd { exit_code, oom_killed, finished_at } =
                done.end.clone().unwrap_or_default();
            Event::Stopped(StoppedV2 { work_id, exit_code, oom_killed, finished_at })
        }
        Verb::Reboot => {
            let (end, run) = (done.end.clone(), done.run.clone());
            Event::Rebooted(RebootedV2 { work_id, end, run })
        }
        Verb::Pause => Event::Paused(plain),
        Verb::Unpause => Event::Unpaused(plain),
        Verb::Kill => Event::Killed(plain),
        Verb::Execute => {
            let exit_code = done.exit_code.unwrap_or_default();
            Event::Executed(ExecutedV1 { work_id, exit_code })
        }
        Verb::EndExecution => Event::ExecutionEnded(plain),
        Verb::Delete => Event::Deleted(plain),
        Verb::Empty => return None,
    })
}
