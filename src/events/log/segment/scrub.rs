//! Looking for damage in a log that is open: checksums, positions and the chain of all events that
//! it had at some moment, in pieces, so that it can be slowed down, stopped and gone on with.
//!
//! Opening the log costs its tail (rule L7), so damage before that is found by nobody else until
//! somebody reads it. Not here: how a segment is checked (`verify.rs`); how long all this may take
//! (`app`).

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use super::super::ReadError;
use super::fault::Fault;
use super::file::Segment;
use super::pace::Pace;
use super::verify::{self, SegmentEnd};
use super::walk::LogEnd;
use super::{SegmentLog, Shared};

/// Whether to read on, after so many more bytes.
pub type GoOn<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// What is still to be checked of a log.
pub struct Scrub {
    /// The log, which may be closed meanwhile.
    log: Weak<Shared>,
    parts: Mutex<VecDeque<Part>>,
    events: AtomicU64,
}

/// What is still to be checked of a segment.
struct Part {
    segment: Arc<Segment>,
    from: LogEnd,
    end: SegmentEnd,
}

impl SegmentLog {
    /// A check of all events that are durable now; nothing of it is done yet.
    pub fn scrub(&self) -> Scrub {
        let head = *self.head.borrow();
        let segments = self.shared.segments.all();
        let following = segments.iter().skip(1).map(Some).chain([None]);
        let begun = segments.iter().zip(following);
        let parts =
            begun.take_while(|(segment, _)| segment.header.first <= head).map(|(segment, next)| {
                // The next one says more than the head, and an archive has taken the head's record.
                let next = next.filter(|next| next.header.first <= head.next());
                let end = next.map(|next| next.header.end_before);
                let end = end.or(segment.end().map(|end| end.offset));
                let end = end.map_or(SegmentEnd::After(head), SegmentEnd::At);
                let from = verify::beginning(segment);
                Part { segment: Arc::clone(segment), from, end }
            });
        let parts = Mutex::new(parts.collect());
        Scrub { log: Arc::downgrade(&self.shared), parts, events: AtomicU64::new(0) }
    }
}

impl Scrub {
    /// Reads on, on this thread; whether that was all. If there is damage, the log's health has it
    /// from then on.
    ///
    /// # Errors
    /// The damage, or what the system says of the files; what was being read is not read again.
    pub fn read(&self, go_on: GoOn<'_>) -> Result<bool, ReadError> {
        self.told(self.work(go_on))
    }

    /// As [`Scrub::read`], on all cores.
    ///
    /// # Errors
    /// As [`Scrub::read`]; of several damages the first one in the log.
    pub fn read_on_all_cores(&self, go_on: GoOn<'_>) -> Result<bool, ReadError> {
        let is_over = AtomicBool::new(false);
        let go_on = |bytes| !is_over.load(Ordering::Relaxed) && go_on(bytes);
        let work = || {
            let done = self.work(&go_on);
            is_over.fetch_or(done.is_err(), Ordering::Relaxed);
            done
        };
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let helpers = cores.min(self.parts().len()).saturating_sub(1);
        let done: Vec<_> = thread::scope(|scope| {
            let name = || thread::Builder::new().name("log-check".to_owned());
            // Where the system refuses one, the others do its part.
            let helpers = (0..helpers).filter_map(|_| name().spawn_scoped(scope, work).ok());
            let helpers: Vec<_> = helpers.collect();
            let own = work();
            let panicked = || Err(Fault::Io(io::Error::other("the check panicked")));
            let join =
                |it: thread::ScopedJoinHandle<'_, _>| it.join().unwrap_or_else(|_| panicked());
            helpers.into_iter().map(join).chain([own]).collect()
        });
        let faults = done.into_iter().filter_map(Result::err);
        self.told(faults.min_by_key(place).map_or(Ok(()), Err))
    }

    /// How many events were checked so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    fn work(&self, go_on: &dyn Fn(u64) -> bool) -> Result<(), Fault> {
        let mut pace = Pace::new(go_on);
        while pace.asks() {
            let Some(part) = self.parts().pop_front() else { break };
            let found = verify::check_on(&part.segment, part.from, part.end, &mut pace)?;
            self.events.fetch_add(pace.take_records(), Ordering::Relaxed);
            if let Some(damage) = found.damage {
                return Err(Fault::Damaged(damage));
            }
            if !found.is_read {
                self.parts().push_front(Part { from: found.whole, ..part });
                break;
            }
        }
        Ok(())
    }

    fn told(&self, done: Result<(), Fault>) -> Result<bool, ReadError> {
        let done = done.map(|()| self.parts().is_empty()).map_err(ReadError::from);
        match self.log.upgrade() {
            Some(log) => log.noted(done),
            None => done,
        }
    }

    fn parts(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a fault is; damage goes before what says nothing of the files.
fn place(fault: &Fault) -> (bool, u32, u64) {
    match fault {
        Fault::Damaged(damage) => (false, damage.segment, damage.offset),
        Fault::Io(_) => (true, 0, 0),
    }
}
