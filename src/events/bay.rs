//! The events of a bay: payloads, frozen once released, and the status that they lead to.
//!
//! Not here: which commands are legal (`actors/bay.rs`), the payload of a bay that is given up
//! (`abandoned`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::abandoned::{BayAbandonedV1, LeftBehind};
use super::mark::Verb;
use super::work::{Placement, UpdatedV1};
use super::{EventPayload as _, status};
use crate::ids::{EventId, ObjectId};
use crate::{noun_events, statuses};

/// What a bay is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayPlan {
    /// Its name.
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

/// Why a bay cannot have so many nodes, if it cannot.
pub fn too_many(node_count: u32, there: u32) -> Option<String> {
    let nodes = if there == 1 { "1 node is".to_owned() } else { format!("{there} nodes are") };
    let why = format!("node_count {node_count} cannot be served: {nodes} available");
    (node_count > there).then_some(why)
}

/// A bay was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayCreateRequestedV1 {
    /// What it is to be.
    pub plan: BayPlan,
    /// The node that holds the bay's network, and why.
    pub placement: Placement,
}

/// A bay was asked for that cannot be: nothing was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayCreateRefusedV1 {
    /// What it was to be.
    pub plan: BayPlan,
    /// The node that it would have been on, and why.
    pub placement: Placement,
    /// `create`.
    pub action: String,
    /// Why it cannot be, and what can.
    pub reason: String,
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
    BayEvent of work "bay" {
        /// Asked for.
        CreateRequested(BayCreateRequestedV1) = "bay.create_requested", 1, Asks(Create);
        /// Asked for, and cannot be.
        CreateRefused(BayCreateRefusedV1) = "bay.create_refused", 1, Failed { failure };
        /// There.
        Created(BayCreatedV1) = "bay.created", 1, Done(Create) { work_id };
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "bay.updated", 1, Changed { updated };
        /// To go.
        DeleteRequested(BayDeleteRequestedV1) = "bay.delete_requested", 1, Asks(Delete);
        /// Empty.
        Emptied(BayEmptiedV1) = "bay.emptied", 1, Step { work_id };
        /// Gone.
        Deleted(BayDeletedV1) = "bay.deleted", 1, Done(Delete) { work_id, end };
        /// Gone; what could not be deleted stays behind.
        Abandoned(BayAbandonedV1) = "bay.abandoned", 1, Changed { cancelled, end };
    }
}

statuses! {
    /// How far a bay's life is; the words are those of Heat, as the 2015 API has them.
    Status {
        /// Never asked for.
        Absent = "ABSENT", gone;
        /// Asked for.
        CreateInProgress = "CREATE_IN_PROGRESS";
        /// There.
        CreateComplete = "CREATE_COMPLETE";
        /// The engine refused it.
        CreateFailed = "CREATE_FAILED";
        /// There, and changed since.
        UpdateComplete = "UPDATE_COMPLETE";
        /// Asked to go.
        DeleteInProgress = "DELETE_IN_PROGRESS", deleting;
        /// Could not go.
        DeleteFailed = "DELETE_FAILED";
        /// Gone.
        Deleted = "DELETED", gone;
    }
}

impl Status {
    /// Whether containers can be created in the bay, now or once it is there.
    pub const fn takes_members(self) -> bool {
        !matches!(self, Self::Absent | Self::DeleteInProgress | Self::DeleteFailed | Self::Deleted)
    }
}

impl status::Status for Status {
    type Event = BayEvent;

    fn after(self, event: &BayEvent) -> Self {
        match (self, event) {
            (_, BayEvent::CreateRequested(_)) => Self::CreateInProgress,
            (Self::Absent | Self::Deleted, BayEvent::CreateRefused(_)) => Self::CreateFailed,
            (Self::Absent | Self::Deleted, _) | (_, BayEvent::CreateRefused(_)) => self,
            (_, BayEvent::Deleted(_) | BayEvent::Abandoned(_)) => Self::Deleted,
            (_, BayEvent::WorkFailed(_) | BayEvent::WorkUnknown(_)) => match event.failed_verb() {
                Some(Verb::Empty | Verb::Delete) => Self::DeleteFailed,
                _ if self.is_deleting() => self,
                _ => Self::CreateFailed,
            },
            (Self::DeleteInProgress, _) => self,
            (_, BayEvent::DeleteRequested(_)) => Self::DeleteInProgress,
            (_, BayEvent::Created(_)) => Self::CreateComplete,
            (_, BayEvent::Updated(_)) => Self::UpdateComplete,
            (_, BayEvent::Emptied(_) | BayEvent::WorkBlocked(_) | BayEvent::WorkResumed(_)) => self,
        }
    }
}
