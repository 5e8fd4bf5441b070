//! A node: what can be asked of it.

use serde::{Deserialize, Serialize};

use crate::backends::EngineFacts;
use crate::events::work::FieldChange;

/// What can be asked of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeCommand {
    /// Make it known.
    Create {
        /// `docker` where a backend registers it.
        node_type: Option<String>,
        /// Image of the machine.
        image_id: Option<String>,
        /// Bare-metal node of OpenStack Ironic.
        ironic_node_id: Option<String>,
        /// Host name, where a backend registers it; none from users.
        host: Option<String>,
    },
    /// Set fields: `type`, `image_id`, `ironic_node_id`.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// Remove it; refused while bays are on it.
    Delete {
        /// How many bays are.
        bays: u64,
    },
    /// Its engine answers.
    Up(EngineFacts),
    /// Its engine does not answer.
    Down {
        /// The backend's words.
        reason: String,
    },
}
