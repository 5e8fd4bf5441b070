//! A cache of the newest events for all followers of the log: read, decoded and rendered as text
//! once, however many they are.
//!
//! The cache is one contiguous run of events, read from the log by the first reader that needed
//! them; everything else is read from the log. It never changes what a reader gets. Not here:
//! waiting for events and filtering (`subscription`), the text (`cloudevent`).

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::Recorded;
use super::log::{EventLog, ReadError};
use crate::ids::Position;

/// Events that are kept: what half a second brings at 1,000 a second, and more than those who
/// follow are apart.
const EVENTS: usize = 512;

/// Most bytes of their payloads and commands, which hold all of the usual ones: 8 KiB each. What
/// else is in an event is some 600 bytes.
const MAX_BYTES: usize = EVENTS * (8 << 10);

/// Longest text that is kept: most are of 1 KB. With the events, everything stays under 9 MB.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// An event that its readers share.
#[derive(Debug)]
pub struct Shared {
    event: Recorded,
    text: OnceLock<Text>,
}

/// An event's text for those who name the service like this.
#[derive(Debug)]
struct Text {
    host: String,
    bytes: Bytes,
}

impl Shared {
    /// An event that nobody has asked the text of.
    pub const fn new(event: Recorded) -> Self {
        Self { event, text: OnceLock::new() }
    }

    /// The text for readers who name the service `host`, made by the first reader. It must depend
    /// on nothing else.
    pub fn text(&self, host: &str, make: impl FnOnce() -> String) -> Bytes {
        if let Some(text) = self.text.get().filter(|text| text.host == host) {
            return text.bytes.clone();
        }
        let bytes = Bytes::from(make());
        if bytes.len() <= MAX_TEXT_BYTES {
            let text = Text { host: host.to_owned(), bytes: bytes.clone() };
            // Another one was faster, or names the service otherwise.
            let _kept_already = self.text.set(text);
        }
        bytes
    }

    /// Bytes of what can be long in it.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.meta.command.as_ref().map_or(0, String::len)
    }
}

impl Deref for Shared {
    type Target = Recorded;

    fn deref(&self) -> &Recorded {
        &self.event
    }
}

/// A log with its newest events, as far as somebody read them through here.
pub struct Newest {
    log: Arc<dyn EventLog>,
    most: usize,
    run: Mutex<Run>,
}

/// Events at one position after the other.
#[derive(Debug, Default)]
struct Run {
    events: VecDeque<Arc<Shared>>,
    bytes: usize,
}

