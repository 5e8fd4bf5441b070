//! A container: its commands, and what comes of each.
//!
//! Not here: its state and what is legal in it (`container_state`), how Docker carries them out
//! (`backends`), the view (`projections`).

pub use super::container_state::ContainerState;
use super::lifecycle::{Lifecycle, MAX_EXECUTIONS, MAX_QUEUED};
use super::naming::Naming;
use super::{Entity, Fact, container_run, container_work, drift, placement, recreate};
use crate::backends::{Observed, Outcome};
use crate::bus::{Ctx, Refusal};
use crate::events::Verb;
use crate::events::container::{
    ActionRequestedV1, AdjustRequestedV1, ContainerAbandonedV1, ContainerEvent as Event,
    ContainerSpec, CreateRequestedV1, DeleteRequestedV1, ExecuteRequestedV1,
    ExecutionEndRequestedV1, KillRequestedV1, RenameRequestedV1, RestartPolicy, Status,
    StopRequestedV1,
};
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::{EventId, ObjectId};
use crate::noun_commands;

noun_commands! {
    /// What can be asked of a container.
    ContainerCommand {
        /// Make it, not running.
        Create {
            /// Its name, unique in its bay.
            name: Option<String>,
            /// A description.
            desc: Option<String>,
            /// What it is made from.
            spec: ContainerSpec,
            /// The bay it belongs to.
            bay_id: ObjectId,
            /// The node of that bay.
            node_id: ObjectId,
            /// The host name of that node.
            host: String,
        },
        /// Start it.
        Start,
        /// Stop it.
        Stop {
            /// Seconds between the stop signal and the kill.
            grace_s: u32,
        },
        /// Stop and start it.
        Reboot {
            /// Seconds between the stop signal and the kill.
            grace_s: u32,
        },
        /// Freeze it.
        Pause,
        /// Let it go on.
        Unpause,
        /// Make it anew, from what is wanted by now.
        Recreate {
            /// Fields that are set before, as named in the REST API.
            changes: Vec<FieldChange>,
        },
        /// Send a signal.
        Kill {
            /// `SIGKILL`.
            signal: String,
        },
        /// Run a command in it.
        Execute {
            /// The command and its arguments.
            command: Vec<String>,
        },
        /// End a command that runs in it.
        EndExecution {
            /// The command: the id of the work that runs it.
            execution_id: EventId,
        },
        /// Remove it, running or not.
        Delete,
    } internal {
        /// The outcome of work.
        Outcome(Outcome),
        /// What the engine has; `None` if it has nothing for this object. Sent by the worker
        /// between pieces of queued work; commands and signals may be in progress, and more work
        /// may have been asked for or done since it looked.
        Observe(Option<Observed>),
        /// Go, as a bay that was given up goes: given up itself if its deletion was tried and does
        /// not end.
        Abandon,
    }
}

/// The container noun.
pub struct Container;

impl Entity for Container {
    type State = ContainerState;
    type Command = ContainerCommand;
    type Event = Event;

    fn decide(
        state: &ContainerState,
        command: ContainerCommand,
        ctx: &Ctx,
    ) -> Result<Vec<Event>, Refusal> {
        let status = state.lifecycle.status();
        match command {
            ContainerCommand::Create { .. } if status != Status::Absent => {
                Err(Self::already_exists(state.lifecycle.id()))
            }
            ContainerCommand::Create { name, desc, spec, bay_id, node_id, host } => {
                let placement = placement::with_bay(node_id, host);
                let asked = CreateRequestedV1 { name, desc, spec, bay_id, placement };
                Ok(vec![Event::CreateRequested(asked)])
            }
            ContainerCommand::Outcome(outcome) => {
                Ok(container_work::settle(&state.lifecycle, &outcome, ctx.now))
            }
            ContainerCommand::Observe(observed) => Ok(drift::observe(state, observed.as_ref())),
            _ if status.is_gone() => Err(Self::not_found(state.lifecycle.id())),
            // What is made from it stays as it is (rule E7).
            ContainerCommand::Update { changes } => update(state, changes),
            ContainerCommand::Delete => Ok(delete(state)),
            ContainerCommand::Abandon => Ok(abandon(state)),
            ContainerCommand::Recreate { changes } => {
                admit(state, state.anticipated(), Verb::Recreate)?;
                Ok(recreate::asked(state, changes))
            }
            ContainerCommand::EndExecution { execution_id } => end_execution(state, execution_id),
            _ => act(state, command),
        }
    }

