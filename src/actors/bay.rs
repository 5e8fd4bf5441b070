//! A bay: what can be asked of it.

use serde::{Deserialize, Serialize};

use super::placement::NodeFacts;
use crate::backends::Outcome;
use crate::events::work::FieldChange;
use crate::ids::ObjectId;

/// What can be asked of a bay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BayCommand {
    /// Make it.
    Create {
        /// Its name; not unique.
        name: Option<String>,
        /// What it is made from.
        baymodel_id: ObjectId,
        /// How many nodes were asked for.
        node_count: u32,
        /// Where a swarm finds itself.
        discovery_url: Option<String>,
        /// Minutes until creation counts as failed; 0: no limit.
        create_timeout_min: u32,
        /// The `type` of the 2014 API.
        bay_type: Option<String>,
        /// The `image_id` of the 2014 API.
        image_id: Option<String>,
        /// The nodes there are.
        nodes: Vec<NodeFacts>,
    },
    /// Set fields: only `node_count`.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// Remove it with everything in it.
    Delete,
    /// What came of work.
    Outcome(Outcome),
}
