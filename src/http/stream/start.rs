//! Where a reader of events starts: after a position, at a time, or where it left off.
//!
//! Not here: how a time is found (`events/log/moment.rs`).

use crate::clock;
use crate::events::log::moment;
use crate::http::edge::request::Call;
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::read;
use crate::http::text::{number, shown};
use crate::ids::{Position, Timestamp};

/// Arguments that say where to start.
pub const STARTS: [&str; 2] = ["after", "since"];

/// The position after which a reader starts; `usual` where it does not say. `last` is the id of
/// the last event that it has seen, which goes before everything in its address.
pub async fn after(
    state: &AppState,
    call: &Call,
    last: Option<&str>,
    usual: Position,
) -> Result<Position, ApiError> {
    let head = || *state.log.head().borrow();
    let after = match (last, call.argument("after"), call.argument("since")) {
        (Some(id), ..) => Position(number("Last-Event-ID", id)?),
        (None, Some(_), Some(_)) => {
            return Err(ApiError::BadRequest(
                "after= and since= both set the start; use one of them.".to_owned(),
            ));
        }
        (None, None, None) => usual.max(state.log.archived()),
        (None, Some("latest"), None) => head(),
        (None, Some(after), None) => Position(number("after", after)?),
        (None, None, Some(text)) => {
            let time = time(call, text)?;
            read::scan(state, call, move |log| moment::before(log, time)).await??
        }
    };
    // The log may have grown while a time was looked for.
    let head = head();
    if after > head {
        let words = format!("The log ends at position {head}; there is no position {after} yet.");
        return Err(ApiError::BadRequest(words));
    }
    state.log.has_all_after(after)?;
    Ok(after)
}

/// A time, or how long ago: `90s`, `15m`, `2h`, `7d`.
fn time(call: &Call, text: &str) -> Result<Timestamp, ApiError> {
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
        return Ok(Timestamp(clock::now().0.saturating_sub(ago_us)));
    }
    call.time("since")
        .map_err(|_| {
            let reason = "Use a time like 2015-05-21T20:46:13Z, seconds since 1970, or an age: \
                90s, 15m, 2h, 7d.";
            ApiError::field("since", shown(text), reason)
        })
        .map(Option::unwrap_or_default)
}
