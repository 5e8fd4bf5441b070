//! The events of a pod: payloads, frozen once released, and the status that they lead to.
//!
//! A pod's containers do what they do by themselves, so their states are observed, and the phase is
//! that of what was observed. Not here: which commands are legal (`actors/pod.rs`), what is wrong
//! with a manifest (`manifest`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::container::{ActionDoneV1, DeleteRequestedV1, PullStartedV1, PulledV1};
use super::container::{ExecutedV1, ExecutionEndRequestedV1};
use super::mark::Verb;
use super::run::RunEnd;
use super::work::{Placement, UpdatedV1};
use super::{EventPayload as _, status};
use crate::ids::{EventId, ObjectId, Timestamp};
use crate::{noun_events, statuses};

/// What a pod is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodSpec {
    /// Kubernetes' `v1` Pod as JSON, without the values of environment variables.
    pub manifest: String,
    /// Those values, sealed, by container and variable: `web/TOKEN`.
    pub environment: BTreeMap<String, String>,
    /// Where the manifest was fetched from, if its text did not come with the request.
    pub manifest_url: Option<String>,
    /// The BLAKE3 hash of the text that was fetched from there, in hex.
    pub manifest_digest: Option<String>,
    /// Its containers in the order of the manifest, those that initialise it first.
    pub containers: Vec<PodContainer>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its containers are started again when they have ended.
    pub restarts: Restarts,
    /// Seconds from the stop signal to the kill when it is deleted.
    pub grace_s: u32,
}

/// A container of a pod, as its manifest has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodContainer {
    /// Its name, unique in the pod.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Whether it initialises the pod.
    pub is_init: bool,
}

/// When a pod's containers are started again, as Kubernetes has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Restarts {
    /// However they ended.
    #[default]
    Always,
    /// When they ended with an exit code other than 0.
    OnFailure,
    /// Never.
    Never,
}

impl Restarts {
    /// As Kubernetes calls it: `OnFailure`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
        }
    }
}

/// A pod was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodCreateRequestedV1 {
    /// Its name.
    pub name: String,
    /// A description.
    pub desc: Option<String>,
    /// What it is made from.
    pub spec: PodSpec,
    /// The bay it belongs to.
    pub bay_id: ObjectId,
    /// The node it was given, and why.
    pub placement: Placement,
}

/// The pod is there; none of its containers was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodCreatedV1 {
    /// The work.
    pub work_id: EventId,
    /// The engine's id of it.
    pub engine_id: String,
}

/// Its containers are to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodStartRequestedV1 {
    /// Why, if they had been started before.
    pub because: Option<String>,
}

/// A command is to run in one of its containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodExecuteRequestedV1 {
    /// The container's name in the manifest.
    pub container: String,
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// How far a pod is, as Kubernetes has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Phase {
    /// Not all of its containers were started yet.
    #[default]
    Pending,
    /// At least one container runs, or is started again.
    Running,
    /// All containers have ended, each with exit code 0.
    Succeeded,
    /// All containers have ended, and not all of them with exit code 0.
    Failed,
    /// The node does not say.
    Unknown,
}

/// Whether a container of a pod runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ContainerStage {
    /// Not started yet, or about to be started again.
    #[default]
    Waiting,
    /// Running.
    Running,
    /// Ended.
    Terminated,
}

impl ContainerStage {
    /// As Kubernetes calls it: `waiting`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Terminated => "terminated",
        }
    }
}

/// How a container of a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodContainerStatus {
    /// Its name in the manifest.
    pub name: String,
    /// Whether it initialises the pod.
    pub is_init: bool,
    /// Whether it runs.
    pub stage: ContainerStage,
    /// Why it waits or has ended, in Kubernetes' words: `CrashLoopBackOff`, `OOMKilled`.
    pub reason: Option<String>,
    /// Whether it can be used.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: u32,
    /// When its process started, by the engine's clock, while it has one.
    pub started_at: Option<Timestamp>,
    /// How a process of it last ended.
    pub last_end: Option<RunEnd>,
    /// The engine's id of its image.
    pub image_digest: Option<String>,
    /// The engine's id of it.
    pub engine_id: String,
}

/// What the engine has of a pod is not what it had before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodStateChangedV1 {
    /// How far it is.
    pub phase: Phase,
    /// Its address in the bay's network.
    pub address: Option<String>,
    /// Its containers in the order of the manifest, those that initialise it first.
    pub containers: Vec<PodContainerStatus>,
}

/// What was found to differ from what should be, and was not our doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PodDrift {
    /// The engine has nothing of it any more.
    Removed,
    /// Its sandbox is gone, and with it the network of its containers.
    SandboxRemoved,
    /// The engine has another pod of ours under this object.
    Replaced {
        /// The engine's id of what was found.
        found: String,
    },
}

