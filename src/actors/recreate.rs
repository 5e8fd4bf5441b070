//! Recreating a container: what it is wanted to be made from, and when it is made anew.
//!
//! What is fixed when a container is made is only noted when it is changed (rule E7), until a
//! recreate applies it. Not here: how an engine does it (`backends/recreate`).

use super::container_state::ContainerState;
use super::lifecycle::{Effect, Task};
use crate::backends::{Action, Adjustment, Done, Recreation, Replacement};
use crate::command_line;
use crate::events::container::{
    AdjustedV1, ContainerEvent as Event, ContainerSpec, Drift, Limits, RecreateRequestedV1,
    RecreatedV1, RestartPolicy, Status, cpu_millis,
};
use crate::events::status::Status as _;
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::Timestamp;

/// Milliseconds from the end of a process to the removal of its container that is part of the same
/// `docker rm --force`: the engine kills first, and tells of both.
const REMOVAL_MS: u64 = 10_000;

/// The events that ask for it, with the fields that are set by the same request. The first one is
/// the work that the caller waits for.
pub fn asked(state: &ContainerState, changes: Vec<FieldChange>) -> Vec<Event> {
    let (mut name, mut spec) = (state.name.clone(), state.wanted.clone());
    let updated = UpdatedV1::of(changes);
    if let Some(updated) = &updated {
        set(&mut spec, updated);
        name = updated.text("name").unwrap_or(name);
    }
    let start = match state.anticipated() {
        Status::Running | Status::Restarting => true,
        // It did when it was lost.
        Status::Error => state.was_alive,
        _ => false,
    };
    let asked = RecreateRequestedV1 { name, bay_id: state.bay_id, spec, start };
    let mut events = vec![Event::RecreateRequested(asked)];
    events.extend(updated.map(Event::Updated));
    events
}

/// What was done, with what it was done from.
pub fn done(task: &Task, done: &Done) -> Option<Event> {
    let Effect::Engine(Action::Replace(Replacement::Container(made))) = &task.action else {
        return None;
    };
    Some(Event::Recreated(RecreatedV1 {
        work_id: task.id,
        engine_id: done.engine_id.clone().unwrap_or_default(),
        spec: made.spec.clone(),
        started: made.start,
        end: done.end.clone(),
        run: done.run.clone(),
    }))
}

/// Takes in an event, before it changes the status.
pub fn note(state: &mut ContainerState, event: &Event, now: Timestamp) {
    match event {
        Event::Exited(_) => state.ended_at = Some(now),
        Event::Stopped(_) => state.ended_at = None,
        Event::CreateRequested(asked) => {
            state.wanted = asked.spec.clone();
            state.bay_id = asked.bay_id;
        }
        Event::Updated(updated) => set(&mut state.wanted, updated),
        Event::Adjusted(done) => {
            if let Some(policy) = &done.limits.restart_policy {
                state.restarts = *policy != RestartPolicy::No;
            }
        }
        Event::Recreated(done) => {
            state.engine_id = Some(done.engine_id.clone());
            state.renamed_to = None;
            state.restarts = done.spec.restart_policy != RestartPolicy::No;
            state.exited = false;
        }
        _ => {}
    }
    let before = state.lifecycle.status();
    if before != Status::Error && before.after(event) == Status::Error {
        let is_removal = matches!(event, Event::Drifted(it) if it.drift == Drift::Removed);
        let has_just_ended = state.ended_at.is_some_and(|ended| now <= ended.plus_ms(REMOVAL_MS));
        state.was_alive = matches!(before, Status::Running | Status::Restarting | Status::Paused)
            || (is_removal && before == Status::Stopped && has_just_ended);
    }
}

/// The limits that an update sets, which the engine can change.
pub fn limits(updated: &UpdatedV1) -> Limits {
    Limits {
        memory_bytes: updated.value("memory"),
        cpu_millis: updated.value("cpu").map(cpu_millis),
        restart_policy: updated
            .value("restart_policy")
            .and_then(|it: String| RestartPolicy::named(&it)),
    }
}

/// What is recorded when it has them.
pub fn adjusted(task: &Task) -> Option<Event> {
    let Effect::Engine(Action::Adjust(Adjustment::Limits(limits))) = &task.action else {
        return None;
    };
    Some(Event::Adjusted(AdjustedV1 { work_id: task.id, limits: limits.clone() }))
}

/// Sets what a container is to be made from as an update says.
fn set(spec: &mut ContainerSpec, updated: &UpdatedV1) {
    if let Some(Some(image)) = updated.text("image_id") {
        spec.image = image;
    }
    if let Some(command) = updated.text("command") {
        // Checked and written by us.
        spec.command = command_line::split(&command.unwrap_or_default()).unwrap_or_default();
    }
    limits(updated).set(spec);
    for change in &updated.changes {
        match change.field.as_str() {
            "memory" => spec.memory_bytes = updated.value("memory"),
            "cpu" => spec.cpu_millis = updated.value("cpu").map(cpu_millis),
            "labels" => spec.labels = updated.value("labels").unwrap_or_default(),
            "workdir" => spec.working_dir = updated.value("workdir"),
            "user" => spec.user = updated.value("user"),
            _ => {}
        }
    }
}

/// What the event that asks for it has a backend do.
pub fn work(asked: &RecreateRequestedV1) -> Action {
    let RecreateRequestedV1 { name, bay_id, spec, start } = asked.clone();
    Action::Replace(Replacement::Container(Recreation { name, bay_id, spec, start }))
}
