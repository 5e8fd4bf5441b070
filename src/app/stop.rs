//! How the service is told to stop: by SIGTERM or SIGINT, from the first moment of its start on.
//! From then on its time is limited.
//!
//! Not here: what is stopped, and in which order (`app`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The process ends so long after it was told to stop, whatever still runs: a stop in order takes
/// 8 s at most, and one thread that reads or waits for the engine must not hold up an update.
const STOP_LIMIT: Duration = Duration::from_secs(9);

/// Whether the service is to stop. Cheap to clone.
#[derive(Clone)]
pub struct Stop {
    told: watch::Sender<bool>,
    /// Whether all that must be closed is: then the process may end without waiting for the rest.
    is_closed: Arc<AtomicBool>,
}

impl Stop {
    /// Is told by the first signal. By a task of its own: what starts may hold up its thread.
    ///
    /// # Errors
    /// What the system says of the signals.
    pub fn on_signal() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = Self { told: watch::Sender::new(false), is_closed: Arc::default() };
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.begin();
        });
        Ok(stop)
    }

    /// Follows whether it is told.
    pub fn told(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// Tells everybody, and limits the time.
    pub fn begin(&self) {
        if !self.told.send_replace(true) {
            tracing::info!("stopping");
            self.end_in_time();
        }
    }

    /// Says that all is closed: from here on nothing can be lost.
    pub fn closed(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// What the work gives, or nothing where the stop comes first: then it is dropped.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut told = self.told();
        tokio::select! {
            biased;
            _ = told.wait_for(|is_told| *is_told) => None,
            done = work => Some(done),
        }
    }

    /// Ends the process where it does not end by itself within [`STOP_LIMIT`]: threads that read
    /// much of the log, for example, cannot be interrupted, and the runtime waits for them. Success
    /// if all was closed by then.
    fn end_in_time(&self) {
        let is_closed = Arc::clone(&self.is_closed);
        let limit = move || {
            std::thread::sleep(STOP_LIMIT);
            let is_closed = is_closed.load(Ordering::SeqCst);
            tracing::warn!(
                is_closed,
                "some threads did not end in time; the process ends without them"
            );
            std::process::exit(i32::from(!is_closed));
        };
        let thread = std::thread::Builder::new().name("end-in-time".to_owned()).spawn(limit);
        if let Err(error) = thread {
            tracing::warn!(%error, "the time for stopping is not limited");
        }
    }
}
