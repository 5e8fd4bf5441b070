//! Where a reader of events starts: after a position, at a time, or where it was.
//!
//! A time is found by bisection over positions, as times grow with positions but for two things:
//! decisions that were made at the same time may be recorded in either order, and clocks are set
//! back. So the events before the place that was found are looked through as well.

use super::AppState;
use super::command::blocking;
use super::error::ApiError;
use super::request::{Call, number, shown};
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Position, Timestamp};

/// Arguments that say where to start.
pub const STARTS: [&str; 2] = ["after", "since"];

/// Events before the place that bisection found, which are looked through for one that is late
/// enough; where there is one, as many before that. A clock that was set back is not noticed
/// where more events than this were recorded since.
const LOOK_BACK: u64 = 10_000;

/// Events that are read at once.
const PAGE: usize = 1000;

/// The position after which a reader starts; `usual` where it does not say. `last` is the id of
/// the last event that it has seen, which goes before everything in its address.
pub async fn after(
    state: &AppState,
    call: &Call,
    last: Option<&str>,
    usual: Position,
) -> Result<Position, ApiError> {
    let head = *state.log.head().borrow();
    let after = match (last, call.argument("after"), call.argument("since")) {
        (Some(id), ..) => Position(number("Last-Event-ID", id)?),
        (None, Some(_), Some(_)) => {
            return Err(ApiError::BadRequest(
                "after= and since= both say where to start; use one of them.".to_owned(),
            ));
        }
        (None, None, None) => usual,
        (None, Some("latest"), None) => head,
        (None, Some(after), None) => Position(number("after", after)?),
        (None, None, Some(text)) => {
            let (time, log) = (moment(call, text)?, state.log.clone());
            blocking(move || before(log.as_ref(), time)).await??
        }
    };
    if after > head {
        let words = format!("The log ends at position {head}; {after} is not written yet.");
        return Err(ApiError::BadRequest(words));
    }
    Ok(after)
}

/// A time, or how long ago: `90s`, `15m`, `2h`, `7d`.
fn moment(call: &Call, text: &str) -> Result<Timestamp, ApiError> {
    let unit_s = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => 0,
    };
    let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse().ok());
    if let (1.., Some(count)) = (unit_s, count) {
        let count: u32 = count;
        let ago_us = i64::from(count).saturating_mul(unit_s).saturating_mul(1_000_000);
        return Ok(Timestamp(call.ctx.now.0.saturating_sub(ago_us)));
    }
    call.time("since")
        .map_err(|_| {
            let reason = "Use a time like 2015-05-21T20:46:13Z, seconds since 1970, or how long \
                          ago: 90s, 15m, 2h, 7d.";
            ApiError::field("since", shown(text), reason)
        })
        .map(Option::unwrap_or_default)
}

/// The position before the first event that is not earlier than a time.
fn before(log: &dyn EventLog, time: Timestamp) -> Result<Position, ReadError> {
    let (mut low, mut high) = (0, log.head().borrow().get());
    while low < high {
        let middle = low + (high - low) / 2;
        match log.read(Position(middle), 1)?.first() {
            Some(event) if event.time < time => low = middle + 1,
            _ => high = middle,
        }
    }
    let mut found = Position(low);
    let mut looked_from = low;
    while looked_from > 0 && found.get() - looked_from < LOOK_BACK {
        let from = looked_from.saturating_sub(PAGE as u64);
        let page = log.read(Position(from), (looked_from - from) as usize)?;
        if let Some(event) = page.iter().find(|event| event.time >= time) {
            found = Position(event.position.get().saturating_sub(1));
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
    use crate::ids::{EventId, Kind, ObjectId, StreamId};

    /// A log of events at these seconds.
    async fn log(times: &[i64]) -> MemoryLog {
        let log = MemoryLog::default();
        for (number, time) in (1..).zip(times) {
            let event = NewEvent {
                id: EventId(uuid::Uuid::from_u128(number)),
                time: Timestamp(*time),
                event_type: EventType::known("node.deleted"),
                version: 1,
                meta: Meta::default(),
                payload: Bytes::new(),
            };
            let stream = StreamId::new(Kind::Node, ObjectId(uuid::Uuid::from_u128(number)));
            let events = vec![event];
            let append = Append { stream, expected: Expected::NoStream, command: None, events };
            log.append(append).await.unwrap();
        }
        log
    }

    /// The first event that is not earlier, by looking at all.
    fn plainly(times: &[i64], time: i64) -> u64 {
        times.iter().position(|at| *at >= time).unwrap_or(times.len()) as u64
    }

    #[tokio::test]
    async fn a_time_is_found_though_clocks_jump() {
        let steady: Vec<i64> = (0..3000).map(|n| n / 3 * 10).collect();
        let jumped: Vec<i64> = (0..2000).chain(500..1500).chain(100..200).collect();
        for times in [vec![], vec![7], steady, jumped] {
            let log = log(&times).await;
            for time in (-1..12_000).step_by(17).chain([i64::MIN, i64::MAX]) {
                let found = before(&log, Timestamp(time)).unwrap();
                assert_eq!(found.get(), plainly(&times, time), "{time} of {}", times.len());
            }
        }
    }
}