    fn evolve(state: &mut ContainerState, event: &Event, fact: Fact<'_>) {
        if let Event::CreateRequested(asked) = event {
            *state = ContainerState {
                lifecycle: Lifecycle::begin(fact, asked.placement.node_id, 0),
                name: asked.name.clone(),
                restarts: asked.spec.restart_policy != RestartPolicy::No,
                ..ContainerState::default()
            };
        }
        drift::note_ends(state, event, fact.time);
        recreate::note(state, event, fact.time);
        state.lifecycle.apply(event, container_work::asked_for(event), fact);
        container_run::note(state, event);
        match event {
            Event::Created(done) => state.engine_id = Some(done.engine_id.clone()),
            Event::Started(_) | Event::Rebooted(_) | Event::Unpaused(_) => state.exited = false,
            Event::Deleted(_) | Event::Abandoned(_) => state.engine_id = None,
            Event::Updated(updated) => {
                if let Some(name) = updated.text("name") {
                    state.name = name;
                }
            }
            Event::Exited(exit) => state.exited = !exit.oom_killed,
            Event::Drifted(drifted) => drift::take(state, &drifted.drift),
            _ => {}
        }
    }

    fn named(event: &Event) -> Option<Naming> {
        let Event::CreateRequested(asked) = event else { return None };
        Some(Naming::begin(asked.name.as_ref(), Some(asked.bay_id)))
    }
}

/// The one table of actions (rule E4): by the status that will be when it is their turn.
fn act(state: &ContainerState, command: ContainerCommand) -> Result<Vec<Event>, Refusal> {
    let Some((verb, event)) = asked(command) else { return Ok(vec![]) };
    let status = match verb {
        // A command runs at once, so what is queued does not count; nor does it for a signal that
        // passes a stop, which may wait long for its turn or for the process.
        Verb::Execute => state.lifecycle.status(),
        Verb::Kill if state.lifecycle.work().waits_for_an_end() => state.lifecycle.status(),
        _ => state.anticipated(),
    };
    // The engine would change nothing either.
    if let (Status::Running | Status::Restarting, Verb::Start) | (Status::Stopped, Verb::Stop) =
        (status, verb)
    {
        return Ok(vec![]);
    }
    admit(state, status, verb)?;
    Ok(vec![event])
}

/// Refuses what is not legal in the status that will be when it is its turn, and what is too much.
fn admit(state: &ContainerState, status: Status, verb: Verb) -> Result<(), Refusal> {
    // What is still being made will be there when it is the turn of what is asked for now.
    let is_made = state.engine_id.is_some() || state.lifecycle.status() == Status::Creating;
    if !ContainerState::legal(status, is_made).contains(&verb) {
        return Err(illegal(state, status, verb));
    }
    let work = state.lifecycle.work();
    let (full, limit) = match verb {
        Verb::Execute => (work.is_full_of_executions(), MAX_EXECUTIONS),
        _ => (work.is_full(), MAX_QUEUED),
    };
    if full && verb == Verb::Execute {
        return Err(Refusal::TooManyExecutions { object: state.label(), limit });
    }
    if full {
        return Err(Refusal::QueueFull { object: state.label(), limit });
    }
    Ok(())
}

