//! The state that queries and the conductor share: the live views and how the conductor is doing.
//!
//! Not here: queries (`read_models`, `list`), updates (`update`).

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

/// What the conductor reports about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct ConductorHealth {
    pub rebuilding: Option<Position>,
    /// Why the log is not followed.
    pub unhealthy: Option<String>,
    /// Where the log is damaged, if that is why.
    pub damage: Option<String>,
    /// Why views are not saved.
    pub unsaved: Option<String>,
}

/// The live views, their position and the conductor's health.
pub(super) struct ReadModelState {
    pub log: Arc<dyn EventLog>,
    /// The live views; `None` before there are any, and at the end. The lock is never held longer
    /// than one page takes.
    pub tables: RwLock<Option<Tables>>,
    pub position: watch::Sender<Position>,
    /// Up to where views are saved.
    pub saved: AtomicU64,
    /// The log's head when the service started.
    pub start_head: Position,
    pub health: RwLock<ConductorHealth>,
    pub orders: watch::Sender<Orders>,
    pub broken_rows: AtomicU64,
    pub keys_read: AtomicU64,
}

impl ReadModelState {
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        let start_head = *log.head().borrow();
        Self {
            log,
            tables: RwLock::new(None),
            position: watch::Sender::new(Position(0)),
            saved: AtomicU64::new(0),
            start_head,
            health: RwLock::new(ConductorHealth::default()),
            orders: watch::Sender::new(Orders::default()),
            broken_rows: AtomicU64::new(0),
            keys_read: AtomicU64::new(0),
        }
    }

    /// Whether there are live views.
    pub fn is_open(&self) -> bool {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether views at a position contain everything that the log had at the start.
    pub fn is_caught_up(&self, position: Position) -> bool {
        self.is_open() && position >= self.start_head
    }

    /// Reads the live views; must be short.
    pub fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, QueryError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.as_ref().map(read).ok_or_else(|| {
            let words = "it is being built from the log, or the service is stopping";
            QueryError::Unreadable(words.to_owned())
        })
    }

    /// Changes the live views, if there are any; must be short.
    pub fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> Option<T> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.as_mut().map(change)
    }

    /// Replaces the live views; returns the former ones.
    pub fn replace(&self, tables: Option<Tables>) -> Option<Tables> {
        let at = tables.as_ref().map(|tables| tables.at.position);
        let former = {
            let mut place = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, tables)
        };
        self.publish(at);
        former
    }

    /// Publishes the position of the views. Never while they are locked: waiters read the views
    /// while they hold the position.
    pub fn publish(&self, at: Option<Position>) {
        if let Some(at) = at {
            self.position.send_replace(at);
        }
    }

    /// Updates the conductor's health.
    pub fn say(&self, change: impl FnOnce(&mut ConductorHealth)) {
        change(&mut self.health.write().unwrap_or_else(PoisonError::into_inner));
    }
}
