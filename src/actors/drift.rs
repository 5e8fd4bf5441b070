//! What the engine has of a container, held against the record: differences become events.
//!
//! Pure. Not here: who looks, and when (`watcher`); what a difference does (`container`).

use super::container::{ContainerState, Status};
use crate::backends::{Observed, RunState};
use crate::events::container::{ContainerEvent as Event, Drift, DriftedV1, ExitedV1, RestartedV1};

/// What the engine has, held against what should be. Not while work is open, which may have been
/// done without an answer: so every difference is not our doing.
pub fn observe(state: &ContainerState, observed: Option<&Observed>) -> Vec<Event> {
    let waits = matches!(state.status, Status::Absent | Status::Creating | Status::Deleted)
        || state.tasks.queued().next().is_some();
    let Some(engine_id) = state.engine_id.as_ref().filter(|_| !waits) else { return vec![] };
    let Some(observed) = observed else { return drifted(Drift::Removed) };
    if &observed.engine_id != engine_id {
        return drifted(Drift::Replaced { found: observed.engine_id.clone() });
    }
    let mut events = status_change(state, observed);
    let found = (!observed.name_is_ours).then(|| observed.engine_name.clone());
    if found.is_some() && found != state.renamed_to {
        events.extend(found.map(|found| drifted(Drift::Renamed { found })).unwrap_or_default());
    }
    events
}

fn status_change(state: &ContainerState, observed: &Observed) -> Vec<Event> {
    let running = matches!(state.status, Status::Running | Status::Paused);
    match (observed.state, state.status) {
        // The engine may learn only after the end what it was for.
        (RunState::Exited | RunState::Dead | RunState::Restarting, _)
            if running
                || (state.status == Status::Stopped && state.exited && observed.oom_killed) =>
        {
            vec![Event::Exited(ExitedV1 {
                exit_code: observed.exit_code.unwrap_or_default(),
                oom_killed: observed.oom_killed,
                finished_at: observed.finished_at,
            })]
        }
        (RunState::Paused, Status::Running | Status::Stopped | Status::Error) => {
            drifted(Drift::Paused)
        }
        (RunState::Running, Status::Paused) => drifted(Drift::Unpaused),
        (RunState::Running, Status::Stopped | Status::Error) if state.restarts => {
            vec![Event::Restarted(RestartedV1 {})]
        }
        (RunState::Running, Status::Stopped | Status::Error) => drifted(Drift::Started),
        _ => vec![],
    }
}

fn drifted(drift: Drift) -> Vec<Event> {
    vec![Event::Drifted(DriftedV1 { drift })]
}

/// The state once a difference is recorded.
pub fn take(state: &mut ContainerState, drift: &Drift) {
    match drift {
        Drift::Removed => {
            state.engine_id = None;
            if state.status != Status::Deleting {
                state.status = Status::Error;
            }
        }
        Drift::Started | Drift::Unpaused => state.status = Status::Running,
        Drift::Paused => state.status = Status::Paused,
        Drift::Renamed { found } => state.renamed_to = Some(found.clone()),
        Drift::Replaced { found } => state.engine_id = Some(found.clone()),
    }
}
