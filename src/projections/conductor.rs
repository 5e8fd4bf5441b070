//! The conductor: one thread that follows the log and keeps the read models up to date.
//!
//! It starts from the saved views and retries when the log cannot be read, unless that is damaged.
//! It never skips an event. Not here: what is done with a page of the log (`update`), saving
//! (`saver`).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::layout;
use super::read_models::ReadModels;
use super::saver::Saver;
use super::service_reads::ServiceReads;
use super::state::ReadModelState;
use super::store::{Store, StoreFault, words};
use super::update::ViewUpdater;
use crate::events::log::{EventLog, ReadError};

/// Time between two attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The running conductor. It stops when this is dropped; [`Conductor::stop`] waits for it.
pub struct Conductor {
    shared: Arc<ReadModelState>,
    thread: Option<JoinHandle<()>>,
}

impl Conductor {
    /// Starts to follow the log. What is read is what was written before, up to date from
    /// [`ReadModels::caught_up`] on.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(log: Arc<dyn EventLog>, store: Arc<Store>) -> io::Result<(ServiceReads, Self)> {
        let shared = Arc::new(ReadModelState::new(log));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (following, ended) = mpsc::channel();
        let saver = Saver::new(Arc::clone(&shared), Arc::clone(&store), ended);
        let saver = std::thread::Builder::new().name("saver".to_owned()).spawn(|| saver.run())?;
        let follower = Follower { shared: Arc::clone(&shared), store };
        let thread = std::thread::Builder::new().name("conductor".to_owned()).spawn(move || {
            runtime.block_on(follower.run());
            // The saver ends with this, after it has saved the rest.
            drop(following);
            // It catches its panics.
            let _ = saver.join();
            drop(follower.shared.replace(None));
        })?;
        let reads = ServiceReads { reads: ReadModels { shared: Arc::clone(&shared) } };
        Ok((reads, Self { shared, thread: Some(thread) }))
    }

    /// As [`Conductor::start`] without threads: the future follows the log while it is polled, and
    /// saves views after each `interval`.
    pub fn unthreaded(
        log: Arc<dyn EventLog>,
        store: Arc<Store>,
        interval: Duration,
    ) -> (ServiceReads, Self, impl Future<Output = ()>) {
        let shared = Arc::new(ReadModelState::new(log));
        let (running, ended) = mpsc::channel::<()>();
        let mut saver = Saver::new(Arc::clone(&shared), Arc::clone(&store), ended);
        let follower = Follower { shared: Arc::clone(&shared), store };
        let reads = ServiceReads { reads: ReadModels { shared: Arc::clone(&shared) } };
        let following = async move {
            let saving = async {
                loop {
                    tokio::time::sleep(interval).await;
                    saver.turn();
                }
            };
            tokio::select! {
                () = follower.run() => {}
                () = saving => {}
            }
            drop(running);
            saver.turn();
            drop(follower.shared.replace(None));
        };
        (reads, Self { shared, thread: None }, following)
    }

    /// Rebuilds all views beside the live ones and swaps them when they have caught up (rule P4).
    /// Runs in the background; a rebuild in progress starts over.
    pub fn rebuild(&self) {
        self.shared.orders.send_modify(|orders| orders.rebuild = true);
    }

    /// Finishes the batch in progress, flushes, and waits for the thread to end. Blocks. Nothing
    /// can be read from then on, and the folder is free when its [`Store`] is dropped.
    pub fn stop(mut self) {
        self.order_stop();
        if let Some(thread) = self.thread.take() {
            // It catches its panics, and nothing is left to report to.
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

/// Why a session ended.
enum SessionError {
    Log(ReadError),
    /// A panic, in its words.
    Bug(String),
}

/// What follows the log.
struct Follower {
    shared: Arc<ReadModelState>,
    /// Where views are saved.
    store: Arc<Store>,
}

impl Follower {
    async fn run(&self) {
        if self.load().await {
            return;
        }
        let mut views = ViewUpdater::new(&self.shared);
        while let Err(error) = self.session(&mut views).await {
            match error {
                SessionError::Log(ReadError::Damaged(words)) => {
                    return self.stand_still(words).await;
                }
                SessionError::Log(error) => self.say(error.to_string()),
                // The views in memory may be half updated.
                SessionError::Bug(panic) => {
                    self.say(format!("a bug in the read models: {panic}"));
                    drop(self.shared.replace(None));
                    views.start_building();
                }
            }
            if self.rest().await {
                return;
            }
        }
    }

    /// Loads the saved views, if they can be read; true if it is time to stop instead.
    async fn load(&self) -> bool {
        let store = &self.store;
        loop {
            let load = AssertUnwindSafe(|| match store.views() {
                Some(tree) => layout::load(&tree, &*self.shared.log),
                None => Ok(None),
            });
            // Sled panics on data that it cannot have written.
            let loaded =
                catch_unwind(load).unwrap_or_else(|panic| Err(StoreFault::Damaged(words(&*panic))));
            match loaded {
                Ok(None) => return false,
                Ok(Some((tables, broken_rows))) => {
                    self.shared.broken_rows.store(broken_rows, Ordering::Relaxed);
                    self.shared.replace(Some(tables));
                    return false;
                }
                Err(StoreFault::Log(ReadError::Damaged(words))) => {
                    self.stand_still(words).await;
                    return true;
                }
                Err(StoreFault::Log(error)) => self.say(error.to_string()),
                Err(StoreFault::Damaged(reason)) => {
                    if let Err(error) = store.reopen(Some(&reason)) {
                        tracing::error!(%error, "views are not saved");
                    }
                    return false;
                }
                Err(StoreFault::Store(reason) | StoreFault::Full(reason)) => {
                    tracing::error!(reason, "the saved views cannot be read; all are rebuilt");
                    return false;
                }
            }
            if self.rest().await {
                return true;
            }
        }
    }

    /// Follows the log until told to stop.
    async fn session(&self, views: &mut ViewUpdater<'_>) -> Result<(), SessionError> {
        let mut head = self.shared.log.head();
        let mut orders = self.shared.orders.subscribe();
        loop {
            let asked = *orders.borrow_and_update();
            if asked.stop {
                return Ok(());
            }
            if asked.rebuild {
                self.shared.orders.send_modify(|orders| orders.rebuild = false);
                views.start_building();
            }
            let end = *head.borrow_and_update();
            let step = catch_unwind(AssertUnwindSafe(|| views.step(end)));
            let more = step.map_err(|panic| SessionError::Bug(words(&*panic)))?;
            if !more.map_err(SessionError::Log)? {
                tokio::select! {
                    // A closed log has nothing more to report; only orders have.
                    Ok(()) = head.changed() => {}
                    _ = orders.changed() => {}
                }
            }
        }
    }

    /// Reports what is wrong: in the health at once, in the log only when it is new.
    fn say(&self, words: String) {
        self.shared.say(|health| {
            if health.unhealthy.is_none() {
                tracing::error!(reason = words, "the read models are not updated; trying again");
            }
            health.unhealthy = Some(words);
        });
    }

    /// Reports damage and waits until it is time to stop: it is not better in a moment, and
    /// skipping an event would make all views wrong.
    async fn stand_still(&self, words: String) {
        tracing::error!(
            reason = words,
            "the read models are not updated until the log is repaired"
        );
        self.shared.say(|health| {
            health.damage = Some(words.clone());
            health.unhealthy = Some(words);
        });
        let mut orders = self.shared.orders.subscribe();
        // The sender lives in `shared`, so this cannot end early.
        let _ = orders.wait_for(|orders| orders.stop).await;
    }

    /// Waits until the next attempt; true if it is time to stop.
    async fn rest(&self) -> bool {
        let mut orders = self.shared.orders.subscribe();
        let stop = orders.wait_for(|orders| orders.stop);
        tokio::time::timeout(RETRY, stop).await.is_ok()
    }
}
