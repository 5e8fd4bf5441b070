//! A pod: its commands, and what comes of each.
//!
//! A pod is never started or stopped on request: its containers run as its manifest says. Not here:
//! its state, and what is observed of it (`pod_state`), what is wrong with a manifest (`manifest`).

use super::lifecycle::{Effect, Lifecycle, MAX_EXECUTIONS, Task};
use super::naming::Naming;
pub use super::pod_state::PodState;
use super::{Entity, Fact, placement, pod_state};
use crate::backends::{
    Action, Desired, Done, Exec, ObservedPod, Operation, Outcome, Progress, Pull, Removed,
    WorkResult,
};
use crate::bus::{Ctx, Refusal};
use crate::events::Verb;
use crate::events::container::{
    ActionDoneV1, DeleteRequestedV1, ExecutedV1, ExecutionEndRequestedV1, PullStartedV1, PulledV1,
};
use crate::events::pod::{
    PodAbandonedV1, PodCreateRequestedV1, PodCreatedV1, PodDrift, PodDriftedV1, PodEvent as Event,
    PodExecuteRequestedV1, PodSpec, PodStartRequestedV1, Status,
};
use crate::events::work::UpdatedV1;
use crate::ids::{EventId, ObjectId, Timestamp};
use crate::noun_commands;

noun_commands! {
    /// What can be asked of a pod.
    PodCommand {
        /// Make it and start its containers.
        Create {
            /// Its name, unique in its bay.
            name: String,
            /// A description.
            desc: Option<String>,
            /// What it is made from.
            spec: PodSpec,
            /// The bay it belongs to.
            bay_id: ObjectId,
            /// The node of that bay.
            node_id: ObjectId,
            /// The host name of that node.
            host: String,
        },
        /// Run a command in one of its containers.
        Execute {
            /// The container's name in the manifest.
            container: String,
            /// The command and its arguments.
            command: Vec<String>,
        },
        /// End a command that runs in it.
        EndExecution {
            /// The command: the id of the work that runs it.
            execution_id: EventId,
        },
        /// Remove it.
        Delete,
    } internal {
        /// The outcome of work.
        Outcome(Outcome),
        /// What the engine has; `None` if it has nothing for this object.
        ObservePod(Option<ObservedPod>),
        /// Go, as a bay that was given up goes: given up itself if its deletion was tried and does
        /// not end.
        Abandon,
    }
}

/// The pod noun.
pub struct Pod;

impl Entity for Pod {
    type State = PodState;
    type Command = PodCommand;
    type Event = Event;

    fn decide(state: &PodState, command: PodCommand, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
        let status = state.lifecycle.status();
        match command {
            PodCommand::Create { .. } if status != Status::Absent => {
                Err(Self::already_exists(state.lifecycle.id()))
            }
            PodCommand::Create { name, desc, spec, bay_id, node_id, host } => {
                let placement = placement::with_bay(node_id, host);
                let asked = PodCreateRequestedV1 { name, desc, spec, bay_id, placement };
                Ok(vec![Event::CreateRequested(asked)])
            }
            PodCommand::Outcome(outcome) => Ok(settle(&state.lifecycle, &outcome, ctx.now)),
            PodCommand::ObservePod(observed) => Ok(pod_state::observe(state, observed.as_ref())),
            _ if status.is_gone() => Err(Self::not_found(state.lifecycle.id())),
            PodCommand::Update { changes } => {
                Ok(Vec::from_iter(UpdatedV1::of(changes).map(Event::Updated)))
            }
            PodCommand::Execute { container, command } => execute(state, container, command),
            PodCommand::EndExecution { execution_id } => end_execution(state, execution_id),
            PodCommand::Delete => Ok(delete(state)),
            PodCommand::Abandon => Ok(abandon(state)),
        }
    }

    fn evolve(state: &mut PodState, event: &Event, fact: Fact<'_>) {
        if let Event::CreateRequested(asked) = event {
            *state = PodState {
                lifecycle: Lifecycle::begin(fact, asked.placement.node_id, 0),
                name: asked.name.clone(),
                bay_id: asked.bay_id,
                restarts: asked.spec.restarts,
                grace_s: asked.spec.grace_s,
                ..PodState::default()
            };
        }
        state.lifecycle.apply(event, asked_for(state.grace_s, event), fact);
        match event {
            Event::Created(done) => state.engine_id = Some(done.engine_id.clone()),
            Event::StateChanged(changed) => state.recorded = changed.clone(),
            Event::Deleted(_) | Event::Abandoned(_) => state.engine_id = None,
            Event::Drifted(PodDriftedV1 { drift }) => match drift {
                PodDrift::Removed | PodDrift::SandboxRemoved => state.engine_id = None,
                PodDrift::Replaced { found } => state.engine_id = Some(found.clone()),
            },
            _ => {}
        }
    }

