//! Where a reader of events starts: after a position, at a time, or where it left off; or where
//! what it wants ends.
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

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// After this position.
    pub after: Position,
    /// Whether it asked for a time, and events since then were archived: it gets those after them.
    pub is_cut: bool,
}

/// The position before which what a reader wants ends, if it says one. `latest` is the end.
pub fn before(state: &AppState, call: &Call) -> Result<Option<Position>, ApiError> {
    let Some(text) = call.argument("before") else { return Ok(None) };
    if let Some((name, _)) = call.arguments(&STARTS).first() {
        return Err(ApiError::BadRequest(format!(
            "before= sets the end and {name}= the start of a page; use one of them."
        )));
    }
    let end = state.log.head().borrow().next();
    if text == "latest" {
        return Ok(Some(end));
    }
    let before = Position(number("before", text)?);
    if before == Position(0) {
        return Err(ApiError::field("before", "0", "The first position is 1."));
    }
    if before > end {
        return Err(ends_at(end.before(), before));
    }
    state.log.has_all_after(before.before())?;
    Ok(Some(before))
}

/// The refusal of a position that is not there yet.
fn ends_at(head: Position, position: Position) -> ApiError {
    let words = format!("The log ends at position {head}; there is no position {position} yet.");
    ApiError::BadRequest(words)
}

/// The position after which a reader starts; `usual` where it does not say. `last` is the id of
/// the last event that it has seen, which goes before everything in its address.
pub async fn after(
    state: &AppState,
    call: &Call,
    last: Option<&str>,
    usual: Position,
) -> Result<Start, ApiError> {
    let head = || *state.log.head().borrow();
    let mut is_cut = false;
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
            let found = read::scan(state, call, move |log| moment::before(log, time)).await??;
            // A time is a wish, and not a position that somebody resumes after.
            let archived = state.log.archived();
            is_cut = found < archived;
            found.max(archived)
        }
    };
    // The log may have grown while a time was looked for.
    let head = head();
    if after > head {
        return Err(ends_at(head, after));
    }
    state.log.has_all_after(after)?;
    Ok(Start { after, is_cut })
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
