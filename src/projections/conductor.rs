//! The conductor: one thread that follows the log and keeps the read models up to date.
//!
//! It reads pages, applies them, writes a batch, says where it is (rules P1 and P2). When the store
//! fails it says so, lets queries go on as long as they can, and opens the folder again when there
//! is room; when the log cannot be read it tries again. It never skips an event.
//! Not here: what an event does to a view (one file a noun).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use sled::Tree;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::generation::{Generation, sweep};
use super::query::{Condition, Live, ReadModels, Shared};
use super::store::{Generations, Store, is_damage, words};
use crate::events::log::{EventLog, ReadError};
use crate::ids::Position;

/// Events that are read at once.
const PAGE: usize = 512;

/// Rows that one batch writes while queries are answered. Sled lets nobody read while it applies a
/// batch; a row has about 20 keys of 2 us each, so this is 10 ms.
const ROWS_SERVING: usize = 256;

/// Rows that one batch writes before anybody is answered: fewer, larger batches, as many events of
/// one object become one row.
const ROWS_STARTING: usize = 4096;

/// Events that one batch holds at most, so that the checkpoint gets on where few objects have many.
const EVENTS_A_BATCH: usize = 65_536;

/// Keys of a former generation that are removed at once, between pages.
const SWEEP: usize = 1024;

/// Time between two attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Why the conductor cannot go on just now.
#[derive(Debug)]
pub(super) enum Fault {
    /// The log cannot be read.
    Log(ReadError),
    /// The store fails: a full disk, as a rule.
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

