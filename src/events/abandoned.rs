//! Payloads of what is given up: an object whose deletion was tried and does not end leaves the
//! record, and the event that ends it says what stays behind.
//!
//! Frozen once released: a change is a new version. Not here: what is found on a node without a
//! record (`node`), which goes on being told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{EventId, ObjectId};

/// Something that an engine may still have, and that nobody deletes any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftBehind {
    /// `container` or `network`.
    pub kind: String,
    /// The container; of a network the bay.
    pub object_id: ObjectId,
    /// What its users called the container.
    pub name: Option<String>,
    /// The engine's name of it.
    pub engine_name: String,
    /// The engine's id of it, as far as it was recorded.
    pub engine_id: Option<String>,
    /// Why it could not be deleted.
    pub reason: String,
}

/// A bay was given up: its deletion was tried and did not end. It is gone, and nobody deletes what
/// it leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BayAbandonedV1 {
    /// What stays behind.
    pub left_behind: Vec<LeftBehind>,
    /// Containers whose deletion was not tried before, or is in progress: they are still deleted,
    /// and one that cannot be is given up by an event of its own.
    pub still_deleted: Vec<ObjectId>,
    /// Work that ends without an outcome.
    pub cancelled: Vec<EventId>,
}

/// A container of a bay that was given up was given up too: its deletion was tried and did not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerAbandonedV1 {
    /// The engine's id of it, as far as it was recorded.
    pub engine_id: Option<String>,
    /// Why it could not be deleted.
    pub reason: String,
    /// Work that ends without an outcome.
    pub cancelled: Vec<EventId>,
}
