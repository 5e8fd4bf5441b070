//! Payloads of events that change a container that is there: its name, its limits, another one in
//! its place. Frozen once released.
//!
//! Not here: the events themselves, and the status that they lead to (`container`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::container_spec::{ContainerSpec, RestartPolicy};
use super::run::{Run, RunEnd};
use crate::ids::{EventId, ObjectId};

/// A container is to be reached by another name in its bay's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RenameRequestedV1 {
    /// The name; none: by its uuid alone.
    pub name: Option<String>,
    /// The bay it belongs to.
    pub bay_id: ObjectId,
}

/// What bounds a container while it is there, and when the engine starts it again; none: as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// The memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// The CPU limit in thousandths of a CPU.
    pub cpu_millis: Option<u32>,
    /// When the engine starts it again.
    pub restart_policy: Option<RestartPolicy>,
}

impl Limits {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets them in what a container is made from.
    pub fn set(&self, spec: &mut ContainerSpec) {
        spec.memory_bytes = self.memory_bytes.or(spec.memory_bytes);
        spec.cpu_millis = self.cpu_millis.or(spec.cpu_millis);
        if let Some(policy) = &self.restart_policy {
            spec.restart_policy = policy.clone();
        }
    }
}

/// Limits of a container are to change while it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdjustRequestedV1 {
    /// What they are to be.
    pub limits: Limits,
}

/// Limits of a container have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdjustedV1 {
    /// The work.
    pub work_id: EventId,
    /// What they are.
    pub limits: Limits,
}

/// A step of the way from one container to the one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum RecreateStep {
    /// All that the new one needs is there: the image, the network.
    Prepared,
    /// The old one is stopped, and has another name.
    SetAside,
    /// The new one is made.
    Made,
    /// The new one is started.
    Started,
    /// It failed, and the old one is as before, as far as that could be done.
    Restored,
}

/// A step of recreating a container is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecreateAdvancedV1 {
    /// The work.
    pub work_id: EventId,
    /// The step.
    pub step: RecreateStep,
}

/// The container was made anew, and the old one is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecreatedV1 {
    /// The work.
    pub work_id: EventId,
    /// The engine's id of it.
    pub engine_id: String,
    /// What it was made from.
    pub spec: ContainerSpec,
    /// Whether it was started.
    pub started: bool,
    /// How the process of the old one ended, if there was an old one and the engine says it.
    pub end: Option<RunEnd>,
    /// Its process if it was started, as far as the engine says anything of it.
    pub run: Option<Run>,
}

/// A container is to be made anew, in the place of the one that there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecreateRequestedV1 {
    /// Its name, by which others in the bay reach it.
    pub name: Option<String>,
    /// The bay it belongs to.
    pub bay_id: ObjectId,
    /// What it is made from.
    pub spec: ContainerSpec,
    /// Whether it is started.
    pub start: bool,
}
