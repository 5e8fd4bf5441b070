//! What queries know of nodes.

use serde::{Deserialize, Serialize};

use super::Head;
use crate::ids::Timestamp;

/// A node as it is shown. Where its engine listens is in no view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// What every view has.
    pub head: Head,
    /// `docker` for a machine with an engine that a backend registered.
    pub node_type: Option<String>,
    /// Image of the machine.
    pub image_id: Option<String>,
    /// Bare-metal node of OpenStack Ironic.
    pub ironic_node_id: Option<String>,
    /// Host name, where a backend registered it.
    pub host: Option<String>,
    /// `available`, `unavailable`, or `unknown` where no backend registered it.
    pub status: String,
    /// Why, in the backend's words.
    pub status_reason: Option<String>,
    /// Since when.
    pub status_since: Option<Timestamp>,
    /// The engine and its version.
    pub engine: Option<String>,
    /// Number of CPUs.
    pub cpus: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
}
