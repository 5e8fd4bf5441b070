//! A container: its state, what can be asked of it, and what is allowed when.
//!
//! Not here: what Docker does about it (`backends`), what is shown of it (`projections`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tasks::{MAX_TASKS, Tasks};
use super::{Entity, Fact, container_work, drift, placement};
use crate::backends::{Action, Observed, Outcome, Work};
use crate::bus::{Ctx, NounCommand, Refusal};
use crate::events::container::{
    ActionDoneV1, ActionRequestedV1, ContainerEvent as Event, ContainerSpec, CreateRequestedV1,
    DeleteRequestedV1, ExecuteRequestedV1, ExecutedV1, KillRequestedV1, RestartPolicy,
    StopRequestedV1,
};
use crate::events::work::{FieldChange, UpdatedV1, WorkFailedV1, WorkUnknownV1};
use crate::ids::{Kind, ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// What can be asked of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerCommand {
    /// Make it, not running.
    Create {
        /// Its name; not unique.
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
    /// Remove it, running or not.
    Delete,
    /// Set fields: `name`, `desc`, `image_id`, `command`. Edits the record, not what runs.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// What came of work.
    Outcome(Outcome),
    /// What the engine has; none where it has nothing for this object. Sent by the worker
    /// between pieces of work, never while one is under way.
    Observe(Option<Observed>),
}

impl NounCommand for ContainerCommand {
    const KIND: Kind = Kind::Container;
}

/// How far a container's life is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Status {
    /// Never asked for.
    #[default]
    Absent,
    /// Asked for, not made yet.
    Creating,
    /// Made, or ended.
    Stopped,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// The engine refused something, or lost it.
    Error,
    /// Asked to go, not gone yet.
    Deleting,
    /// Gone.
    Deleted,
}

/// What a container's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ContainerState {
    pub(super) status: Status,
    project: Option<ProjectId>,
    id: ObjectId,
    node_id: ObjectId,
    name: Option<String>,
    /// The engine's id of it, while the engine has it.
    pub(super) engine_id: Option<String>,
    pub(super) renamed_to: Option<String>,
    /// Whether the engine's restart policy may start it again.
    pub(super) restarts: bool,
    /// It ended by itself, as far as was known for no want of memory.
    pub(super) exited: bool,
    /// Up to when its ends are recorded, or are what somebody here asked for.
    pub(super) ends_known_to: Option<Timestamp>,
    /// Until when the first end after that is the reboot's that somebody here asked for.
    pub(super) rebooted_by: Option<Timestamp>,
    pub(super) tasks: Tasks,
}

impl ContainerState {
    /// The status once everything that waits has been done.
    fn anticipated(&self) -> Status {
        self.tasks.queued().fold(self.status, |status, action| match action {
            Action::StartContainer | Action::RebootContainer { .. } | Action::UnpauseContainer => {
                Status::Running
            }
            Action::CreateContainer { .. } | Action::StopContainer { .. } => Status::Stopped,
            Action::PauseContainer => Status::Paused,
            Action::DeleteContainer => Status::Deleting,
            _ => status,
        })
    }

