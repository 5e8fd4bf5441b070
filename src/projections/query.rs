//! Questions to the read models, and answers besides views: errors, parked streams, statistics.
//!
//! Not here: how answers are found (`read_models`, `list`).

use serde::{Deserialize, Serialize};

use crate::ids::{Kind, ObjectId, Position, StreamId};

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No such object in this project.
    #[error("not found")]
    NotFound,
    /// Several objects have this name.
    #[error("ambiguous")]
    Ambiguous,
    /// Lists cannot be sorted by this field.
    #[error("unknown sort key {0}")]
    UnknownSortKey(String),
    /// Lists cannot be filtered by this field.
    #[error("unknown filter {0}")]
    UnknownFilter(String),
    /// The marker is not an object of this list.
    #[error("unknown marker")]
    UnknownMarker,
    /// The views are this far behind what was asked for.
    #[error("the read model is at position {at}, not yet at {wanted}")]
    Behind {
        /// Where they are.
        at: Position,
        /// What was asked for.
        wanted: Position,
    },
    /// The views are not readable yet or no longer, or reading the log failed.
    #[error("the read model cannot be read: {0}")]
    Unreadable(String),
}

/// A page of a list ends with the object that reaches so many bytes, as the log's reads do: an
/// object may have a MiB of labels, and a page a thousand objects.
pub const PAGE_BYTES: usize = 8 << 20;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage<V> {
    /// The objects.
    pub views: Vec<V>,
    /// Whether the page is full, of objects or of bytes: there may be more after the last one.
    pub is_full: bool,
}

/// What a page of a list is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Field and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// A field of `OfNoun::FIELDS`, or `id`, `created_at` (the order of creation), `updated_at`.
    pub sort_key: Option<String>,
    /// Whether the largest comes first.
    pub descending: bool,
    /// Most objects.
    pub limit: usize,
    /// The last object of the page before.
    pub marker: Option<ObjectId>,
}

/// A stream with an event that cannot be applied (rule P3). Its view stays as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The object.
    pub stream: StreamId,
    /// The event.
    pub position: Position,
    /// Why it cannot be applied.
    pub reason: String,
}

/// How the read models are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Up to where they are; the log's head minus this is their lag.
    pub position: Position,
    /// Whether they have reached the log's head of the start: lists are complete from then on.
    pub caught_up: bool,
    /// How many objects there are of each noun, over all projects.
    pub objects: Vec<(Kind, u64)>,
    /// How many streams are parked.
    pub parked: u64,
    /// How many objects wait for work, over all projects.
    pub waiting: u64,
    /// The position of a rebuild in progress, if there is one.
    pub rebuilding: Option<Position>,
    /// Views that could not be read at the start and were rebuilt from the log.
    pub broken_rows: u64,
    /// Keys that lists looked at, since the start.
    pub keys_read: u64,
    /// Why the log cannot be followed; `None` if it can.
    pub unhealthy: Option<String>,
    /// Up to where they are saved: the next start reads the log from there.
    pub saved: Position,
    /// Why they cannot be saved; `None` if they can.
    pub unsaved: Option<String>,
}
