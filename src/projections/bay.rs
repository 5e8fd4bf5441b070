//! What queries know of bays.

use serde::{Deserialize, Serialize};

use super::{Head, OutcomeView, TaskView};
use crate::ids::ObjectId;

/// A bay as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BayView {
    /// What every view has.
    pub head: Head,
    /// Its name.
    pub name: Option<String>,
    /// What it is made from.
    pub baymodel_id: ObjectId,
    /// How many nodes were asked for.
    pub node_count: u32,
    /// `CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, ... as Heat has them.
    pub status: String,
    /// Why, where it is no matter of course.
    pub status_reason: Option<String>,
    /// Where a swarm finds itself.
    pub discovery_url: Option<String>,
    /// The `type` of the 2014 API.
    pub bay_type: Option<String>,
    /// The `image_id` of the 2014 API.
    pub image_id: Option<String>,
    /// The node that holds its network.
    pub node_uuid: ObjectId,
    /// That node's host name.
    pub node_host: String,
    /// The engine's id of its network.
    pub network_id: Option<String>,
    /// Work that it waits for.
    pub tasks: Vec<TaskView>,
    /// What came of work lately.
    pub outcomes: Vec<OutcomeView>,
}
