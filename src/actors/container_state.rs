//! What a container's events fold to, and what can be asked of it in which status.
//!
//! Not here: its commands (`container`), how it is held against the engine (`drift`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ObjectState;
use super::lifecycle::{DueWork, Effect, Lifecycle};
use crate::events::Verb;
use crate::events::container::{ContainerSpec, Status};
use crate::events::run::Run;
use crate::ids::{Kind, ObjectId, ProjectId, Timestamp, WorkId};

/// What a container's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ContainerState {
    pub(super) lifecycle: Lifecycle<Status>,
    pub(super) name: Option<String>,
    /// The engine's id of it, while the engine has it.
    pub(super) engine_id: Option<String>,
    pub(super) renamed_to: Option<String>,
    pub(super) bay_id: ObjectId,
    /// What it is made from when it is recreated.
    pub(super) wanted: ContainerSpec,
    /// Whether it was running when it came to an error.
    pub(super) was_alive: bool,
    /// When its process last ended and nobody here had asked for that.
    pub(super) ended_at: Option<Timestamp>,
    /// Whether the engine's restart policy may start it again.
    pub(super) restarts: bool,
    /// It ended by itself, as far as was known for no want of memory.
    pub(super) exited: bool,
    /// Up to when its ends are recorded, by the engine's clock.
    pub(super) ends_known_to: Option<Timestamp>,
    /// Up to when its ends are what somebody here asked for, by the service's clock.
    pub(super) ends_asked_to: Option<Timestamp>,
    /// Until when the first end after that is the reboot's that somebody here asked for.
    pub(super) rebooted_by: Option<Timestamp>,
    /// What is recorded of its process, while it has one.
    pub(super) run: Option<Run>,
    /// The numbers of signals that somebody here had sent to its process, or asked for.
    pub(super) signals: Vec<u8>,
}

impl ObjectState for ContainerState {
    const HAS_WORK: bool = true;

    fn project(&self) -> Option<&ProjectId> {
        self.lifecycle.project()
    }

    fn due(&self, kind: Kind) -> Vec<DueWork> {
        self.lifecycle.due(kind)
    }

    fn awaits(&self, id: WorkId) -> bool {
        self.lifecycle.awaits(id)
    }
}

impl ContainerState {
    /// The status once everything that is queued has been done.
    pub(super) fn anticipated(&self) -> Status {
        self.lifecycle.work().queued().fold(self.lifecycle.status(), |status, task| {
            match task.action.verb() {
                Verb::Recreate => match &task.action {
                    Effect::Engine(action) if action.starts_anew() => Status::Running,
                    _ => Status::Stopped,
                },
                Verb::Start | Verb::Reboot | Verb::Unpause => Status::Running,
                Verb::Create | Verb::Stop => Status::Stopped,
                Verb::Pause => Status::Paused,
                Verb::Delete => Status::Deleting,
                Verb::Kill
                | Verb::Execute
                | Verb::EndExecution
                | Verb::Empty
                | Verb::Rename
                | Verb::Adjust => status,
            }
        })
    }

    /// Whether it has a process.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.lifecycle.status(), Status::Running | Status::Paused)
    }

    /// How messages call it.
    pub(super) fn label(&self) -> String {
        format!(
            "Container {}",
            self.name.clone().unwrap_or_else(|| self.lifecycle.id().to_string())
        )
    }

    /// What can be asked for in a status, a deletion aside, which always can. What was never made,
    /// or is lost, can be recreated and deleted.
    pub(super) const fn legal(status: Status, is_made: bool) -> &'static [Verb] {
        match status {
            Status::Stopped => &[Verb::Start, Verb::Reboot, Verb::Recreate],
            Status::Running => {
                &[Verb::Stop, Verb::Reboot, Verb::Pause, Verb::Kill, Verb::Execute, Verb::Recreate]
            }
            Status::Restarting => &[Verb::Stop, Verb::Reboot, Verb::Kill, Verb::Recreate],
            Status::Paused => &[Verb::Unpause, Verb::Stop, Verb::Reboot, Verb::Kill],
            Status::Error if is_made => &[Verb::Start, Verb::Stop, Verb::Reboot, Verb::Recreate],
            Status::Error => &[Verb::Recreate],
            Status::Absent | Status::Creating | Status::Deleting | Status::Deleted => &[],
        }
    }
}