    /// Finishes the batch under way, flushes, and waits for the thread to end. Blocks.
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
    }

    /// Follows the log until told to stop.
    fn session(&self) -> Result<(), Fault> {
        let Some(tree) = self.store.views() else {
            return Err(Fault::Store("the folder is not open".to_owned()));
        };
        let mut head = self.shared.log.head();
        let mut orders = self.shared.orders.subscribe();
        let mut views = Views::open(&self.shared, tree)?;
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
    fn recover(&self, fault: Fault) -> bool {
        let mut fault = fault;
        loop {
            self.say(&fault);
            let attempt = match &fault {
                Fault::Log(_) => None,
                // Queries go on with what sled has in memory until there is room.
                Fault::Store(_) => match self.store.has_room() {
                    Ok(()) => Some(self.reopen(None)),
                    Err(error) => Some(Err(Fault::Store(error.to_string()))),
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

    fn reopen(&self, damage: Option<&str>) -> Result<(), Fault> {
        *self.shared.live.write().unwrap_or_else(PoisonError::into_inner) = None;
        let reopened = self.store.reopen(damage);
        // What queries met was in the folder that is no longer there.
        self.shared.orders.send_modify(|orders| orders.damage = None);
        reopened.map_err(|error| Fault::Store(error.to_string()))
    }

    /// Says what is wrong: to the health at once, to the log when it is new.
    fn say(&self, fault: &Fault) {
        let words = match fault {
            Fault::Log(error) => error.to_string(),
            Fault::Store(reason) => format!("the read models cannot be written: {reason}"),
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

/// The generations of one session.
struct Views<'a> {
    shared: &'a Shared,
    tree: Tree,
    live: Generation,
    building: Option<Generation>,
    /// Whether keys of former generations may be left.
    is_littered: bool,
}

impl<'a> Views<'a> {
    /// Takes up what is there, if it is of this log; otherwise begins with nothing.
    fn open(shared: &'a Shared, tree: Tree) -> Result<Self, Fault> {
        let log = &*shared.log;
        let mut found = None;
        let mut building = None;
        if let Some(generations) = Generations::read(&tree)? {
            found = Some(Generation::open(&tree, generations.live)?);
            building = generations.building;
        }
        let (live, building) = match found {
            Some(mut live) if live.is_of(log)? => {
                live.unpark(&tree, log)?;
                let building =
                    building.map(|number| Generation::open(&tree, number)).transpose()?;
                (live, building)
            }
            found => {
                if found.is_some() {
                    tracing::error!("the read models are of another log; they are built anew");
                }
                let live = Generations::unused(&tree)?;
                Generations { live, building: None }.write(&tree)?;
                (Generation::open(&tree, live)?, None)
            }
        };
        Ok(Self { shared, tree, live, building, is_littered: true })
    }

    /// Does a piece of what there is to do; false when there is nothing.
    fn step(&mut self, end: Position) -> Result<bool, Fault> {
        let mut busy = false;
        let is_serving = self.is_published();
        if self.live.written.position < end {
            let rows = if is_serving { ROWS_SERVING } else { ROWS_STARTING };
            follow(&mut self.live, &self.tree, &*self.shared.log, end, rows)?;
            busy = true;
        }
        self.publish();
        if let Some(building) = &mut self.building {
            follow(building, &self.tree, &*self.shared.log, end, ROWS_SERVING)?;
            let at = building.written.position;
            self.condition(|condition| condition.rebuilding = Some(at));
            if at >= self.live.written.position {
                self.swap()?;
            }
            busy = true;
        } else if is_serving && self.is_littered {
            self.is_littered = sweep(&self.tree, &[self.live.keys.generation], SWEEP)? > 0;
            busy = true;
        }
        Ok(busy)
    }

    fn is_published(&self) -> bool {
        let live = self.shared.live.read().unwrap_or_else(PoisonError::into_inner);
        live.is_some() && *self.shared.position.borrow() >= self.shared.start_head
    }

    /// Lets queries see what is written. After a failure only when it is no less than before.
    fn publish(&self) {
        let at = self.live.written.position;
        if at < *self.shared.position.borrow() {
            return;
        }
        let keys = self.live.keys;
        let mut live = self.shared.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_none_or(|live| live.keys != keys) {
            *live = Some(Live { tree: self.tree.clone(), keys });
        }
        drop(live);
        self.condition(|condition| {
            if condition.unhealthy.take().is_some() {
                tracing::info!(position = at.0, "the read models follow the log again");
            }
        });
        self.shared.position.send_if_modified(|position| {
            let moved = *position != at;
            *position = at;
            moved
        });
    }

    fn condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.shared.condition.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn start_building(&mut self) -> Result<(), Fault> {
        let number = Generations::unused(&self.tree)?;
        let live = self.live.keys.generation;
        Generations { live, building: Some(number) }.write(&self.tree)?;
        self.building = Some(Generation::open(&self.tree, number)?);
        self.is_littered = true;
        tracing::info!(generation = number, "all views are built anew beside those that are read");
        Ok(())
    }

    /// Puts the new generation in the place of the old one, whose keys go bit by bit.
    fn swap(&mut self) -> Result<(), Fault> {
        let Some(building) = self.building.take() else { return Ok(()) };
        let live = building.keys.generation;
        Generations { live, building: None }.write(&self.tree)?;
        self.live = building;
        self.publish();
        self.condition(|condition| condition.rebuilding = None);
        self.is_littered = true;
        tracing::info!(generation = live, "the views that were built anew are read now");
        Ok(())
    }
}

/// Applies what the log has up to `end`, but no more than a batch, and writes it.
fn follow(
    generation: &mut Generation,
    tree: &Tree,
    log: &dyn EventLog,
    end: Position,
    rows: usize,
) -> Result<(), Fault> {
    let mut events = 0;
    while generation.position() < end && generation.dirty() < rows && events < EVENTS_A_BATCH {
        let page = log.read(generation.position(), PAGE)?;
        if page.is_empty() {
            let words = format!("nothing after position {} of {end}", generation.position());
            return Err(Fault::Log(ReadError::Io(words)));
        }
        events += page.len();
        for event in &page {
            generation.apply(tree, log, event)?;
        }
    }
    generation.write(tree)
}