    fn named(event: &Event) -> Option<Naming> {
        let Event::CreateRequested(asked) = event else { return None };
        Some(Naming::begin(Some(&asked.name), Some(asked.bay_id)))
    }
}

/// What an event asks a backend to do.
fn asked_for(grace_s: u32, event: &Event) -> Option<Effect> {
    Some(Effect::Engine(match event {
        Event::CreateRequested(asked) => Action::Apply(Desired::Pod {
            name: asked.name.clone(),
            bay_id: asked.bay_id,
            spec: asked.spec.clone(),
        }),
        Event::StartRequested(_) => Action::Do(Operation::StartPod),
        Event::ExecuteRequested(asked) => Action::Exec(Exec::InPod {
            container: asked.container.clone(),
            command: asked.command.clone(),
        }),
        Event::ExecutionEndRequested(asked) => {
            Action::Exec(Exec::End { execution_id: asked.execution_id })
        }
        Event::DeleteRequested(_) => Action::Remove(Removed::Pod { grace_s }),
        _ => return None,
    }))
}

/// What an outcome of open work leads to. A pod that is there is started: that is work of its own,
/// because what initialises it may take for ever.
fn settle(lifecycle: &Lifecycle<Status>, outcome: &Outcome, now: Timestamp) -> Vec<Event> {
    if let (WorkResult::Progress(progress), Some(task)) =
        (&outcome.result, lifecycle.work().current(outcome))
        && let Some(event) = pull_event(task, progress)
    {
        return vec![event];
    }
    let mut events = lifecycle.settle(outcome, now, done_event);
    if matches!(events.last(), Some(Event::Created(_))) && !lifecycle.status().is_deleting() {
        events.push(Event::StartRequested(PodStartRequestedV1 { because: None }));
    }
    events
}

/// What is recorded of a pull.
fn pull_event(task: &Task, progress: &Progress) -> Option<Event> {
    let work_id = task.id;
    Some(match progress.pull.clone()? {
        Pull::Started { image } => Event::PullStarted(PullStartedV1 { work_id, image }),
        Pull::Ended { image, digest } => {
            Event::Pulled(PulledV1 { work_id, image, bytes: progress.total_bytes, digest })
        }
    })
}

fn done_event(task: &Task, done: &Done) -> Option<Event> {
    let work_id = task.id;
    let plain = ActionDoneV1 { work_id };
    Some(match task.action.verb() {
        Verb::Create => {
            let engine_id = done.engine_id.clone().unwrap_or_default();
            Event::Created(PodCreatedV1 { work_id, engine_id })
        }
        Verb::Start => Event::Started(plain),
        Verb::Execute => {
            let exit_code = done.exit_code.unwrap_or_default();
            Event::Executed(ExecutedV1 { work_id, exit_code })
        }
        Verb::EndExecution => Event::ExecutionEnded(plain),
        Verb::Delete => Event::Deleted(plain),
        _ => return None,
    })
}

/// Runs a command in a container, of which the engine knows whether it runs.
fn execute(
    state: &PodState,
    container: String,
    command: Vec<String>,
) -> Result<Vec<Event>, Refusal> {
    let status = state.lifecycle.status();
    if !matches!(status, Status::Pending | Status::Running) {
        return Err(Refusal::IllegalTransition {
            object: state.label(),
            status: status.name().to_owned(),
            command: Verb::Execute.name().to_owned(),
            legal: vec![Verb::Delete.name().to_owned()],
        });
    }
    if state.lifecycle.work().is_full_of_executions() {
        return Err(Refusal::TooManyExecutions { object: state.label(), limit: MAX_EXECUTIONS });
    }
    Ok(vec![Event::ExecuteRequested(PodExecuteRequestedV1 { container, command })])
}

/// Ends a command that runs. One that has ended since is not found.
fn end_execution(state: &PodState, execution_id: EventId) -> Result<Vec<Event>, Refusal> {
    let is_asked = state.lifecycle.work().is_asked_to_end(execution_id)?;
    let event = Event::ExecutionEndRequested(ExecutionEndRequestedV1 { execution_id });
    Ok(if is_asked { vec![] } else { vec![event] })
}

/// A delete is always possible: it overtakes what is queued, and what is in progress is aborted or
/// waited for (rule W5). Asked for again it changes nothing.
fn delete(state: &PodState) -> Vec<Event> {
    let asked = |cancelled| Event::DeleteRequested(DeleteRequestedV1 { cancelled });
    Vec::from_iter(state.lifecycle.overtaken().map(asked))
}

/// What was tried is given up, and what was never tried is not.
fn abandon(state: &PodState) -> Vec<Event> {
    let Some(reason) = state.lifecycle.stuck() else { return delete(state) };
    vec![Event::Abandoned(PodAbandonedV1 {
        engine_id: state.engine_id.clone(),
        reason: reason.to_owned(),
        cancelled: state.lifecycle.open(),
    })]
}