    /// Whether it has a process.
    pub(super) const fn is_alive(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// How messages call it.
    fn label(&self) -> String {
        format!("Container {}", self.name.clone().unwrap_or_else(|| self.id.to_string()))
    }

    fn illegal(&self, status: Status, command: &str) -> Refusal {
        let legal: &[&str] = match status {
            Status::Stopped => &["start", "reboot", "delete"],
            Status::Running => &["stop", "reboot", "pause", "kill", "execute", "delete"],
            Status::Paused => &["unpause", "stop", "kill", "delete"],
            Status::Error if self.engine_id.is_some() => &["start", "stop", "reboot", "delete"],
            _ => &["delete"],
        };
        Refusal::IllegalTransition {
            object: self.label(),
            status: format!("{status:?}"),
            command: command.to_owned(),
            legal: legal.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// The container noun.
pub struct Container;

impl Entity for Container {
    const KIND: Kind = Kind::Container;
    type State = ContainerState;
    type Command = ContainerCommand;
    type Event = Event;
    const SOURCES: &'static [&'static str] = &[
        include_str!("container.rs"),
        include_str!("../events/container.rs"),
        include_str!("../events/work.rs"),
        include_str!("tasks.rs"),
        include_str!("drift.rs"),
        include_str!("container_work.rs"),
        include_str!("../backends/mod.rs"),
    ];

    fn decide(
        state: &ContainerState,
        command: ContainerCommand,
        ctx: &Ctx,
    ) -> Result<Vec<Event>, Refusal> {
        match command {
            ContainerCommand::Create { .. } if state.status != Status::Absent => {
                Err(Refusal::AlreadyExists { kind: "container".to_owned(), id: state.id })
            }
            ContainerCommand::Create { name, desc, spec, bay_id, node_id, host } => {
                let placement = placement::with_bay(node_id, host);
                let asked = CreateRequestedV1 { name, desc, spec, bay_id, placement };
                Ok(vec![Event::CreateRequested(asked)])
            }
            ContainerCommand::Outcome(outcome) => {
                Ok(container_work::settle(&state.tasks, &outcome, ctx.now))
            }
            ContainerCommand::Observe(observed) => Ok(drift::observe(state, observed.as_ref())),
            _ if matches!(state.status, Status::Absent | Status::Deleted) => {
                Err(Refusal::NotFound { kind: "Container".to_owned(), id: state.id })
            }
            ContainerCommand::Update { changes } if changes.is_empty() => Ok(vec![]),
            ContainerCommand::Update { changes } => Ok(vec![Event::Updated(UpdatedV1 { changes })]),
            ContainerCommand::Delete => Ok(delete(state)),
            _ if state.tasks.is_full() => {
                Err(Refusal::QueueFull { object: state.label(), limit: MAX_TASKS })
            }
            _ => act(state, command),
        }
    }

    fn evolve(state: &mut ContainerState, event: &Event, fact: Fact<'_>) {
        if let Event::CreateRequested(asked) = event {
            *state = ContainerState {
                status: Status::Creating,
                project: Some(ProjectId(fact.project.to_owned())),
                id: fact.object,
                node_id: asked.placement.node_id,
                name: asked.name.clone(),
                restarts: asked.spec.restart_policy != RestartPolicy::No,
                ..ContainerState::default()
            };
        }
        if let Some(action) = container_work::asked_for(event) {
            state.tasks.push(action, fact);
        }
        drift::note_ends(state, event, fact.time);
        match event {
            Event::Created(done) => {
                state.tasks.end(done.work_id);
                state.engine_id = Some(done.engine_id.clone());
                state.status = Status::Stopped;
            }
            Event::Started(done) | Event::Rebooted(done) | Event::Unpaused(done) => {
                state.tasks.end(done.work_id);
                state.exited = false;
                state.status = Status::Running;
            }
            Event::Stopped(done) => {
                state.tasks.end(done.work_id);
                state.status = Status::Stopped;
            }
            Event::Paused(done) => {
                state.tasks.end(done.work_id);
                state.status = Status::Paused;
            }
            Event::Killed(ActionDoneV1 { work_id })
            | Event::Executed(ExecutedV1 { work_id, .. }) => {
                state.tasks.end(*work_id);
            }
            Event::DeleteRequested(asked) => {
                state.tasks.drop_all(&asked.cancelled);
                state.status = Status::Deleting;
            }
            Event::Deleted(_) => {
                state.tasks = Tasks::default();
                state.engine_id = None;
                state.status = Status::Deleted;
            }
            Event::Updated(updated) => {
                if let Some(name) = updated.text("name") {
                    state.name = name;
                }
            }
            Event::WorkBlocked(blocked) => state.tasks.block(blocked),
            Event::WorkFailed(WorkFailedV1 { work_id, action, .. })
            | Event::WorkUnknown(WorkUnknownV1 { work_id, action, .. }) => {
                came_to_nothing(state, *work_id, action);
            }
            Event::Exited(exit) => {
                state.exited = !exit.oom_killed;
                state.status = Status::Stopped;
            }
            Event::Restarted(_) => state.status = Status::Running,
            Event::Drifted(drifted) => drift::take(state, &drifted.drift),
            _ => {}
        }
        state.tasks.note_turn(fact.time);
    }

    fn react(state: &ContainerState) -> Vec<Work> {
        let Some(project) = &state.project else { return vec![] };
        state.tasks.due(StreamId::new(Kind::Container, state.id), project, state.node_id)
    }

    fn awaits(state: &ContainerState, id: WorkId) -> bool {
        state.tasks.contains(id)
    }

    fn project(state: &ContainerState) -> Option<&ProjectId> {
        state.project.as_ref()
    }
}

/// Work failed, or nobody knows. A command or a signal that came to nothing says nothing of the
/// container, and one that is being deleted has other things to say.
fn came_to_nothing(state: &mut ContainerState, work_id: WorkId, action: &str) {
    state.tasks.end(work_id);
    let deleting = state.status == Status::Deleting && action != "delete";
    if !deleting && !matches!(action, "execute" | "kill") {
        state.status = Status::Error;
    }
}

/// The one table of actions (rule E4): by the status that will be when it is their turn.
fn act(state: &ContainerState, command: ContainerCommand) -> Result<Vec<Event>, Refusal> {
    use ContainerCommand as Command;
    use Status::{Error, Paused, Running, Stopped};
    let status = state.anticipated();
    // What was never made, or is lost, can only be deleted.
    let startable =
        status != Error || state.engine_id.is_some() || state.status == Status::Creating;
    let asked = ActionRequestedV1 {};
    Ok(match (status, command) {
        (Running, Command::Start) | (Stopped, Command::Stop { .. }) => vec![],
        (Stopped | Error, Command::Start) if startable => vec![Event::StartRequested(asked)],
        (Running | Paused | Error, Command::Stop { grace_s }) if startable => {
            vec![Event::StopRequested(StopRequestedV1 { grace_s })]
        }
        (Running | Stopped | Error, Command::Reboot { grace_s }) if startable => {
            vec![Event::RebootRequested(StopRequestedV1 { grace_s })]
        }
        (Running, Command::Pause) => vec![Event::PauseRequested(asked)],
        (Paused, Command::Unpause) => vec![Event::UnpauseRequested(asked)],
        (Running | Paused, Command::Kill { signal }) => {
            vec![Event::KillRequested(KillRequestedV1 { signal })]
        }
        (Running, Command::Execute { command }) if state.status == Running => {
            vec![Event::ExecuteRequested(ExecuteRequestedV1 { command })]
        }
        (_, command) => return Err(state.illegal(status, verb(&command))),
    })
}

/// A delete is always possible: it overtakes what waits. Asked for again it changes nothing.
fn delete(state: &ContainerState) -> Vec<Event> {
    if state.anticipated() == Status::Deleting {
        return vec![];
    }
    vec![Event::DeleteRequested(DeleteRequestedV1 { cancelled: state.tasks.cancellable() })]
}

/// The verb of an action, for messages.
const fn verb(command: &ContainerCommand) -> &'static str {
    match command {
        ContainerCommand::Start => "start",
        ContainerCommand::Stop { .. } => "stop",
        ContainerCommand::Reboot { .. } => "reboot",
        ContainerCommand::Pause => "pause",
        ContainerCommand::Unpause => "unpause",
        ContainerCommand::Kill { .. } => "kill",
        ContainerCommand::Execute { .. } => "execute",
        _ => "change",
    }
}
