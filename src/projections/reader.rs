//! What queries and the conductor share, and how one generation is read.
//!
//! Not here: what is asked (`query`, `list`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sled::Tree;
use tokio::sync::watch;

use super::conductor::Orders;
use super::keys::{self, Field, Keys, Tag};
use super::query::QueryError;
use super::store::is_damage;
use super::{View, generation};
use crate::events::log::EventLog;
use crate::ids::{ObjectId, Position, StreamId};

/// What the conductor says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    pub rebuilding: Option<Position>,
    pub unhealthy: Option<String>,
}

/// What queries and the conductor share.
pub(super) struct Shared {
    pub log: Arc<dyn EventLog>,
    /// What is read; none before the first batch, while the folder is opened again, and at the end.
    pub live: RwLock<Option<Live>>,
    pub position: watch::Sender<Position>,
    /// The log's head when the service started.
    pub start_head: Position,
    pub condition: RwLock<Condition>,
    pub orders: watch::Sender<Orders>,
    pub broken_rows: AtomicU64,
    pub keys_read: AtomicU64,
}

impl Shared {
    /// Whether there is something to read: not before the first look at the folder, nor while it
    /// is opened again.
    pub fn is_open(&self) -> bool {
        self.live.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the views at a position have everything that the log had at the start.
    pub fn is_caught_up(&self, position: Position) -> bool {
        self.is_open() && position >= self.start_head
    }
}

/// One generation as it is read.
#[derive(Clone)]
pub(super) struct Live {
    pub tree: Tree,
    pub keys: Keys,
}

/// Reads one generation.
pub(super) struct Reader<'a> {
    pub tree: Tree,
    pub keys: Keys,
    pub shared: &'a Shared,
}

impl Reader<'_> {
    /// What sled gave; damage is reported to the conductor, who rebuilds.
    pub fn stored<T>(&self, result: sled::Result<T>) -> Result<T, QueryError> {
        result.map_err(|error| {
            if is_damage(&error) {
                self.shared.orders.send_modify(|orders| orders.damage = Some(error.to_string()));
            }
            QueryError::Store(error.to_string())
        })
    }

    /// The bytes of a view.
    pub fn view<V: View>(&self, id: ObjectId) -> Result<Option<sled::IVec>, QueryError> {
        self.stored(self.tree.get(self.keys.stream(Tag::View, StreamId::new(V::KIND, id))))
    }

    /// A count under its key.
    pub fn number(&self, key: &[u8]) -> Result<u64, QueryError> {
        Ok(self.stored(self.tree.get(key))?.map_or(0, |bytes| generation::number(&bytes)))
    }

    /// How many objects have a value, given what its index keys begin with.
    pub fn count(&self, field: Field, value: &[u8]) -> Result<u64, QueryError> {
        if field.is_counted() {
            return self.number(&keys::count_of(value));
        }
        let entries = self.tree.scan_prefix(value);
        entries.map(|entry| self.stored(entry).map(|_| 1)).sum()
    }

    /// Counts a row that cannot be read, and says so now and then (failure 56).
    pub fn broken(&self, key: &[u8], reason: &str) {
        let count = self.shared.broken_rows.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::error!(?key, reason, count, "a list leaves out a row that cannot be read");
        }
    }
}

/// The object that an index entry names.
pub(super) fn object(bytes: &[u8]) -> Option<ObjectId> {
    uuid::Uuid::from_slice(bytes).ok().map(ObjectId)
}
