//! Compares what the engine has of a container with its record and turns differences into events.
//!
//! Pure. Differences are never corrected: an engine that has more than the record may be right
//! after a log was restored from an older backup. Not here: when to compare (`agent/reconciler`),
//! what has no record (`unrecorded`).

use super::container_run;
use super::container_state::ContainerState;
use crate::backends::{End, Observed, RunState};
use crate::events::container::{
    ContainerEvent as Event, Drift, DriftedV1, ExitedV3, RestartedV2, Status,
};
use crate::events::{EventPayload as _, Verb, signal};
use crate::ids::Timestamp;

/// What the engine has, held against what should be. While work is open it may have been done
/// without an answer, so only what happened before its turn counts: no difference is our own doing.
pub fn observe(state: &ContainerState, observed: Option<&Observed>) -> Vec<Event> {
    if matches!(
        state.lifecycle.status(),
        Status::Absent | Status::Creating | Status::Deleting | Status::Deleted
    ) {
        return vec![];
    }
    let Some(engine_id) = &state.engine_id else { return vec![] };
    let waits = state.lifecycle.work().queued().next().is_some();
    let Some(observed) = observed else {
        return if waits { vec![] } else { drifted(Drift::Removed) };
    };
    if &observed.engine_id != engine_id {
        let found = observed.engine_id.clone();
        return if waits { vec![] } else { drifted(Drift::Replaced { found }) };
    }
    let ends: Vec<&End> = unrecorded(state, &observed.ends)
        .filter(|end| !waits || Some(end.by_service_clock()) < state.lifecycle.work().turn())
        .collect();
    if waits && ends.is_empty() {
        return vec![];
    }
    let mut events = vec![];
    let runs = matches!(observed.state, RunState::Running | RunState::Paused);
    let mut alive = state.is_alive();
    for (index, end) in ends.iter().enumerate() {
        let is_last = index + 1 == ends.len();
        let restarting =
            if is_last && !runs { observed.state == RunState::Restarting } else { state.restarts };
        alive = tell(state, alive, end, restarting, &mut events);
    }
    if waits {
        events.extend((runs && !alive).then(|| begun(state)));
        return events;
    }
    events.extend(status_change(state, observed, alive, events.is_empty()));
    container_run::complete(state, observed, &mut events);
    let is_known = match &state.renamed_to {
        Some(name) => *name == observed.engine_name,
        None => observed.name_is_ours,
    };
    if !is_known {
        events.extend(drifted(Drift::Renamed { found: observed.engine_name.clone() }));
    }
    events
}

/// Ends that were not requested and are not recorded, or are recorded without the OOM flag. None
/// for a container in error: which of its ends were requested is unknown.
fn unrecorded<'a>(state: &ContainerState, ends: &'a [End]) -> impl Iterator<Item = &'a End> {
    let (known_to, asked_to) = (state.ends_known_to, state.ends_asked_to);
    let is_new = move |end: &End| {
        Some(end.finished_at) > known_to && Some(end.by_service_clock()) > asked_to
    };
    let late = move |end: &End| Some(end.finished_at) == known_to && end.oom_killed;
    let exited = state.exited;
    let ours = ends
        .iter()
        .find(|end| is_new(end))
        .filter(|end| Some(end.by_service_clock()) <= state.rebooted_by);
    let ends = if state.lifecycle.status() == Status::Error { &[] } else { ends };
    ends.iter()
        .filter(move |end| is_new(end) || (exited && late(end)))
        .filter(move |end| ours.is_none_or(|ours| ours.finished_at != end.finished_at))
}

/// One end of a container that was alive or not, and whether it is alive after that. All that is
/// known of an end that the engine has forgotten is that the container was started again.
fn tell(
    state: &ContainerState,
    alive: bool,
    end: &End,
    restarting: bool,
    events: &mut Vec<Event>,
) -> bool {
    let late = Some(end.finished_at) == state.ends_known_to;
    events.extend((!(alive || late)).then(|| begun(state)));
    let (oom_killed, finished_at) = (end.oom_killed, Some(end.finished_at));
    events.push(match end.exit_code {
        Some(exit_code) => {
            let signal = outside(state, end);
            Event::Exited(ExitedV3 { exit_code, oom_killed, finished_at, restarting, signal })
        }
        None => begun(state),
    });
    end.exit_code.is_none()
}

