//! The conductor: one thread that follows the log and keeps the read models up to date.
//!
//! When the store fails it says so, lets queries go on as long as they can, and opens the folder
//! again when there is room; when the log cannot be read it tries again. It never skips an event.
//! Not here: what is done with a page of the log (`views`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::query::ReadModels;
use super::reader::{Condition, Shared};
use super::store::{Store, is_damage, words};
use super::views::Views;
use crate::events::log::{EventLog, ReadError};
use crate::ids::Position;

/// Time between two attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Why the conductor cannot go on just now.
#[derive(Debug)]
pub(super) enum Fault {
    /// The log cannot be read.
    Log(ReadError),
    /// The disk has no room to write; nothing was tried.
    Full(String),
    /// The store fails, and is to be opened again.
    Store(String),
    /// What the store gives is not what was put in.
    Damaged(String),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Log(error)
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Store(error.to_string())
        }
    }
}

/// What the conductor is to do besides following the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    pub stop: bool,
    pub rebuild: bool,
    /// A query met damage.
    pub damage: Option<String>,
}

/// The running conductor. It stops when this is dropped; [`Conductor::stop`] waits for it.
pub struct Conductor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Conductor {
    /// Starts to follow the log. What is read is what was written before, up to date from
    /// [`ReadModels::caught_up`] on.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(log: Arc<dyn EventLog>, store: Arc<Store>) -> io::Result<(ReadModels, Self)> {
        let start_head = *log.head().borrow();
        let shared = Arc::new(Shared {
            log,
            live: RwLock::new(None),
            position: watch::Sender::new(Position(0)),
            start_head,
            condition: RwLock::new(Condition::default()),
            orders: watch::Sender::new(Orders::default()),
            broken_rows: AtomicU64::new(0),
            keys_read: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let follower = Follower { shared: Arc::clone(&shared), store, runtime };
        let thread = std::thread::Builder::new()
            .name("conductor".to_owned())
            .spawn(move || follower.run())?;
        let reads = ReadModels { shared: Arc::clone(&shared) };
        Ok((reads, Self { shared, thread: Some(thread) }))
    }

    /// Builds all views anew beside those that are read, and swaps them when they have caught up
    /// (rule P4). Goes on in the background; a rebuild under way starts over.
    pub fn rebuild(&self) {
        self.shared.orders.send_modify(|orders| orders.rebuild = true);
    }

    /// Finishes the batch under way, flushes, and waits for the thread to end. Blocks. Nothing can
    /// be read from then on, and the folder is free when its [`Store`] is dropped.
    pub fn stop(mut self) {
        self.order_stop();
        if let Some(thread) = self.thread.take() {
            // It catches its panics, and there is nobody left to tell.
            let _ = thread.join();
        }
    }

    fn order_stop(&self) {
        self.shared.orders.send_modify(|orders| orders.stop = true);
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        self.order_stop();
    }
}

/// What the thread owns.
struct Follower {
    shared: Arc<Shared>,
    store: Arc<Store>,
    runtime: Runtime,
}

impl Follower {
    fn run(self) {
        loop {
            let session = catch_unwind(AssertUnwindSafe(|| self.session()));
            let fault = match session {
                Ok(Ok(())) => break,
                Ok(Err(fault)) => fault,
                // Sled asserts where it reads what it cannot have written.
                Err(panic) => Fault::Damaged(words(&*panic)),
            };
            if self.recover(fault) {
                break;
            }
        }
        if let Err(error) = self.store.flush() {
            tracing::warn!(%error, "the read models are not flushed; the next start reads the log");
        }
        self.close();
    }

    /// Follows the log until told to stop.
    fn session(&self) -> Result<(), Fault> {
        let Some(tree) = self.store.views() else {
            return Err(Fault::Store("the folder is not open".to_owned()));
        };
        let mut head = self.shared.log.head();
        let mut orders = self.shared.orders.subscribe();
        let mut views = Views::open(&self.shared, &self.store, tree)?;
        loop {
            let asked = orders.borrow_and_update().clone();
            if asked.stop {
                return Ok(());
            }
            if let Some(damage) = asked.damage {
                return Err(Fault::Damaged(damage));
            }
            if asked.rebuild {
                self.shared.orders.send_modify(|orders| orders.rebuild = false);
                views.start_building()?;
            }
            let end = *head.borrow_and_update();
            if !views.step(end)? {
                self.runtime.block_on(async {
                    tokio::select! {
                        // A log that is closed has nothing more to say, only orders have.
                        Ok(()) = head.changed() => {}
                        _ = orders.changed() => {}
                    }
                });
            }
        }
    }

    /// Makes the store usable again, as often as it takes; whether it is time to stop instead.
    fn recover(&self, mut fault: Fault) -> bool {
        let mut condition = self.shared.condition.write().unwrap_or_else(PoisonError::into_inner);
        if condition.rebuilding.take().is_some() {
            // What was built is lost, that it was asked for is not.
            self.shared.orders.send_modify(|orders| orders.rebuild = true);
        }
        drop(condition);
        loop {
            self.say(&fault);
            let attempt = match &fault {
                Fault::Log(_) => None,
                Fault::Full(_) => {
                    // What is set aside is for queries, where they would have nothing to read.
                    if !self.shared.is_open() {
                        let _ = self.store.has_room();
                    }
                    None
                }
                // Queries go on with what sled has in memory until there is room.
                Fault::Store(_) => match self.store.has_room() {
                    Ok(()) => Some(self.reopen(None)),
                    Err(reason) => Some(Err(Fault::Store(reason))),
                },
                Fault::Damaged(reason) => Some(self.reopen(Some(reason))),
            };
            match attempt {
                Some(Err(next)) => fault = next,
                Some(Ok(())) | None => return self.rest(),
            }
            if self.rest() {
                return true;
            }
        }
    }

    /// Lets queries no longer read, and so lets go of the folder.
    fn close(&self) {
        *self.shared.live.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn reopen(&self, damage: Option<&str>) -> Result<(), Fault> {
        self.close();
        let reopened = self.store.reopen(damage);
        // What queries met was in the folder that is no longer there.
        self.shared.orders.send_modify(|orders| orders.damage = None);
        reopened.map_err(|error| Fault::Store(error.to_string()))
    }

    /// Says what is wrong: to the health at once, to the log when it is new.
    fn say(&self, fault: &Fault) {
        let words = match fault {
            Fault::Log(error) => error.to_string(),
            Fault::Full(reason) | Fault::Store(reason) => {
                format!("the read models cannot be written: {reason}")
            }
            Fault::Damaged(reason) => format!("the read models are damaged: {reason}"),
        };
        let mut condition = self.shared.condition.write().unwrap_or_else(PoisonError::into_inner);
        if condition.unhealthy.is_none() {
            tracing::error!(reason = words, "the read models stand still; trying again");
        }
        condition.unhealthy = Some(words);
    }

    /// Waits until it is time for the next attempt; whether it is time to stop.
    fn rest(&self) -> bool {
        let mut orders = self.shared.orders.subscribe();
        let stop = orders.wait_for(|orders| orders.stop);
        self.runtime.block_on(async { tokio::time::timeout(RETRY, stop).await.is_ok() })
    }
}
