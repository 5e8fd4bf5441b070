//! The events of a container: payloads, frozen once released, and the status that they lead to.
//!
//! Not here: payloads about its process (`run`), which commands are legal (`actors/container.rs`),
//! payloads of what changes one that is there (`container_change`) or is given up (`abandoned`),
//! what it is made from (`container_spec`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::abandoned::ContainerAbandonedV1;
pub use super::container_change::{
    AdjustRequestedV1, AdjustedV1, Limits, RecreateAdvancedV1, RecreateRequestedV1, RecreateStep,
    RecreatedV1, RenameRequestedV1,
};
pub use super::container_spec::{ContainerSpec, PortMapping, RestartPolicy, cpu_millis, cpus};
use super::mark::Verb;
use super::run::RunEnd;
pub use super::run::{
    ActionDoneV1, ExitedV1, ExitedV2, ExitedV3, HealthChangedV1, NotStartedV1, RebootedV2,
    RestartedV1, RestartedV2, RunChangedV1, StartedV2, StoppedV2,
};
use super::work::{Placement, UpdatedV1};
use super::{EventPayload as _, status};
use crate::ids::{EventId, ObjectId};
use crate::{noun_events, statuses};

/// A container was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateRequestedV1 {
    /// Its name.
    pub name: Option<String>,
    /// A description.
    pub desc: Option<String>,
    /// What it is made from.
    pub spec: ContainerSpec,
    /// The bay it belongs to.
    pub bay_id: ObjectId,
    /// The node it was given, and why.
    pub placement: Placement,
}

/// The image is being pulled; recorded at most once a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PullProgressedV1 {
    /// The work that pulls.
    pub work_id: EventId,
    /// The engine's words.
    pub message: String,
    /// Bytes so far over all layers.
    pub current_bytes: u64,
    /// Bytes in all, as far as the engine knows.
    pub total_bytes: u64,
}

/// The engine began to pull the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PullStartedV1 {
    /// The work that pulls.
    pub work_id: EventId,
    /// The image.
    pub image: String,
}

/// The image was pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PulledV1 {
    /// The work that pulled.
    pub work_id: EventId,
    /// The image.
    pub image: String,
    /// The bytes of its layers that the engine did not have.
    pub bytes: u64,
    /// Its digest at the registry, if the engine says it.
    pub digest: Option<String>,
}

/// The container is there, not running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedV1 {
    /// The work.
    pub work_id: EventId,
    /// The engine's id of it.
    pub engine_id: String,
}

/// An action was asked for that takes no arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionRequestedV1 {}

/// The grace of a stop that is followed by no kill, however long it takes.
pub const NO_KILL: u32 = u32::MAX;

/// The value of a variable that the container is not to have, although its image has it. No other
/// value has this character.
pub const UNSET: &str = "\0";

/// The container is to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopRequestedV1 {
    /// Seconds between the stop signal and the kill.
    pub grace_s: u32,
}

/// A signal is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KillRequestedV1 {
    /// `SIGKILL`.
    pub signal: String,
}

/// The container is to go; work that has not started is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeleteRequestedV1 {
    /// Work that never starts.
    pub cancelled: Vec<EventId>,
}

/// A command is to run in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecuteRequestedV1 {
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// The command ended; its output is in no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutedV1 {
    /// The work.
    pub work_id: EventId,
    /// Its exit code.
    pub exit_code: i64,
}

/// A command that runs in the container is to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionEndRequestedV1 {
    /// The command: the id of the work that runs it.
    pub execution_id: EventId,
}

/// What was found to differ from what should be, and was not our doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Drift {
    /// The engine no longer has it.
    Removed,
    /// It runs though it should not.
    Started,
    /// It is paused.
    Paused,
    /// It is no longer paused.
    Unpaused,
    /// The engine's name of it is another.
    Renamed {
        /// The name that was found.
        found: String,
    },
    /// The engine has a container of ours under this object with another engine id.
    Replaced {
        /// The id that was found.
        found: String,
    },
}

/// Reality differs from the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriftedV1 {
    /// In what.
    pub drift: Drift,
}

