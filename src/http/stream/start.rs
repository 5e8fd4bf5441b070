//! Where a reader of events starts: after a position, at a time, or where it left off.
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
        (None, None, Some(_)) => {
            let time = call.time("since")?.unwrap_or_default();
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