/// The signal that was sent to a process before it ended, unless somebody here had sent it.
fn outside(state: &ContainerState, end: &End) -> Option<String> {
    // What is told late was told with its signal.
    let is_new = Some(end.finished_at) != state.ends_known_to;
    end.signal.filter(|number| is_new && !state.signals.contains(number)).map(signal::name)
}

/// What is said of it when it runs and nobody here started it.
const fn begun(state: &ContainerState) -> Event {
    if state.restarts {
        Event::Restarted(RestartedV2 { run: None })
    } else {
        Event::Drifted(DriftedV1 { drift: Drift::Started })
    }
}

/// How what the engine has differs from a container that is alive or not by now.
fn status_change(
    state: &ContainerState,
    observed: &Observed,
    alive: bool,
    is_first: bool,
) -> Vec<Event> {
    let status = state.lifecycle.status();
    let restarting = observed.state == RunState::Restarting;
    let oom = status == Status::Stopped && state.exited && observed.oom_killed;
    // The engine may learn only after the end what it was for, and may give up restarting.
    let late = match status {
        Status::Stopped => oom || restarting,
        Status::Restarting => !restarting,
        _ => false,
    };
    let frozen = is_first && status == Status::Paused;
    match observed.state {
        RunState::Exited | RunState::Dead | RunState::Restarting if alive || (is_first && late) => {
            vec![Event::Exited(ExitedV3 {
                exit_code: observed.exit_code.unwrap_or_default(),
                oom_killed: observed.oom_killed,
                finished_at: observed.finished_at,
                restarting,
                signal: None,
            })]
        }
        RunState::Paused if !frozen => drifted(Drift::Paused),
        RunState::Running if frozen => drifted(Drift::Unpaused),
        RunState::Running if !alive => vec![begun(state)],
        _ => vec![],
    }
}

fn drifted(drift: Drift) -> Vec<Event> {
    vec![Event::Drifted(DriftedV1 { drift })]
}

/// What an event says of the container's ends, before it changes anything else. The clocks of
/// engine and service are two, so times are only ever compared with others of the same clock.
pub fn note_ends(state: &mut ContainerState, event: &Event, now: Timestamp) {
    let asked_to = match event {
        Event::Started(_) | Event::Rebooted(_) => state.lifecycle.work().turn(),
        Event::Recreated(_) => state.lifecycle.work().turn(),
        // The old one was stopped for the new one, and is back.
        Event::WorkFailed(_) if event.failed_verb() == Some(Verb::Recreate) => Some(now),
        Event::Stopped(_) => Some(now),
        Event::Exited(exit) if exit.finished_at.is_some() => {
            state.ends_known_to = state.ends_known_to.max(exit.finished_at);
            state.ends_asked_to
        }
        Event::Exited(_) => Some(now),
        // It has ended before, and nobody can say how.
        Event::Restarted(_) | Event::Drifted(DriftedV1 { drift: Drift::Started })
            if !is_at_rest(state) =>
        {
            Some(now)
        }
        _ => return,
    };
    let ended = matches!(event, Event::Rebooted(_)) && !is_at_rest(state);
    state.rebooted_by = ended.then_some(now);
    state.ends_asked_to = state.ends_asked_to.max(asked_to);
}

/// Whether its last end is recorded and it has not been started since.
fn is_at_rest(state: &ContainerState) -> bool {
    matches!(state.lifecycle.status(), Status::Stopped | Status::Restarting)
}

/// The state once a difference is recorded.
pub fn take(state: &mut ContainerState, drift: &Drift) {
    match drift {
        Drift::Removed => state.engine_id = None,
        Drift::Renamed { found } => state.renamed_to = Some(found.clone()),
        Drift::Replaced { found } => state.engine_id = Some(found.clone()),
        Drift::Started | Drift::Paused | Drift::Unpaused => {}
    }
}
