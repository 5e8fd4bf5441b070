//! The log as a stream: from any position on, and then as it grows; before that, if asked for, the
//! present state.
//!
//! Every message of an event or heartbeat says the position, so that a reader whose filter lets
//! nothing through resumes where it was (rules S1 to S4). What is asked for: `event_filter`,
//! `event_start`; what is sent: `stream_reader`, `stream_snapshot`, `stream_form`.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AppState;
use super::error::ApiError;
use super::event_filter::{self, FILTERS, Filter};
use super::event_start::{self, STARTS};
use super::request::Call;
use super::stream_form::{self, Form};
use super::stream_reader::{Reader, Wanted};
use super::stream_snapshot::Snapshot;
use crate::bus::CommandError;

/// Most answers that go on until somebody ends them, event streams and followed logs together:
/// each holds a connection, a few kilobytes and at most one page.
const MAX_STREAMS: usize = 8192;

/// Most readers that are being sent the present state at once: each holds 16 bytes an object.
const MAX_SNAPSHOTS: usize = 64;

/// Places for answers that go on until somebody ends them.
#[derive(Clone)]
pub struct Places {
    streams: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            snapshots: Arc::new(Semaphore::new(MAX_SNAPSHOTS)),
        }
    }
}

impl Places {
    /// A place, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        one(&self.streams)
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        (MAX_STREAMS - self.streams.available_permits().min(MAX_STREAMS)) as u32
    }
}

fn one(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map_err(|_| ApiError::Command(CommandError::Overloaded))
}

/// `GET /v1/events/stream`
pub async fn events(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let form = Form::wanted(&parts.headers);
    let last = match parts.headers.get("last-event-id").map(|id| id.to_str().map(str::to_owned)) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            return Err(ApiError::field("Last-Event-ID", "", "Use the id of an event."));
        }
    };
    let socket = if parts.headers.contains_key(header::UPGRADE) {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state).await;
        Some(upgrade.map_err(|error| ApiError::BadRequest(format!("No WebSocket: {error}.")))?)
    } else {
        None
    };
    let call = Call::from_request(Request::from_parts(parts, body), &state).await?;
    let wanted = wanted(&state, &state.own().places, call, last).await?;
    let reader = Reader::new(&state, wanted);
    Ok(match socket {
        Some(socket) => socket.on_upgrade(|socket| stream_form::messages(socket, reader)),
        None => stream_form::answer(form, reader),
    })
}

/// What a request asks for.
async fn wanted(
    state: &AppState,
    places: &Places,
    call: Call,
    last: Option<String>,
) -> Result<Wanted, ApiError> {
    let known: Vec<&str> = FILTERS.into_iter().chain(STARTS).chain(["snapshot"]).collect();
    call.only(&known)?;
    let filter = Filter::of(state, &call)?;
    let asks_for_state = call.flag("snapshot")?;
    if asks_for_state {
        event_filter::only_objects(&call)?;
        if let Some((name, _)) = call.arguments(&STARTS).first() {
            return Err(ApiError::BadRequest(format!(
                "snapshot=1 starts with the present state, {name}= at another place; use one of \
                 them."
            )));
        }
    }
    let head = *state.log.head().borrow();
    let mut after = event_start::after(state, &call, last.as_deref(), head).await?;
    // Who has seen events already has the state.
    let snapshot = if asks_for_state && last.is_none() {
        let place = one(&places.snapshots)?;
        let snapshot = Snapshot::new(state, filter.clone(), call.host.clone(), place);
        after = snapshot.position();
        Some(snapshot)
    } else {
        None
    };
    let (place, grant) = (places.take()?, state.auth.grant(&call.caller));
    Ok(Wanted { filter, after, host: call.host, snapshot, grant, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_ends() {
        let places = Places { streams: Arc::new(Semaphore::new(1)), ..Places::default() };
        let held = places.take().unwrap();
        assert_eq!(places.take().unwrap_err().status(), 503);
        drop(held);
        assert!(places.take().is_ok());
    }
}
