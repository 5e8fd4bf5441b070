//! Finds a time in a sequence of events, although clocks can be set back.
//!
//! Times grow with positions with two exceptions: concurrent decisions may be recorded in either
//! order, and clocks are set back. So a time is found by bisection, and the events before the
//! result are checked as well.

use super::{EventLog, ReadError};
use crate::events::Recorded;
use crate::ids::{Position, Revision, StreamId, Timestamp};

/// Events before the place that bisection found, which are looked through for one that is late
/// enough; where there is one, as many before that. A clock that was set back is not noticed
/// where more events than this were recorded since.
const LOOK_BACK: u64 = 10_000;

/// Events that are read at once.
const PAGE: u64 = 1000;

/// The position before the first event of a log that is not earlier than a time; the last one
/// where all are earlier.
///
/// # Errors
/// When the log cannot be read.
pub fn before(log: &dyn EventLog, time: Timestamp) -> Result<Position, ReadError> {
    let head = log.head().borrow().get();
    let place = |event: &Recorded| event.position.get().saturating_sub(1);
    let read = |skip, limit| log.read(Position(skip), limit);
    Ok(Position(earlier(head, time, place, read)?))
}

/// How many events of an object come before its first one that is not earlier than a time.
///
/// # Errors
/// When the log cannot be read.
pub fn before_in(log: &dyn EventLog, stream: StreamId, time: Timestamp) -> Result<u64, ReadError> {
    let count = log.stream_head(stream)?.map_or(0, |last| last.get() + 1);
    let read = |skip, limit| log.read_stream(stream, Revision(skip), limit);
    earlier(count, time, |event| event.revision.get(), read)
}

/// How many of `count` events come before the first one that is not earlier than a time. `read`
/// gives events after some of them, `place` says how many are before one.
fn earlier(
    count: u64,
    time: Timestamp,
    place: impl Fn(&Recorded) -> u64,
    read: impl Fn(u64, usize) -> Result<Vec<Recorded>, ReadError>,
) -> Result<u64, ReadError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match read(middle, 1)?.first() {
            Some(event) if event.time < time => low = middle + 1,
            _ => high = middle,
        }
    }
    let (mut found, mut looked_from) = (low, low);
    while looked_from > 0 && found - looked_from < LOOK_BACK {
        let from = looked_from.saturating_sub(PAGE);
        let mut at = from;
        while at < looked_from {
            let page = read(at, (looked_from - at) as usize)?;
            if let Some(event) = page.iter().find(|event| event.time >= time) {
                found = found.min(place(event));
                break;
            }
            let Some(last) = page.last() else { break };
            at = place(last) + 1;
        }
        looked_from = from;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, Expected};
    use crate::events::{EventType, Meta, NewEvent};
    use crate::ids::{EventId, Kind, ObjectId};

    fn stream() -> StreamId {
        StreamId::new(Kind::Node, ObjectId(uuid::Uuid::from_u128(1)))
    }

    /// A log of one object's events at these times.
    async fn log(times: &[i64]) -> MemoryLog {
        let log = MemoryLog::default();
        for (number, time) in (0..).zip(times) {
            let event = NewEvent {
                id: EventId(uuid::Uuid::from_u128(u128::from(number) + 1)),
                time: Timestamp(*time),
                event_type: EventType::known("node.deleted"),
                version: 1,
                meta: Meta::default(),
                payload: Bytes::new(),
            };
            let last = u64::checked_sub(number, 1).map(Revision);
            let expected = last.map_or(Expected::NoStream, Expected::Exact);
            let append = Append { stream: stream(), expected, command: None, events: vec![event] };
            log.append(append).await.unwrap();
        }
        log
    }

    /// The first event that is not earlier, by looking at all.
    fn plainly(times: &[i64], time: i64) -> u64 {
        times.iter().position(|at| *at >= time).unwrap_or(times.len()) as u64
    }

    #[tokio::test]
    async fn f17_a_time_is_found_though_clocks_jump() {
        let steady: Vec<i64> = (0..3000).map(|n| n / 3 * 10).collect();
        let jumped: Vec<i64> = (0..2000).chain(500..1500).chain(100..200).collect();
        for times in [vec![], vec![7], steady, jumped] {
            let log = log(&times).await;
            for time in (-1..12_000).step_by(17).chain([i64::MIN, i64::MAX]) {
                let (found, at) = (plainly(&times, time), Timestamp(time));
                let of = times.len();
                assert_eq!(before(&log, at).unwrap().get(), found, "{time} of {of}");
                assert_eq!(before_in(&log, stream(), at).unwrap(), found, "{time} of {of}");
            }
        }
    }
}
