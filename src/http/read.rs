//! Reading one object: by name or uuid, now or as of any position, revision or time.

use axum::http::StatusCode;
use axum::response::Response;

use super::AppState;
use super::command::blocking;
use super::error::ApiError;
use super::request::{Call, canonical_uuid, shown};
use super::respond::{self, Shown};
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Position, Revision, StreamId, Timestamp};
use crate::projections::{View, past};

/// An object of the caller's project by uuid or name.
pub fn find<V: View>(state: &AppState, call: &Call, ident: &str) -> Result<V, ApiError> {
    state
        .reads
        .find::<V>(&call.ctx.project, ident)
        .map_err(|error| ApiError::query(V::KIND, ident, error))
}

/// The answer to a GET of one object; `extra` are arguments that it takes besides.
pub async fn one<V: Shown>(
    state: &AppState,
    call: &Call,
    ident: &str,
    extra: &[&str],
) -> Result<Response, ApiError> {
    let known: Vec<&str> = extra.iter().copied().chain(["at"]).collect();
    call.only(&known)?;
    let view = match call.argument("at") {
        None => find::<V>(state, call, ident)?,
        Some(at) => as_of::<V>(state, call, ident, At::parse(at)?).await?,
    };
    Ok(respond::object(StatusCode::OK, call, &view))
}

/// The stream of an object of the caller's project, also of one that is gone, by its uuid.
pub async fn stream<V: View>(
    state: &AppState,
    call: &Call,
    ident: &str,
) -> Result<StreamId, ApiError> {
    let missing = match find::<V>(state, call, ident) {
        Ok(view) => return Ok(StreamId::new(V::KIND, view.head().uuid)),
        Err(error @ ApiError::NotFound(..)) => error,
        Err(error) => return Err(error),
    };
    let Some(id) = canonical_uuid(ident) else { return Err(missing) };
    let stream = StreamId::new(V::KIND, id);
    let log = state.log.clone();
    let first = blocking(move || log.read_stream(stream, Revision(0), 1)).await??.pop();
    match first {
        Some(event) if event.meta.project == call.ctx.project => Ok(stream),
        _ => Err(missing),
    }
}

/// A moment in an object's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Position(Position),
    Revision(Revision),
    Time(Timestamp),
}

impl At {
    fn parse(text: &str) -> Result<Self, ApiError> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position(position)));
        }
        if let Some(Ok(revision)) = text.strip_prefix("v:").map(str::parse) {
            return Ok(Self::Revision(Revision(revision)));
        }
        // A plus in a query is a space once it is decoded.
        match chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+")) {
            Ok(time) => Ok(Self::Time(Timestamp(time.timestamp_micros()))),
            Err(_) => {
                let reason = "Use a position, a revision as v:3, or a time as \
                              2015-05-21T20:46:13Z.";
                Err(ApiError::field("at", shown(text), reason))
            }
        }
    }
}

async fn as_of<V: View>(state: &AppState, call: &Call, ident: &str, at: At) -> Result<V, ApiError> {
    let stream = stream::<V>(state, call, ident).await?;
    let log = state.log.clone();
    let fold = move || {
        let Some(position) = position(log.as_ref(), stream, at)? else { return Ok(None) };
        past::as_of::<V>(log.as_ref(), stream.id, position)
            .map_err(|error| ApiError::Internal(error.to_string()))
    };
    blocking(fold).await??.ok_or_else(|| {
        let when = call.argument("at").unwrap_or_default();
        ApiError::NotFound(super::error::title(V::KIND), format!("{ident} as of {when}"))
    })
}

/// The position that a moment means; none where the stream never had that revision.
fn position(log: &dyn EventLog, stream: StreamId, at: At) -> Result<Option<Position>, ReadError> {
    match at {
        At::Position(position) => Ok(Some(position)),
        At::Revision(revision) => {
            Ok(log.read_stream(stream, revision, 1)?.first().map(|event| event.position))
        }
        At::Time(time) => {
            // Events of one stream, oldest first; the last one that is not later.
            let last = log.stream_head(stream)?.map_or(0, |revision| revision.get() + 1);
            let (mut low, mut high) = (0, last);
            let mut found = None;
            while low < high {
                let middle = low + (high - low) / 2;
                match log.read_stream(stream, Revision(middle), 1)?.first() {
                    Some(event) if event.time <= time => {
                        found = Some(event.position);
                        low = middle + 1;
                    }
                    _ => high = middle,
                }
            }
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(At::parse("17").unwrap(), At::Position(Position(17)));
        assert_eq!(At::parse("v:3").unwrap(), At::Revision(Revision(3)));
        assert_eq!(At::parse("1970-01-01T00:00:01Z").unwrap(), At::Time(Timestamp(1_000_000)));
        assert_eq!(At::parse("1970-01-01T01:00:01 01:00").unwrap(), At::Time(Timestamp(1_000_000)));
        for bad in ["", "x", "-1", "v:", "v:x", "2015-13-01T00:00:00Z"] {
            assert!(At::parse(bad).is_err(), "{bad}");
        }
    }
}
