//! What is recorded of a container's process, and whether what the engine says of it is new.
//!
//! Pure. Not here: how processes end (`drift`).

use super::container_state::ContainerState;
use super::lifecycle::Effect;
use crate::backends::{Action, Observed, Operation};
use crate::events::container::{
    ContainerEvent as Event, Drift, DriftedV1, HealthChangedV1, RestartedV2, RunChangedV1,
};
use crate::events::run::Run;
use crate::events::signal;

/// Takes in what an event says of the process, after it was applied to the object's work.
pub fn note(state: &mut ContainerState, event: &Event) {
    state.run = match event {
        Event::Started(started) => started.run.clone(),
        Event::Rebooted(rebooted) => rebooted.run.clone(),
        Event::Recreated(recreated) => recreated.run.clone(),
        Event::Restarted(restarted) => restarted.run.clone(),
        Event::Stopped(_)
        | Event::Exited(_)
        | Event::Drifted(DriftedV1 {
            drift: Drift::Started | Drift::Removed | Drift::Replaced { .. },
        }) => None,
        Event::RunChanged(changed) => Some(changed.run.clone()),
        Event::HealthChanged(changed) => {
            if let Some(run) = &mut state.run {
                run.health = Some(changed.health.clone());
            }
            return;
        }
        Event::KillRequested(asked) => {
            let number = signal::number(&asked.signal);
            state.signals.extend(number.filter(|number| !state.signals.contains(number)));
            return;
        }
        _ => return,
    };
    if !matches!(event, Event::RunChanged(_)) {
        // Those that are still to be sent are for the process that there is then.
        state.signals = open_signals(state).collect();
    }
}

/// The numbers of signals that are asked for and not known to be sent.
fn open_signals(state: &ContainerState) -> impl Iterator<Item = u8> {
    let work = state.lifecycle.work();
    work.queued().chain(work.signals()).filter_map(|task| match &task.action {
        Effect::Engine(Action::Do(Operation::Kill { signal })) => signal::number(signal),
        _ => None,
    })
}

/// Adds what the engine says of the process that there is after these events, where that is new.
pub fn complete(state: &ContainerState, observed: &Observed, events: &mut Vec<Event>) {
    let Some(found) = &observed.run else { return };
    if let Some(Event::Restarted(RestartedV2 { run })) = events.last_mut() {
        *run = Some(found.clone());
        return;
    }
    let is_another = events.iter().any(|event| {
        matches!(
            event,
            Event::Exited(_)
                | Event::Restarted(_)
                | Event::Drifted(DriftedV1 { drift: Drift::Started })
        )
    });
    events.extend(change(state.run.as_ref().filter(|_| !is_another), found));
}

/// What is new about a process. An older one than the recorded was looked at before that one was
/// started.
fn change(recorded: Option<&Run>, found: &Run) -> Option<Event> {
    let is_same = recorded.is_some_and(|recorded| recorded.is_same_but_for_health(found));
    let is_old = recorded.is_some_and(|recorded| recorded.started_at > found.started_at);
    let health = found
        .health
        .clone()
        .filter(|health| recorded.and_then(Run::health_status) != Some(health.status));
    match health {
        _ if is_old => None,
        _ if !is_same => Some(Event::RunChanged(RunChangedV1 { run: found.clone() })),
        Some(health) => Some(Event::HealthChanged(HealthChangedV1 { health })),
        None => None,
    }
}
