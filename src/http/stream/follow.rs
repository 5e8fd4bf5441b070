//! The log as a stream: from any position, and then as it grows; preceded by the current state if
//! requested.
//!
//! Every event and heartbeat carries the position, so that a reader whose filter matches nothing
//! resumes where it was (rules S1 to S4). Arguments: `filter`, `start`; content: `reader`,
//! `snapshot`, `form`.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header;
use axum::response::Response;

use super::filter::{FILTERS, Filter};
use super::form::Form;
use super::reader::{Reader, Wanted};
use super::snapshot::Snapshot;
use super::start::{self as event_start, STARTS, Start};
use super::{filter as event_filter, form as stream_form};
use crate::http::edge::places::Places;
use crate::http::edge::request::Call;
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;

/// Most bytes of a message from the other end of a WebSocket: nothing is expected from there, but
/// for pings and its leaving, which have 125 at most.
const MAX_CLIENT_MESSAGE_BYTES: usize = 4 << 10;

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
        let upgrade = upgrade
            .map_err(|error| ApiError::BadRequest(format!("Not a WebSocket request: {error}.")))?;
        let most = MAX_CLIENT_MESSAGE_BYTES;
        Some(upgrade.max_message_size(most).max_frame_size(most).read_buffer_size(most))
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
        event_filter::only_objects(&call, &filter)?;
        if let Some((name, _)) = call.arguments(&STARTS).first() {
            return Err(ApiError::BadRequest(format!(
                "snapshot=1 starts with the current state, {name}= at another point; use one of \
                 them."
            )));
        }
    }
    let head = *state.log.head().borrow();
    let mut start = event_start::after(state, &call, last.as_deref(), head).await?;
    // Who has seen events already has the state.
    let snapshot = if asks_for_state && last.is_none() {
        let place = places.take_snapshot(&call.ctx.project)?;
        let snapshot = Snapshot::new(state, filter.clone(), call.host.clone(), place);
        start = Start { after: snapshot.position(), is_cut: false };
        Some(snapshot)
    } else {
        None
    };
    let place = places.take(&call.ctx.project)?;
    let grant = state.auth.grant(&call.caller, filter.needs());
    Ok(Wanted { filter, start, host: call.host, snapshot, grant, place })
}
