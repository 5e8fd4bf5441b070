//! The events of a container: payloads, frozen once released, and the status that they lead to.
//!
//! Not here: which commands are legal (`actors/container.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::mark::Verb;
use super::work::{Placement, UpdatedV1};
use super::{EventPayload as _, status};
use crate::ids::{EventId, ObjectId, Timestamp};
use crate::{noun_events, statuses};

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortMapping {
    /// The port inside the container.
    pub container_port: u16,
    /// The port on the node; the engine chooses one where there is none.
    pub host_port: Option<u16>,
    /// The address on the node; `None`: all.
    pub host_ip: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// When the engine starts an ended container again by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// When it ended with an exit code other than 0, at most this many times (0: no limit).
    OnFailure(u32),
    /// Always, except when it was stopped.
    UnlessStopped,
}

/// What a container is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerSpec {
    /// The image reference.
    pub image: String,
    /// The command and its arguments; the image's own where empty.
    pub command: Vec<String>,
    /// Environment variables; their values are sealed, and shown to nobody.
    pub environment: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// The user's labels; ours are added by the backend.
    pub labels: BTreeMap<String, String>,
    /// The memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// The CPU limit in thousandths of a CPU.
    pub cpu_millis: Option<u32>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// User name or id, optionally with a group.
    pub user: Option<String>,
    /// When the engine starts it again.
    pub restart_policy: RestartPolicy,
}

/// A container was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateRequestedV1 {
    /// Its name; not unique.
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

/// An action is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionDoneV1 {
    /// The work.
    pub work_id: EventId,
}

/// The container's process ended by itself, or was ended outside Magnum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitedV1 {
    /// The exit code of the process.
    pub exit_code: i64,
    /// Whether the kernel OOM-killed it.
    pub oom_killed: bool,
    /// When, by the engine's clock, where it says so.
    pub finished_at: Option<Timestamp>,
}

/// The container's process ended and nobody asked Magnum for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitedV2 {
    /// The exit code of the process.
    pub exit_code: i64,
    /// Whether the kernel ended it because it was out of memory.
    pub oom_killed: bool,
    /// When, by the engine's clock, if it says so.
    pub finished_at: Option<Timestamp>,
    /// Whether the engine's restart policy is about to start it again.
    pub restarting: bool,
}

impl From<ExitedV1> for ExitedV2 {
    fn from(ExitedV1 { exit_code, oom_killed, finished_at }: ExitedV1) -> Self {
        Self { exit_code, oom_killed, finished_at, restarting: false }
    }
}

/// A command that runs in the container is to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionEndRequestedV1 {
    /// The command: the id of the work that runs it.
    pub execution_id: EventId,
}

/// The engine started the container again by itself, as its restart policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartedV1 {}

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
        /// Being pulled.
        PullProgressed(PullProgressedV1) = "container.pull_progressed", 1, Progress { work_id };
        /// There, not running.
        Created(CreatedV1) = "container.created", 1, Done(Create) { work_id };
        /// To be started.
        StartRequested(ActionRequestedV1) = "container.start_requested", 1, Asks(Start);
        /// Running.
        Started(ActionDoneV1) = "container.started", 1, Done(Start) { work_id };
        /// To be stopped.
        StopRequested(StopRequestedV1) = "container.stop_requested", 1, Asks(Stop);
        /// Stopped by us.
        Stopped(ActionDoneV1) = "container.stopped", 1, Done(Stop) { work_id };
        /// To be restarted.
        RebootRequested(StopRequestedV1) = "container.reboot_requested", 1, Asks(Reboot);
        /// Running again.
        Rebooted(ActionDoneV1) = "container.rebooted", 1, Done(Reboot) { work_id };
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
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "container.updated", 1, Changed { updated };
        /// A running command is to end.
        ExecutionEndRequested(ExecutionEndRequestedV1)
            = "container.execution_end_requested", 1, Asks(EndExecution);
        /// It was ended; its exit code is in `container.executed`.
        ExecutionEnded(ActionDoneV1)
            = "container.execution_ended", 1, Done(EndExecution) { work_id };
        /// The process ended.
        Exited(ExitedV2, ExitedV1) = "container.exited", 2, Observed;
        /// The engine's restart policy started it again.
        Restarted(RestartedV1) = "container.restarted", 1, Observed;
        /// Reality differs.
        Drifted(DriftedV1) = "container.drifted", 1, Observed;
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
            (_, E::Deleted(_)) => Self::Deleted,
            (_, E::WorkFailed(_) | E::WorkUnknown(_)) => match event.failed_verb() {
                Some(Verb::Delete) => Self::Error,
                // A command or a signal that fails says nothing about the container.
                Some(verb) if verb.is_inside() => self,
                _ if self.is_deleting() => self,
                _ => Self::Error,
            },
            (Self::Deleting, _) => self,
            (_, E::DeleteRequested(_)) => Self::Deleting,
            (_, E::Created(_) | E::Stopped(_)) => Self::Stopped,
            (_, E::Started(_) | E::Rebooted(_) | E::Unpaused(_) | E::Restarted(_)) => Self::Running,
            (_, E::Paused(_)) => Self::Paused,
            (_, E::Exited(exit)) if exit.restarting => Self::Restarting,
            (_, E::Exited(_)) => Self::Stopped,
            (_, E::Drifted(drifted)) => self.after_drift(&drifted.drift),
            // Listed one by one, so that a new event is decided about.
            (
                _,
                E::PullProgressed(_)
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