impl Newest {
    /// For many who follow a log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, most: EVENTS, run: Mutex::default() }
    }

    /// For one who follows it alone: nothing is kept.
    pub fn unkept(log: Arc<dyn EventLog>) -> Self {
        Self { most: 0, ..Self::new(log) }
    }

    /// The log.
    pub const fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// Up to `limit` events after a position (exclusive), in order; fewer than there are where
    /// some are kept and the rest is not, none only where the log has none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, after: Position, limit: usize) -> Result<Vec<Arc<Shared>>, ReadError> {
        let kept = self.run().after(after, limit);
        if !kept.is_empty() {
            return Ok(kept);
        }
        let read = self.log.read(after, limit)?;
        let mut run = self.run();
        Ok(read.into_iter().map(|event| run.keep(event, self.most)).collect())
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Up to `limit` events after a position; none if the first of them is not here.
    fn after(&self, after: Position, limit: usize) -> Vec<Arc<Shared>> {
        let skip = self.index(after.next()).unwrap_or(self.events.len());
        self.events.iter().skip(skip).take(limit).cloned().collect()
    }

    /// Where the event of a position would be.
    fn index(&self, position: Position) -> Option<usize> {
        let first = self.events.front()?.position;
        usize::try_from(position.get().checked_sub(first.get())?).ok()
    }

    /// Keeps an event if it is newer than all; the one to hand out.
    fn keep(&mut self, event: Recorded, most: usize) -> Arc<Shared> {
        let position = event.position;
        // Somebody else has read it meanwhile.
        if let Some(kept) = self.index(position).and_then(|index| self.events.get(index)) {
            return Arc::clone(kept);
        }
        let shared = Arc::new(Shared::new(event));
        let last = self.events.back().map(|last| last.position);
        // Who reads old events does not push out the new ones.
        if last.is_some_and(|last| position <= last) {
            return shared;
        }
        if last.is_some_and(|last| position > last.next()) {
            *self = Self::default();
        }
        self.bytes += shared.bytes();
        self.events.push_back(Arc::clone(&shared));
        while self.events.len() > most || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
        shared
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newest").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::events::{EventType, Meta};
    use crate::ids::{EventId, Kind, ObjectId, Revision, StreamId, Timestamp};

    fn event(position: u64, payload: usize) -> Recorded {
        Recorded {
            position: Position(position),
            stream: StreamId::new(Kind::Node, ObjectId::default()),
            revision: Revision(position),
            id: EventId::default(),
            time: Timestamp(0),
            event_type: EventType::known("node.came_up"),
            version: 1,
            meta: Meta::default(),
            payload: vec![0; payload].into(),
            hash: [0; 32],
        }
    }

    fn positions(run: &Run, after: u64, limit: usize) -> Vec<u64> {
        run.after(Position(after), limit).iter().map(|event| event.position.get()).collect()
    }

    #[test]
    fn a_run_has_no_gaps_and_ends_with_the_newest() {
        let mut run = Run::default();
        assert!(positions(&run, 0, 9).is_empty());
        let keep = |run: &mut Run, position| run.keep(event(position, 1), 3);
        let first = keep(&mut run, 7);
        keep(&mut run, 8);
        assert!(Arc::ptr_eq(&first, &keep(&mut run, 7)), "who was slower gets the kept one");
        assert_eq!(positions(&run, 6, 9), [7, 8]);
        assert_eq!(positions(&run, 6, 1), [7]);
        assert_eq!(positions(&run, 7, 9), [8]);
        for elsewhere in [0, 5, 8, 9, u64::MAX] {
            assert!(positions(&run, elsewhere, 9).is_empty(), "after {elsewhere}");
        }
        assert_eq!(keep(&mut run, 6).position, Position(6));
        assert!(positions(&run, 5, 9).is_empty(), "an old one is handed out, not kept");
        keep(&mut run, 9);
        keep(&mut run, 10);
        assert_eq!(positions(&run, 7, 9), [8, 9, 10]);
        assert!(positions(&run, 6, 9).is_empty(), "it was pushed out");
        keep(&mut run, 12);
        assert!(positions(&run, 7, 9).is_empty(), "what is before a gap is forgotten");
        assert_eq!(positions(&run, 11, 9), [12]);
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let mut run = Run::default();
        let mut keep = |position, payload| {
            run.keep(event(position, payload), EVENTS);
            let held: usize = run.events.iter().map(|event| event.bytes()).sum();
            assert_eq!(run.bytes, held);
            assert!(run.bytes <= MAX_BYTES && run.events.len() <= EVENTS);
            run.events.len()
        };
        let many = 2 * EVENTS as u64;
        (1..=many).for_each(|position| assert!(keep(position, 10) > 0));
        assert_eq!(keep(many + 1, MAX_BYTES / 2), EVENTS);
        assert_eq!(keep(many + 2, MAX_BYTES), 1);
        assert_eq!(keep(many + 3, MAX_BYTES + 1), 0, "one that is too large is not kept at all");
        assert_eq!(keep(many + 4, 10), 1);
        let unkept = run.keep(event(many + 5, 10), 0);
        assert_eq!((unkept.position.get(), run.events.len(), run.bytes), (many + 5, 0, 0));
    }

    #[test]
    fn a_text_is_made_once_for_those_who_name_the_service_alike() {
        let made = Cell::new(0);
        let read = |event: &Shared, host: &str, bytes: usize| {
            let text = event.text(host, || {
                made.set(made.get() + 1);
                format!("{host:>bytes$}")
            });
            assert_eq!(text, format!("{host:>bytes$}"));
            made.get()
        };
        let short = Shared::new(event(1, 0));
        assert_eq!(read(&short, "a", 10), 1);
        assert_eq!(read(&short, "a", 10), 1);
        assert_eq!(read(&short, "b", 10), 2, "it says who is asked");
        assert_eq!(read(&short, "a", 10), 2);
        let long = Shared::new(event(2, 0));
        assert_eq!(read(&long, "a", MAX_TEXT_BYTES + 1), 3);
        assert_eq!(read(&long, "a", MAX_TEXT_BYTES + 1), 4, "it is too long to keep");
    }
}
