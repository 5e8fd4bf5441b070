//! Pages that end before a position: the last events that a filter wants, and how many more there
//! are before them, as far as one request looks.
//!
//! The log is read forwards only, so it is taken in windows, the last one first.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use super::bounds::{PAGE, PAGE_BYTES, SCAN, SCAN_BYTES, size};
use super::filter::Filter;
use crate::events::Recorded;
use crate::events::log::{EventLog, ReadError};
use crate::ids::Position;

/// Positions that are looked at in one go: few enough that a page that is full soon costs little.
const WINDOW: u64 = 1024;

/// Matches before those of a page.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Earlier {
    /// How many there are from `from` on.
    matches: u64,
    /// The first position that was looked at. To count on: `before=` this and `limit=0`.
    from: u64,
    /// Whether nothing is before that: the log begins there, or what is before was archived.
    is_all: bool,
}

impl Earlier {
    /// Whether nothing is before what was looked at.
    pub const fn is_all(&self) -> bool {
        self.is_all
    }

    /// Whether none was found.
    pub const fn has_none(&self) -> bool {
        self.matches == 0
    }
}

/// The last events before a position.
#[derive(Debug)]
pub struct LastEvents {
    /// Oldest first.
    pub events: Vec<Recorded>,
    /// All that is wanted from here on is among them.
    pub from: Position,
    /// What is wanted before.
    pub earlier: Earlier,
}

/// The last events before a position that a filter wants, up to `limit`; nothing up to `floor` is
/// looked at.
pub fn scan(
    log: &dyn EventLog,
    before: Position,
    floor: Position,
    limit: usize,
    filter: &Filter,
) -> Result<LastEvents, ReadError> {
    let mut kept = Gathered { events: VecDeque::new(), bytes: 0, limit, is_full: limit == 0 };
    let (mut at, mut matches) = (before, 0);
    let (mut seen, mut seen_bytes) = (0, 0);
    while at > floor.next() && seen < SCAN && seen_bytes < SCAN_BYTES {
        let after = Position(at.before().get().saturating_sub(WINDOW)).max(floor);
        let mut window = kept.window();
        let mut cursor = after;
        while cursor < at.before() {
            let page = log.read(cursor, PAGE)?;
            let Some(last) = page.last() else { break };
            (cursor, seen) = (last.position, seen + page.len());
            for event in page.into_iter().take_while(|event| event.position < at) {
                seen_bytes += size(&event);
                if filter.wants(log, &event) {
                    window.take(event);
                }
            }
        }
        matches += kept.prepend(window);
        at = after.next();
    }
    let first = kept.events.front().map_or(before, |event| event.position);
    let from = if kept.is_full { first } else { at };
    let earlier = Earlier { matches, from: at.get(), is_all: at <= floor.next() };
    Ok(LastEvents { events: kept.events.into(), from, earlier })
}

/// The last events of what was looked at.
struct Gathered {
    events: VecDeque<Recorded>,
    bytes: usize,
    limit: usize,
    /// No earlier one is taken any more.
    is_full: bool,
}

/// The last wanted events of a window, as many as there is room for.
struct Window {
    events: VecDeque<Recorded>,
    bytes: usize,
    room: usize,
    room_bytes: usize,
    /// Whether one is taken, however large it is: a page has one if there is any.
    takes_any: bool,
    left_out: u64,
}

impl Gathered {
    fn window(&self) -> Window {
        let room = if self.is_full { 0 } else { self.limit.saturating_sub(self.events.len()) };
        Window {
            events: VecDeque::new(),
            bytes: 0,
            room,
            room_bytes: PAGE_BYTES.saturating_sub(self.bytes),
            takes_any: self.events.is_empty(),
            left_out: 0,
        }
    }

    /// Puts the events of a window before the others; how many it had no room for.
    fn prepend(&mut self, window: Window) -> u64 {
        self.bytes += window.bytes;
        window.events.into_iter().rev().for_each(|event| self.events.push_front(event));
        self.is_full |= window.left_out > 0 || self.events.len() >= self.limit;
        window.left_out
    }
}

impl Window {
    fn take(&mut self, event: Recorded) {
        self.bytes += size(&event);
        self.events.push_back(event);
        while !self.fits() {
            let Some(first) = self.events.pop_front() else { break };
            self.bytes -= size(&first);
            self.left_out += 1;
        }
    }