/// Sets fields. Another name is one by which the others in the bay reach it, so the engine has to
/// know it, if it has the container; so it has to know limits. All else waits for a recreate.
fn update(state: &ContainerState, changes: Vec<FieldChange>) -> Result<Vec<Event>, Refusal> {
    let Some(updated) = UpdatedV1::of(changes) else { return Ok(vec![]) };
    let is_made = state.engine_id.is_some() || state.lifecycle.status() == Status::Creating;
    let can_follow = is_made && !state.lifecycle.status().is_deleting();
    if !can_follow {
        return Ok(vec![Event::Updated(updated)]);
    }
    let name = updated.text("name");
    let renamed = name.map(|name| RenameRequestedV1 { name, bay_id: state.bay_id });
    let limits = Some(recreate::limits(&updated)).filter(|limits| !limits.is_empty());
    let adjusted = limits.map(|limits| AdjustRequestedV1 { limits });
    // The first one is the work that the caller waits for.
    let mut events: Vec<Event> = renamed.map(Event::RenameRequested).into_iter().collect();
    events.extend(adjusted.map(Event::AdjustRequested));
    if !events.is_empty() && state.lifecycle.work().is_full() {
        return Err(Refusal::QueueFull { object: state.label(), limit: MAX_QUEUED });
    }
    events.push(Event::Updated(updated));
    Ok(events)
}

/// The verb of an action, and the event that asks for it.
fn asked(command: ContainerCommand) -> Option<(Verb, Event)> {
    use ContainerCommand as Command;
    let asked = ActionRequestedV1 {};
    Some(match command {
        Command::Start => (Verb::Start, Event::StartRequested(asked)),
        Command::Stop { grace_s } => {
            (Verb::Stop, Event::StopRequested(StopRequestedV1 { grace_s }))
        }
        Command::Reboot { grace_s } => {
            (Verb::Reboot, Event::RebootRequested(StopRequestedV1 { grace_s }))
        }
        Command::Pause => (Verb::Pause, Event::PauseRequested(asked)),
        Command::Unpause => (Verb::Unpause, Event::UnpauseRequested(asked)),
        Command::Kill { signal } => (Verb::Kill, Event::KillRequested(KillRequestedV1 { signal })),
        Command::Execute { command } => {
            (Verb::Execute, Event::ExecuteRequested(ExecuteRequestedV1 { command }))
        }
        Command::Create { .. }
        | Command::EndExecution { .. }
        | Command::Recreate { .. }
        | Command::Delete
        | Command::Abandon
        | Command::Update { .. }
        | Command::Outcome(_)
        | Command::Observe(_) => return None,
    })
}

fn illegal(state: &ContainerState, status: Status, verb: Verb) -> Refusal {
    let legal = ContainerState::legal(status, state.engine_id.is_some());
    // What users are shown comes first; the command would find the other one.
    let now = state.lifecycle.status();
    let then = if now == status { String::new() } else { format!(", then {}", status.name()) };
    Refusal::IllegalTransition {
        object: state.label(),
        status: format!("{}{then}", now.name()),
        command: verb.name().to_owned(),
        legal: legal.iter().chain(&[Verb::Delete]).map(|verb| verb.name().to_owned()).collect(),
    }
}

/// Ends a command that runs. One that has ended since is not found.
fn end_execution(state: &ContainerState, execution_id: EventId) -> Result<Vec<Event>, Refusal> {
    let is_asked = state.lifecycle.work().is_asked_to_end(execution_id)?;
    let event = Event::ExecutionEndRequested(ExecutionEndRequestedV1 { execution_id });
    Ok(if is_asked { vec![] } else { vec![event] })
}

/// A delete is always possible: it overtakes what is queued, and what is in progress is aborted or
/// waited for (rule W5). Asked for again it changes nothing.
fn delete(state: &ContainerState) -> Vec<Event> {
    let asked = |cancelled| Event::DeleteRequested(DeleteRequestedV1 { cancelled });
    Vec::from_iter(state.lifecycle.overtaken().map(asked))
}

/// What was tried is given up, and what was never tried is not.
fn abandon(state: &ContainerState) -> Vec<Event> {
    let Some(reason) = state.lifecycle.stuck() else { return delete(state) };
    vec![Event::Abandoned(ContainerAbandonedV1 {
        engine_id: state.engine_id.clone(),
        reason: reason.to_owned(),
        cancelled: state.lifecycle.open(),
    })]
}
