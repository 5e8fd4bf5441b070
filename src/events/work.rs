//! Payloads that every noun with work shares: how work is blocked, fails, or ends unknown.
//!
//! Frozen once released: a change is a new version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{EventId, ObjectId, Timestamp};

/// Work cannot proceed now; it is tried again at `retry_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkBlockedV1 {
    /// The work.
    pub work_id: EventId,
    /// How many times it was tried so far, from 1.
    pub attempt: u32,
    /// What it waits for: `node n1`, `image registry`.
    pub blocked_on: String,
    /// The backend's words.
    pub reason: String,
    /// When it is tried next at the latest.
    pub retry_at: Timestamp,
}

/// Work was refused by the backend, or every attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkFailedV1 {
    /// The work.
    pub work_id: EventId,
    /// What was asked for: `start`.
    pub action: String,
    /// The backend's words.
    pub reason: String,
}

/// The backend never reported the outcome of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkUnknownV1 {
    /// The work.
    pub work_id: EventId,
    /// What was asked for: `execute`.
    pub action: String,
    /// Why nothing is known.
    pub reason: String,
}

/// Work was refused by the backend, or every attempt failed; what was queued behind it is
/// cancelled (rule W9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkFailedV2 {
    /// The work.
    pub work_id: EventId,
    /// What was asked for: `start`.
    pub action: String,
    /// The backend's message.
    pub reason: String,
    /// Work that was queued behind it and never starts.
    pub cancelled: Vec<EventId>,
}

impl From<WorkFailedV1> for WorkFailedV2 {
    fn from(WorkFailedV1 { work_id, action, reason }: WorkFailedV1) -> Self {
        Self { work_id, action, reason, cancelled: vec![] }
    }
}

/// The outcome of work is unknown; what was queued behind it is cancelled (rule W9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkUnknownV2 {
    /// The work.
    pub work_id: EventId,
    /// What was asked for: `execute`.
    pub action: String,
    /// Why nothing is known.
    pub reason: String,
    /// Work that was queued behind it and never starts.
    pub cancelled: Vec<EventId>,
}

impl From<WorkUnknownV1> for WorkUnknownV2 {
    fn from(WorkUnknownV1 { work_id, action, reason }: WorkUnknownV1) -> Self {
        Self { work_id, action, reason, cancelled: vec![] }
    }
}

/// Why work failed or why its outcome is unknown, as an event says.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// What was asked for: `start`.
    pub action: &'a str,
    /// The backend's message, or why nothing is known.
    pub reason: &'a str,
}

/// Work that was blocked proceeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkResumedV1 {
    /// The work.
    pub work_id: EventId,
}

/// What can happen to work of any noun, besides that it is asked for and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkEvent {
    /// It was blocked and proceeds.
    Resumed(WorkResumedV1),
    /// Not now.
    Blocked(WorkBlockedV1),
    /// Refused for good, or out of attempts.
    Failed(WorkFailedV2),
    /// Nothing is known.
    Unknown(WorkUnknownV2),
}

/// One field set by a PATCH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// The field, as in the REST API.
    pub field: String,
    /// Its new value as JSON; `null` clears it.
    pub value: String,
}

/// Fields were set by a PATCH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdatedV1 {
    /// In the order of the patch.
    pub changes: Vec<FieldChange>,
}

impl UpdatedV1 {
    /// The event of these changes; `None` if there are none.
    pub fn of(changes: Vec<FieldChange>) -> Option<Self> {
        (!changes.is_empty()).then_some(Self { changes })
    }

    /// What a field was set to; `None` if it was cleared or not touched.
    pub fn value<T: DeserializeOwned>(&self, field: &str) -> Option<T> {
        let change = self.changes.iter().rfind(|change| change.field == field)?;
        serde_json::from_str(&change.value).ok()
    }

    /// What a text field was set to, `None` if it was cleared; `None` if it was not touched.
    pub fn text(&self, field: &str) -> Option<Option<String>> {
        let change = self.changes.iter().rfind(|change| change.field == field)?;
        Some(serde_json::from_str(&change.value).unwrap_or_default())
    }
}

/// Why a node was or was not chosen (rule N1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeVerdict {
    /// The node.
    pub node_id: ObjectId,
    /// Its host name, for people.
    pub host: String,
    /// Whether it could have been chosen.
    pub eligible: bool,
    /// The reason, with numbers where there are any.
    pub reason: String,
}

impl Placement {
    /// How many nodes there were that something could run on. What has no verdicts has its own.
    pub fn nodes(&self) -> u32 {
        let eligible = self.verdicts.iter().filter(|verdict| verdict.eligible).count();
        u32::try_from(eligible).unwrap_or(u32::MAX).max(1)
    }
}

/// Where work goes, and why there (rule N1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// The node that was chosen.
    pub node_id: ObjectId,
    /// Everyone who was looked at.
    pub verdicts: Vec<NodeVerdict>,
}