noun_events! {
    /// Everything that can happen to a container.
    ContainerEvent of work "container" {
        /// Asked for.
        CreateRequested(CreateRequestedV1) = "container.create_requested", 1, Asks(Create);
        /// The pull has begun.
        PullStarted(PullStartedV1) = "container.pull_started", 1, Progress { work_id };
        /// The pull has ended.
        Pulled(PulledV1) = "container.pulled", 1, Progress { work_id };
        /// Being pulled; not recorded any more.
        PullProgressed(PullProgressedV1) = "container.pull_progressed", 1, Progress { work_id };
        /// There, not running.
        Created(CreatedV1) = "container.created", 1, Done(Create) { work_id };
        /// To be started.
        StartRequested(ActionRequestedV1) = "container.start_requested", 1, Asks(Start);
        /// Running.
        Started(StartedV2, ActionDoneV1) = "container.started", 2, Done(Start) { work_id };
        /// To be stopped.
        StopRequested(StopRequestedV1) = "container.stop_requested", 1, Asks(Stop);
        /// Stopped by us.
        Stopped(StoppedV2, ActionDoneV1) = "container.stopped", 2, Done(Stop) { work_id };
        /// To be restarted.
        RebootRequested(StopRequestedV1) = "container.reboot_requested", 1, Asks(Reboot);
        /// Running again.
        Rebooted(RebootedV2, ActionDoneV1) = "container.rebooted", 2, Done(Reboot) { work_id };
        /// To be paused.
        PauseRequested(ActionRequestedV1) = "container.pause_requested", 1, Asks(Pause);
        /// Paused.
        Paused(ActionDoneV1) = "container.paused", 1, Done(Pause) { work_id };
        /// To go on.
        UnpauseRequested(ActionRequestedV1) = "container.unpause_requested", 1, Asks(Unpause);
        /// Going on.
        Unpaused(ActionDoneV1) = "container.unpaused", 1, Done(Unpause) { work_id };
        /// To get a signal.
        KillRequested(KillRequestedV1) = "container.kill_requested", 1, Asks(Kill);
        /// The signal was sent; whether it ended shows in `container.exited`.
        Killed(ActionDoneV1) = "container.killed", 1, Done(Kill) { work_id };
        /// To run a command.
        ExecuteRequested(ExecuteRequestedV1) = "container.execute_requested", 1, Asks(Execute);
        /// The command ended.
        Executed(ExecutedV1) = "container.executed", 1, Done(Execute) { work_id };
        /// To go.
        DeleteRequested(DeleteRequestedV1)
            = "container.delete_requested", 1, Asks(Delete) { cancelled };
        /// Gone.
        Deleted(ActionDoneV1) = "container.deleted", 1, Done(Delete) { work_id, end };
        /// Gone with its bay that was given up; what could not be deleted stays behind.
        Abandoned(ContainerAbandonedV1) = "container.abandoned", 1, Changed { cancelled, end };
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "container.updated", 1, Changed { updated };
        /// A running command is to end.
        ExecutionEndRequested(ExecutionEndRequestedV1)
            = "container.execution_end_requested", 1, Asks(EndExecution);
        /// It was ended; its exit code is in `container.executed`.
        ExecutionEnded(ActionDoneV1)
            = "container.execution_ended", 1, Done(EndExecution) { work_id };
        /// To be reached by another name.
        RenameRequested(RenameRequestedV1) = "container.rename_requested", 1, Asks(Rename);
        /// It is reached by that name, and by the one before no longer.
        Renamed(ActionDoneV1) = "container.renamed", 1, Done(Rename) { work_id };
        /// To have other limits.
        AdjustRequested(AdjustRequestedV1) = "container.adjust_requested", 1, Asks(Adjust);
        /// It has them.
        Adjusted(AdjustedV1) = "container.adjusted", 1, Done(Adjust) { work_id };
        /// To be made anew.
        RecreateRequested(RecreateRequestedV1)
            = "container.recreate_requested", 1, Asks(Recreate);
        /// A step of that is done.
        RecreateAdvanced(RecreateAdvancedV1)
            = "container.recreate_advanced", 1, Progress { work_id };
        /// Made anew.
        Recreated(RecreatedV1) = "container.recreated", 1, Done(Recreate) { work_id };
        /// The process ended.
        Exited(ExitedV3, ExitedV2, ExitedV1) = "container.exited", 3, Observed;
        /// The engine could not run its program.
        NotStarted(NotStartedV1) = "container.not_started", 1, Observed;
        /// The engine's restart policy started it again.
        Restarted(RestartedV2, RestartedV1) = "container.restarted", 2, Observed;
        /// Its process is not what was recorded.
        RunChanged(RunChangedV1) = "container.run_changed", 1, Observed;
        /// Its health changed.
        HealthChanged(HealthChangedV1) = "container.health_changed", 1, Observed;
        /// Reality differs.
        Drifted(DriftedV1) = "container.drifted", 1, Observed;
    }
}

