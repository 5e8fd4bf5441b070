//! The events of a node: payloads, frozen once released, and the status that they lead to.
//!
//! Not here: which commands are legal (`actors/node.rs`). Never here: the engine's address.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status;
use super::work::UpdatedV1;
use crate::ids::ObjectId;
use crate::{noun_events, statuses};

/// A node was made known, by a user or by the backend that runs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCreatedV1 {
    /// `docker` for a machine with an engine that a backend registered; free text from users.
    pub node_type: Option<String>,
    /// Image of the machine.
    pub image_id: Option<String>,
    /// Bare-metal node of OpenStack Ironic.
    pub ironic_node_id: Option<String>,
    /// Host name, where a backend registered it.
    pub host: Option<String>,
}

/// The engine on the node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCameUpV1 {
    /// The engine and its version: `docker 20.10.24`.
    pub engine: String,
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// The engine on the node does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeWentDownV1 {
    /// The backend's words.
    pub reason: String,
}

/// The engine has a container of this node that no object is the record of: the log was restored
/// from an older backup, or somebody copied the labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeUnknownContainerFoundV1 {
    /// The engine's id of it.
    pub engine_id: String,
    /// The name that the engine has for it.
    pub engine_name: String,
    /// The object that its labels name.
    pub container_id: ObjectId,
    /// How it was then: `created`, `running`, `paused`, `restarting`, `exited` or `dead`.
    pub state: String,
}

/// A container that was found so is no longer on the engine, or an object is its record now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeUnknownContainerGoneV1 {
    /// The engine's id of it.
    pub engine_id: String,
}

/// The engine has a network of this node for a bay that is not recorded: the log was restored from
/// an older backup, or somebody copied the labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeUnknownNetworkFoundV1 {
    /// The engine's id of it.
    pub engine_id: String,
    /// The name that the engine has for it.
    pub engine_name: String,
    /// The bay that its labels name.
    pub bay_id: ObjectId,
}

/// A network that was found so is no longer on the engine, or its bay is recorded now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeUnknownNetworkGoneV1 {
    /// The engine's id of it.
    pub engine_id: String,
}

/// A node is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeDeletedV1 {}

noun_events! {
    /// Everything that can happen to a node.
    NodeEvent {
        /// Made known.
        Created(NodeCreatedV1) = "node.created", 1, Changed;
        /// Answering.
        CameUp(NodeCameUpV1) = "node.came_up", 1, Observed;
        /// Not answering.
        WentDown(NodeWentDownV1) = "node.went_down", 1, Observed;
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "node.updated", 1, Changed { updated };
        /// Having a container that no record knows.
        UnknownContainerFound(NodeUnknownContainerFoundV1)
            = "node.unknown_container_found", 1, Changed;
        /// No longer having it.
        UnknownContainerGone(NodeUnknownContainerGoneV1)
            = "node.unknown_container_gone", 1, Changed;
        /// Having a network that no record knows.
        UnknownNetworkFound(NodeUnknownNetworkFoundV1) = "node.unknown_network_found", 1, Changed;
        /// No longer having it.
        UnknownNetworkGone(NodeUnknownNetworkGoneV1) = "node.unknown_network_gone", 1, Changed;
        /// Gone.
        Deleted(NodeDeletedV1) = "node.deleted", 1, Changed { end };
    }
}

statuses! {
    /// Whether a node can be used, as far as was said.
    Status {
        /// Never made known.
        Absent = "absent", gone;
        /// Nobody said yet whether its engine answers.
        Unknown = "unknown";
        /// Its engine answers.
        Available = "available";
        /// Its engine does not answer.
        Unavailable = "unavailable";
        /// Gone.
        Deleted = "deleted", gone;
    }
}

impl status::Status for Status {
    type Event = NodeEvent;

    fn after(self, event: &NodeEvent) -> Self {
        match (self, event) {
            (_, NodeEvent::Created(_)) => Self::Unknown,
            (Self::Absent | Self::Deleted, _) => self,
            (_, NodeEvent::CameUp(_)) => Self::Available,
            (_, NodeEvent::WentDown(_)) => Self::Unavailable,
            (_, NodeEvent::Deleted(_)) => Self::Deleted,
            (
                _,
                NodeEvent::Updated(_)
                | NodeEvent::UnknownContainerFound(_)
                | NodeEvent::UnknownContainerGone(_)
                | NodeEvent::UnknownNetworkFound(_)
                | NodeEvent::UnknownNetworkGone(_),
            ) => self,
        }
    }
}
