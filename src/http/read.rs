//! Reading one object: by name or UUID, now or as of an earlier point.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;

use super::command::blocking;
use super::edge::policy::Right;
use super::edge::request::Call;
use super::edge::state::AppState;
use super::edge::turns::Turn;
use super::error::ApiError;
use super::shape::{self, Shown};
use super::text::{canonical_uuid, shown};
use crate::bus::CommandError;
use crate::events::log::EventLog;
use crate::events::log::attended::AttendedLog;
use crate::ids::{Revision, StreamId};
use crate::projections::query::Parked;
use crate::projections::{View, as_of};
use crate::replay::{Source, When};

/// An object of the caller's project by uuid or name.
pub fn find<V: View>(state: &AppState, call: &Call, ident: &str) -> Result<V, ApiError> {
    state
        .reads
        .find::<V>(&call.ctx.project, ident)
        .map_err(|error| ApiError::query(V::KIND, ident, error))
}

/// An object that a body names, by uuid or name; an unknown one is the body's fault.
pub fn named<V: View>(state: &AppState, call: &Call, ident: &str) -> Result<V, ApiError> {
    find::<V>(state, call, ident).map_err(|error| match error {
        ApiError::NotFound(..) => {
            let title = V::KIND.title();
            ApiError::BadRequest(format!("{title} {ident} could not be found."))
        }
        error => error,
    })
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
        None => {
            let mut view = present::<V>(state, call, ident).or_else(|error| match error {
                ApiError::NotFound(..) => {
                    let unrecorded = V::unrecorded(state, &call.ctx.project)?;
                    unrecorded.filter(|view| view.is_called(ident)).ok_or(error)
                }
                error => Err(error),
            })?;
            state.underway.tell(&mut view);
            view
        }
        Some(at) => as_of::<V>(state, call, ident, when("at", at)?).await?,
    };
    Ok(shape::answer(StatusCode::OK, call, &view, &[]))
}

/// An object as the whole log says; refused where an event of it cannot be read (rule P3).
fn present<V: View>(state: &AppState, call: &Call, ident: &str) -> Result<V, ApiError> {
    let view = find::<V>(state, call, ident)?;
    let stream = StreamId::new(V::KIND, view.head().uuid);
    let parked = state.reads.parked_at(&view);
    match parked.map_err(|error| ApiError::query(V::KIND, ident, error))? {
        None => Ok(view),
        Some(Parked { position, reason, .. }) => {
            let words = format!("{stream} is stopped at position {position}: {reason}");
            Err(ApiError::Command(CommandError::Unreadable(words)))
        }
    }
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
        _ => {
            let archived = source(state.log.clone(), call).archived();
            Err(if archived.is_empty() {
                missing
            } else {
                ApiError::Missing(format!("{missing}{archived}"))
            })
        }
    }
}

async fn as_of<V: View>(
    state: &AppState,
    call: &Call,
    ident: &str,
    at: When,
) -> Result<V, ApiError> {
    let stream = stream::<V>(state, call, ident).await?;
    let project = call.ctx.project.clone();
    let fold = move |source: Source| {
        let position = at.of(&source, stream)?;
        Ok::<_, ApiError>(as_of::view::<V>(source.log(), &project, stream.id, position)?)
    };
    question(state, call, fold)
        .await??
        .ok_or_else(|| ApiError::not_found(V::KIND, format!("{ident} as of {at}")))
}

/// The log as the caller may see it.
fn source(log: Arc<dyn EventLog>, call: &Call) -> Source {
    let source = Source::of_project(log, call.ctx.project.clone());
    if call.caller.may(Right::Audit) { source } else { source.without_audits() }
}

/// Asks what may read much of the log: as one of so many at once, and only as long as the client
/// waits for it.
pub async fn question<T: Send + 'static>(
    state: &AppState,
    call: &Call,
    ask: impl FnOnce(Source) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let project = &call.ctx.project;
    let place = state.own().places.take_question(project)?;
    let (log, _attendance) = AttendedLog::new(state.log.clone());
    let source = source(Arc::new(log), call);
    blocking(move || {
        // Until the thread has ended, also where nobody waits for it any more.
        let _held = place;
        ask(source)
    })
    .await
}

/// Reads what may have to look at many events or objects: as one of so many at once, and only as
/// long as the client waits for it.
pub async fn scan<T: Send + 'static>(
    state: &AppState,
    call: &Call,
    read: impl FnOnce(&dyn EventLog) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let place = state.own().places.take_scan(&call.ctx.project).await?;
    scan_at(place, state, read).await
}

/// The same, with a place that was taken before.
pub async fn scan_at<T: Send + 'static>(
    place: Turn,
    state: &AppState,
    read: impl FnOnce(&dyn EventLog) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (log, _attendance) = AttendedLog::new(state.log.clone());
    blocking(move || {
        // As for a question.
        let _held = place;
        read(&log)
    })
    .await
}

/// The moment that an argument names.
pub fn when(name: &str, text: &str) -> Result<When, ApiError> {
    text.parse().map_err(|why: String| ApiError::field(name, shown(text), why))
}