impl ContainerEvent {
    /// What a container is made from, if the event says so.
    pub const fn spec_mut(&mut self) -> Option<&mut ContainerSpec> {
        match self {
            Self::CreateRequested(asked) => Some(&mut asked.spec),
            Self::RecreateRequested(asked) => Some(&mut asked.spec),
            Self::Recreated(made) => Some(&mut made.spec),
            _ => None,
        }
    }

    /// How a process of the container ended, if the event says so.
    pub fn run_end(&self) -> Option<RunEnd> {
        Some(match self {
            Self::Stopped(it) => RunEnd {
                exit_code: it.exit_code,
                oom_killed: it.oom_killed,
                finished_at: it.finished_at,
            },
            Self::Exited(it) => RunEnd {
                exit_code: Some(it.exit_code),
                oom_killed: it.oom_killed,
                finished_at: it.finished_at,
            },
            Self::NotStarted(it) => RunEnd { exit_code: Some(it.exit_code), ..RunEnd::default() },
            Self::Rebooted(it) => it.end.clone()?,
            Self::Recreated(it) => it.end.clone()?,
            _ => return None,
        })
    }
}

statuses! {
    /// How far a container's life is.
    Status {
        /// Never asked for.
        Absent = "Absent", gone;
        /// Asked for, not made yet.
        Creating = "Creating";
        /// Made, or ended.
        Stopped = "Stopped";
        /// Running.
        Running = "Running";
        /// Ended, and about to be started again by the engine's restart policy.
        Restarting = "Restarting";
        /// Frozen.
        Paused = "Paused";
        /// The engine refused something, or lost it.
        Error = "Error";
        /// Asked to go, not gone yet.
        Deleting = "Deleting", deleting;
        /// Gone.
        Deleted = "Deleted", gone;
    }
}

impl Status {
    const fn after_drift(self, drift: &Drift) -> Self {
        match drift {
            Drift::Removed => Self::Error,
            Drift::Started | Drift::Unpaused => Self::Running,
            Drift::Paused => Self::Paused,
            Drift::Renamed { .. } | Drift::Replaced { .. } => self,
        }
    }
}

impl status::Status for Status {
    type Event = ContainerEvent;

    fn after(self, event: &ContainerEvent) -> Self {
        use ContainerEvent as E;
        match (self, event) {
            (_, E::CreateRequested(_)) => Self::Creating,
            (Self::Absent | Self::Deleted, _) => self,
            (_, E::Deleted(_) | E::Abandoned(_)) => Self::Deleted,
            (_, E::WorkFailed(_) | E::WorkUnknown(_)) => match event.failed_verb() {
                Some(Verb::Delete) => Self::Error,
                // A command or a signal that fails says nothing about the container.
                Some(verb) if verb.is_inside() => self,
                _ if self.is_deleting() => self,
                // It goes on under the name and with the limits that it has.
                Some(Verb::Rename | Verb::Adjust) => self,
                // The container as it was is back, or there was none.
                Some(Verb::Recreate) if matches!(event, E::WorkFailed(_)) => self,
                _ => Self::Error,
            },
            (Self::Deleting, _) => self,
            (_, E::DeleteRequested(_)) => Self::Deleting,
            (_, E::Created(_) | E::Stopped(_)) => Self::Stopped,
            (_, E::Started(_) | E::Rebooted(_) | E::Unpaused(_) | E::Restarted(_)) => Self::Running,
            (_, E::Recreated(done)) if done.started => Self::Running,
            (_, E::Recreated(_)) => Self::Stopped,
            (_, E::Paused(_)) => Self::Paused,
            (_, E::Exited(exit)) if exit.restarting => Self::Restarting,
            (_, E::Exited(_)) => Self::Stopped,
            (_, E::Drifted(drifted)) => self.after_drift(&drifted.drift),
            // Listed one by one, so that a new event is decided about.
            (
                _,
                E::PullStarted(_)
                | E::Pulled(_)
                | E::PullProgressed(_)
                | E::NotStarted(_)
                | E::RunChanged(_)
                | E::HealthChanged(_)
                | E::RenameRequested(_)
                | E::Renamed(_)
                | E::AdjustRequested(_)
                | E::Adjusted(_)
                | E::RecreateRequested(_)
                | E::RecreateAdvanced(_)
                | E::StartRequested(_)
                | E::StopRequested(_)
                | E::RebootRequested(_)
                | E::PauseRequested(_)
                | E::UnpauseRequested(_)
                | E::KillRequested(_)
                | E::Killed(_)
                | E::ExecuteRequested(_)
                | E::Executed(_)
                | E::ExecutionEndRequested(_)
                | E::ExecutionEnded(_)
                | E::Updated(_)
                | E::WorkBlocked(_)
                | E::WorkResumed(_),
            ) => self,
        }
    }
}
