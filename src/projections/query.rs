//! How views are asked: one object by id or name, pages of a list, and waiting for a position.

use std::time::Duration;

use tokio::sync::watch;

use super::View;
use crate::ids::{ObjectId, Position, ProjectId};

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No such object in this project.
    #[error("not found")]
    NotFound,
    /// Several objects have this name.
    #[error("ambiguous")]
    Ambiguous,
    /// Lists know no such field to sort by.
    #[error("unknown sort key {0}")]
    UnknownSortKey(String),
    /// Lists know no such field to filter by.
    #[error("unknown filter {0}")]
    UnknownFilter(String),
    /// The marker is no object of this list.
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
    /// The store failed.
    #[error("the read model cannot be read: {0}")]
    Store(String),
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Field and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// A field of `View::FIELDS`, or `id`, `created_at` (the order of creation), `updated_at`.
    pub sort_key: Option<String>,
    /// Whether the largest comes first.
    pub descending: bool,
    /// Most objects.
    pub limit: usize,
    /// The last object of the page before.
    pub marker: Option<ObjectId>,
}

/// Answers queries from the read models. Cheap to clone.
#[derive(Clone)]
pub struct ReadModels {
    position: watch::Receiver<Position>,
}

impl ReadModels {
    /// An object by id, whatever its project.
    pub fn get<V: View>(&self, _id: ObjectId) -> Result<Option<V>, QueryError> {
        Err(QueryError::NotFound)
    }

    /// An object of a project by uuid or name.
    pub fn find<V: View>(&self, _project: &ProjectId, _ident: &str) -> Result<V, QueryError> {
        Err(QueryError::NotFound)
    }

    /// A page of a project's objects.
    pub fn list<V: View>(
        &self,
        _project: &ProjectId,
        _query: &ListQuery,
    ) -> Result<Vec<V>, QueryError> {
        Err(QueryError::NotFound)
    }

    /// How many objects of a project have a value in a field.
    pub fn count<V: View>(
        &self,
        _project: &ProjectId,
        _field: &str,
        _value: &str,
    ) -> Result<u64, QueryError> {
        Err(QueryError::NotFound)
    }

    /// The position that the views are at, now and whenever it moves.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.clone()
    }

    /// Waits until the views are at a position (rule P5).
    pub async fn wait_for(
        &self,
        _position: Position,
        _timeout: Duration,
    ) -> Result<Position, QueryError> {
        Err(QueryError::NotFound)
    }
}
