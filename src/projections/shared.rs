//! What queries and the conductor share.
//!
//! Not here: what is asked (`query`, `list`), what is done (`views`).

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::query::QueryError;
use super::tables::Tables;
use crate::events::log::EventLog;
use crate::ids::Position;

/// What the conductor is to do besides following the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub stop: bool,
    pub rebuild: bool,
}

/// What the conductor says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    pub rebuilding: Option<Position>,
    /// Why the log is not followed.
    pub unhealthy: Option<String>,
    /// Why views are not saved.
    pub unsaved: Option<String>,
}

/// What queries and the conductor share.
pub(super) struct Shared {
    pub log: Arc<dyn EventLog>,
    /// What is read; none before there is anything, and at the end. Nobody holds the lock longer
    /// than a page takes.
    pub tables: RwLock<Option<Tables>>,
    pub position: watch::Sender<Position>,
    /// Up to where views are saved.
    pub saved: AtomicU64,
    /// The log's head when the service started.
    pub start_head: Position,
    pub condition: RwLock<Condition>,
    pub orders: watch::Sender<Orders>,
    pub broken_rows: AtomicU64,
    pub keys_read: AtomicU64,
}

impl Shared {
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        let start_head = *log.head().borrow();
        Self {
            log,
            tables: RwLock::new(None),
            position: watch::Sender::new(Position(0)),
            saved: AtomicU64::new(0),
            start_head,
            condition: RwLock::new(Condition::default()),
            orders: watch::Sender::new(Orders::default()),
            broken_rows: AtomicU64::new(0),
            keys_read: AtomicU64::new(0),
        }
    }

    /// Whether there is something to read.
    pub fn is_open(&self) -> bool {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the views at a position have everything that the log had at the start.
    pub fn is_caught_up(&self, position: Position) -> bool {
        self.is_open() && position >= self.start_head
    }

    /// Reads for a short while.
    pub fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, QueryError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.as_ref().map(read).ok_or_else(|| {
            let words = "it is being built from the log, or the service stops";
            QueryError::Unreadable(words.to_owned())
        })
    }

    /// Changes for a short while what is read, if anything is.
    pub fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> Option<T> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.as_mut().map(change)
    }

    /// Puts other views in the place of those that are read, or none; gives back what was read.
    pub fn replace(&self, tables: Option<Tables>) -> Option<Tables> {
        let at = tables.as_ref().map(|tables| tables.at.position);
        let former = {
            let mut place = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, tables)
        };
        self.publish(at);
        former
    }

    /// Tells how far the views are. Never while they are locked: those who wait for a position look
    /// at the views while they look at the position.
    pub fn publish(&self, at: Option<Position>) {
        if let Some(at) = at {
            self.position.send_replace(at);
        }
    }

    /// Says how the conductor is.
    pub fn say(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition.write().unwrap_or_else(PoisonError::into_inner));
    }
}