    fn fits(&self) -> bool {
        let is_one = self.takes_any && self.events.len() == 1;
        self.events.len() <= self.room && (self.bytes <= self.room_bytes || is_one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::events::audit::{AuditEvent, ReadV1};
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, Expected};
    use crate::events::{Meta, NewEvent};
    use crate::ids::{ProjectId, StreamId, StreamKind};

    /// A log of so many events; every tenth one is of project `a` and has so many bytes.
    async fn log(count: usize, bytes: usize) -> MemoryLog {
        let log = MemoryLog::new();
        let event = |nth: usize| {
            let is_wanted = nth.is_multiple_of(10);
            let project = ProjectId(if is_wanted { "a" } else { "b" }.to_owned());
            let what = "x".repeat(if is_wanted { bytes } else { 1 });
            let read = AuditEvent::Read(ReadV1 { object: String::new(), what });
            let meta = Meta { project, ..Meta::default() };
            NewEvent::new(clock::new_event_id(), clock::now(), meta, &read)
        };
        let nths: Vec<usize> = (1..=count).collect();
        for nths in nths.chunks(500) {
            let append = Append {
                stream: StreamId { kind: StreamKind::Audit, id: clock::new_object_id() },
                expected: Expected::NoStream,
                command: None,
                events: nths.iter().map(|nth| event(*nth)).collect(),
            };
            log.append(append).await.unwrap();
        }
        log
    }

    fn found(log: &MemoryLog, before: u64, floor: u64, limit: usize) -> (Vec<u64>, u64, Earlier) {
        let filter = Filter::of_project("a");
        let last = scan(log, Position(before), Position(floor), limit, &filter).unwrap();
        let positions = last.events.iter().map(|event| event.position.get()).collect();
        (positions, last.from.get(), last.earlier)
    }

    fn earlier(matches: u64, from: u64, is_all: bool) -> Earlier {
        Earlier { matches, from, is_all }
    }

    #[tokio::test]
    async fn the_last_matches_are_found_and_those_before_counted() {
        let log = log(3000, 1).await;
        assert_eq!(found(&log, 3001, 0, 2), (vec![2990, 3000], 2990, earlier(298, 1, true)));
        assert_eq!(found(&log, 2990, 0, 2), (vec![2970, 2980], 2970, earlier(296, 1, true)));
        assert_eq!(found(&log, 30, 0, 9), (vec![10, 20], 1, earlier(0, 1, true)));
        assert_eq!(found(&log, 30, 0, 2), (vec![10, 20], 10, earlier(0, 1, true)));
        assert_eq!(found(&log, 3001, 0, 0), (vec![], 3001, earlier(300, 1, true)), "counts");
        // Over the edges of windows.
        let (positions, from, _) = found(&log, 3001, 0, 250);
        assert_eq!((positions.len(), positions[0], from), (250, 510, 510));
        // What was archived is not looked at.
        assert_eq!(found(&log, 3001, 2980, 9), (vec![2990, 3000], 2981, earlier(0, 2981, true)));
        assert_eq!(found(&log, 2981, 2980, 9), (vec![], 2981, earlier(0, 2981, true)));
        assert_eq!(found(&log, 1, 0, 9), (vec![], 1, earlier(0, 1, true)));
    }

    #[tokio::test]
    async fn one_request_looks_at_so_much_and_says_how_far() {
        let log = log(2 * SCAN, 1).await;
        let (positions, from, before) = found(&log, 2 * SCAN as u64 + 1, 0, 1);
        assert_eq!((positions, from), (vec![40_000], 40_000));
        assert!(!before.is_all && before.from > 1, "{before:?}");
        // Going on from there counts each once.
        let (_, _, rest) = found(&log, before.from, 0, 0);
        assert_eq!((rest.is_all, before.matches + rest.matches), (true, 3999));
    }

    #[tokio::test]
    async fn a_page_has_so_many_bytes_and_one_event_at_least() {
        let bytes = PAGE_BYTES / 2 - 100;
        let log = log(60, bytes).await;
        assert_eq!(found(&log, 61, 0, 9), (vec![50, 60], 50, earlier(4, 1, true)));
        let log = self::log(30, PAGE_BYTES + 1).await;
        assert_eq!(found(&log, 31, 0, 9), (vec![30], 30, earlier(2, 1, true)));
    }
}
