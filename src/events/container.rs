//! What can happen to a container: payloads only, frozen once released.
//!
//! Not here: what is allowed when (`actors/container.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::work::{Placement, UpdatedV1, WorkBlockedV1, WorkFailedV1, WorkUnknownV1};
use crate::ids::{EventId, ObjectId, Timestamp};
use crate::noun_events;

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortMapping {
    /// The port inside the container.
    pub container_port: u16,
    /// The port on the node; the engine chooses one where there is none.
    pub host_port: Option<u16>,
    /// The address on the node; all where there is none.
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
    /// When it ended with an exit code other than 0, at most so many times (0: no limit).
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

/// The container's process ended by itself, or was ended behind our back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitedV1 {
    /// The exit code of the process.
    pub exit_code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom_killed: bool,
    /// When, by the engine's clock, where it says so.
    pub finished_at: Option<Timestamp>,
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
    ContainerEvent {
        /// Asked for.
        CreateRequested(CreateRequestedV1) = "container.create_requested", 1;
        /// Being pulled.
        PullProgressed(PullProgressedV1) = "container.pull_progressed", 1;
        /// There, not running.
        Created(CreatedV1) = "container.created", 1;
        /// To be started.
        StartRequested(ActionRequestedV1) = "container.start_requested", 1;
        /// Running.
        Started(ActionDoneV1) = "container.started", 1;
        /// To be stopped.
        StopRequested(StopRequestedV1) = "container.stop_requested", 1;
        /// Stopped by us.
        Stopped(ActionDoneV1) = "container.stopped", 1;
        /// To be restarted.
        RebootRequested(StopRequestedV1) = "container.reboot_requested", 1;
        /// Running again.
        Rebooted(ActionDoneV1) = "container.rebooted", 1;
        /// To be paused.
        PauseRequested(ActionRequestedV1) = "container.pause_requested", 1;
        /// Paused.
        Paused(ActionDoneV1) = "container.paused", 1;
        /// To go on.
        UnpauseRequested(ActionRequestedV1) = "container.unpause_requested", 1;
        /// Going on.
        Unpaused(ActionDoneV1) = "container.unpaused", 1;
        /// To get a signal.
        KillRequested(KillRequestedV1) = "container.kill_requested", 1;
        /// The signal was sent; whether it ended shows in `container.exited`.
        Killed(ActionDoneV1) = "container.killed", 1;
        /// To run a command.
        ExecuteRequested(ExecuteRequestedV1) = "container.execute_requested", 1;
        /// The command ended.
        Executed(ExecutedV1) = "container.executed", 1;
        /// To go.
        DeleteRequested(DeleteRequestedV1) = "container.delete_requested", 1;
        /// Gone.
        Deleted(ActionDoneV1) = "container.deleted", 1;
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "container.updated", 1;
        /// Work waits.
        WorkBlocked(WorkBlockedV1) = "container.work_blocked", 1;
        /// Work failed.
        WorkFailed(WorkFailedV1) = "container.work_failed", 1;
        /// What came of work is unknown.
        WorkUnknown(WorkUnknownV1) = "container.work_unknown", 1;
        /// The process ended.
        Exited(ExitedV1) = "container.exited", 1;
        /// The engine's restart policy started it again.
        Restarted(RestartedV1) = "container.restarted", 1;
        /// Reality differs.
        Drifted(DriftedV1) = "container.drifted", 1;
    }
}
