//! What can happen to a bay: payloads only, frozen once released.
//!
//! Not here: what is allowed when (`actors/bay.rs`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::work::{Placement, UpdatedV1, WorkBlockedV1, WorkFailedV1, WorkUnknownV1};
use crate::ids::{EventId, ObjectId};
use crate::noun_events;

/// What a bay is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayPlan {
    /// Its name; not unique.
    pub name: Option<String>,
    /// What it is made from.
    pub baymodel_id: ObjectId,
    /// How many nodes were asked for.
    pub node_count: u32,
    /// Where a swarm finds itself.
    pub discovery_url: Option<String>,
    /// Minutes until creation counts as failed; 0: no limit.
    pub create_timeout_min: u32,
    /// The `type` of the 2014 API.
    pub bay_type: Option<String>,
    /// The `image_id` of the 2014 API.
    pub image_id: Option<String>,
}

/// A bay was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayCreateRequestedV1 {
    /// What it is to be.
    pub plan: BayPlan,
    /// The node that holds the bay's network, and why.
    pub placement: Placement,
}

/// The bay's network is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayCreatedV1 {
    /// The work.
    pub work_id: EventId,
    /// The engine's id of the network.
    pub network_id: String,
}

/// The bay is to go, with everything in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayDeleteRequestedV1 {}

/// Nothing is in the bay any more; its network can go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayEmptiedV1 {
    /// The work.
    pub work_id: EventId,
}

/// The bay is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayDeletedV1 {
    /// The work.
    pub work_id: EventId,
}

noun_events! {
    /// Everything that can happen to a bay.
    BayEvent {
        /// Asked for.
        CreateRequested(BayCreateRequestedV1) = "bay.create_requested", 1;
        /// There.
        Created(BayCreatedV1) = "bay.created", 1;
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "bay.updated", 1;
        /// To go.
        DeleteRequested(BayDeleteRequestedV1) = "bay.delete_requested", 1;
        /// Empty.
        Emptied(BayEmptiedV1) = "bay.emptied", 1;
        /// Gone.
        Deleted(BayDeletedV1) = "bay.deleted", 1;
        /// Work waits.
        WorkBlocked(WorkBlockedV1) = "bay.work_blocked", 1;
        /// Work failed.
        WorkFailed(WorkFailedV1) = "bay.work_failed", 1;
        /// What came of work is unknown.
        WorkUnknown(WorkUnknownV1) = "bay.work_unknown", 1;
    }
}
