//! Where a reader of events starts: after a position, at a time, or where it left off; or where
//! what it wants ends.
//!
//! Not here: how a time is found (`events/log/moment.rs`).

use crate::events::log::moment;
use crate::http::edge::request::Call;
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::read;
use crate::http::text::number;
use crate::ids::Position;

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
        (None, None, Some(_)) => {
            let time = call.time("since")?.unwrap_or_default();
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