/// Reality differs from the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodDriftedV1 {
    /// In what.
    pub drift: PodDrift,
}

/// A pod of a bay that was given up was given up too: its deletion was tried and did not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodAbandonedV1 {
    /// The engine's id of it, as far as it was recorded.
    pub engine_id: Option<String>,
    /// Why it could not be deleted.
    pub reason: String,
    /// Work that ends without an outcome.
    pub cancelled: Vec<EventId>,
}

noun_events! {
    /// Everything that can happen to a pod.
    PodEvent of work "pod" since 2 {
        /// Asked for.
        CreateRequested(PodCreateRequestedV1) = "pod.create_requested", 1, Asks(Create);
        /// The pull of an image has begun.
        PullStarted(PullStartedV1) = "pod.pull_started", 1, Progress { work_id };
        /// The pull has ended.
        Pulled(PulledV1) = "pod.pulled", 1, Progress { work_id };
        /// There; nothing of it was started.
        Created(PodCreatedV1) = "pod.created", 1, Done(Create) { work_id };
        /// To be started.
        StartRequested(PodStartRequestedV1) = "pod.start_requested", 1, Asks(Start);
        /// Its containers were started.
        Started(ActionDoneV1) = "pod.started", 1, Done(Start) { work_id };
        /// Its containers are not as they were.
        StateChanged(PodStateChangedV1) = "pod.state_changed", 1, Observed;
        /// Reality differs.
        Drifted(PodDriftedV1) = "pod.drifted", 1, Observed;
        /// To run a command.
        ExecuteRequested(PodExecuteRequestedV1) = "pod.execute_requested", 1, Asks(Execute);
        /// The command ended.
        Executed(ExecutedV1) = "pod.executed", 1, Done(Execute) { work_id };
        /// A running command is to end.
        ExecutionEndRequested(ExecutionEndRequestedV1)
            = "pod.execution_end_requested", 1, Asks(EndExecution);
        /// It was ended; its exit code is in `pod.executed`.
        ExecutionEnded(ActionDoneV1) = "pod.execution_ended", 1, Done(EndExecution) { work_id };
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "pod.updated", 1, Changed { updated };
        /// To go.
        DeleteRequested(DeleteRequestedV1)
            = "pod.delete_requested", 1, Asks(Delete) { cancelled };
        /// Gone.
        Deleted(ActionDoneV1) = "pod.deleted", 1, Done(Delete) { work_id, end };
        /// Gone with its bay that was given up; what could not be deleted stays behind.
        Abandoned(PodAbandonedV1) = "pod.abandoned", 1, Changed { cancelled, end };
    }
}

statuses! {
    /// How far a pod's life is: its phase, and that it is being deleted.
    Status {
        /// Never asked for.
        Absent = "Absent", gone;
        /// Not all of its containers were started yet.
        Pending = "Pending";
        /// At least one container runs.
        Running = "Running";
        /// All containers have ended well.
        Succeeded = "Succeeded";
        /// The engine refused it or lost it, or its containers have ended badly.
        Failed = "Failed";
        /// The node does not say.
        Unknown = "Unknown";
        /// Asked to go, not gone yet.
        Terminating = "Terminating", deleting;
        /// Gone.
        Deleted = "Deleted", gone;
    }
}

impl From<Phase> for Status {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Running => Self::Running,
            Phase::Succeeded => Self::Succeeded,
            Phase::Failed => Self::Failed,
            Phase::Unknown => Self::Unknown,
        }
    }
}

impl status::Status for Status {
    type Event = PodEvent;

    fn after(self, event: &PodEvent) -> Self {
        use PodEvent as E;
        match (self, event) {
            (_, E::CreateRequested(_)) => Self::Pending,
            (Self::Absent | Self::Deleted, _) => self,
            (_, E::Deleted(_) | E::Abandoned(_)) => Self::Deleted,
            (_, E::WorkFailed(_) | E::WorkUnknown(_)) => match event.failed_verb() {
                Some(Verb::Delete) => Self::Failed,
                // A command that fails says nothing about the pod.
                Some(verb) if verb.is_inside() => self,
                _ if self.is_deleting() => self,
                _ => Self::Failed,
            },
            (Self::Terminating, _) => self,
            (_, E::DeleteRequested(_)) => Self::Terminating,
            (_, E::StateChanged(changed)) => changed.phase.into(),
            (_, E::Drifted(PodDriftedV1 { drift })) => match drift {
                PodDrift::Removed | PodDrift::SandboxRemoved => Self::Failed,
                PodDrift::Replaced { .. } => self,
            },
            // Listed one by one, so that a new event is decided about.
            (
                _,
                E::PullStarted(_)
                | E::Pulled(_)
                | E::Created(_)
                | E::StartRequested(_)
                | E::Started(_)
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
