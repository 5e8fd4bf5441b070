//! The log as JSON pages: all events of a project, or those of one object.
//!
//! Not here: following it (`follow`).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::{FILTERS, Filter};
use super::start as event_start;
use super::start::STARTS;
use crate::events::Recorded;
use crate::events::cloudevent::CloudEvent;
use crate::events::log::{EventLog, ReadError};
use crate::http::edge::request::{Call, Ident};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::{list, read, respond};
use crate::ids::{Position, Revision, StreamId};
use crate::projections::View;

/// Events of a page where no number is asked for.
const LIMIT: usize = 100;

/// Events that are read at once.
const PAGE: usize = 256;

/// Bytes of events after which a page ends, whatever its limit: a thousand as a rule. It always has
/// one, which has 8 MiB at most; as JSON they may take several times as much.
const PAGE_BYTES: usize = 2 << 20;

/// Events that one request looks at for those it wants: some tens of milliseconds. Where they are
/// not among them, the answer says where to go on.
const SCAN: usize = 20_000;

/// Bytes of events that it looks at, which are as many as a rule: for a log of large ones.
const SCAN_BYTES: usize = 64 << 20;

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    events: Vec<CloudEvent>,
    /// Everything up to here was looked at: go on with `after=` this.
    position: u64,
    /// The position of the last event in the log.
    head: u64,
    /// The address of the next page, where there is more already.
    next: Option<String>,
}

/// `GET /v1/events`
pub async fn page(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    let known: Vec<&str> = FILTERS.into_iter().chain(STARTS).chain(["limit"]).collect();
    call.only(&known)?;
    let filter = Filter::of(&state, &call)?;
    let after = event_start::after(&state, &call, None, Position(0)).await?;
    let limit = limit(&call)?;
    let search = move |log: &dyn EventLog| scan(log, after, limit, &filter);
    let (events, cursor) = read::scan(&state, &call, search).await??;
    let head = *state.log.head().borrow();
    let next = (cursor < head).then(|| next(&call, "events", cursor.get(), limit));
    Ok(answer(
        &state,
        &call,
        &events,
        EventPage { position: cursor.get(), head: head.get(), next, events: Vec::new() },
    ))
}

/// `GET /v1/{collection}/{ident}/history`, also of what was deleted, by its uuid
pub async fn history<V: View>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&["after", "limit"])?;
    let stream = read::stream::<V>(&state, &call, &ident).await?;
    let after = Position(call.number("after")?.unwrap_or(0));
    let limit = limit(&call)?;
    let search = move |log: &dyn EventLog| of_stream(log, stream, after, limit);
    let (events, more) = read::scan(&state, &call, search).await??;
    let cursor = events.last().map_or(after, |event| event.position);
    let path = format!("{}/{}/history", V::KIND.collection(), stream.id);
    let next = more.then(|| next(&call, &path, cursor.get(), limit));
    let head = *state.log.head().borrow();
    Ok(answer(
        &state,
        &call,
        &events,
        EventPage { position: cursor.get(), head: head.get(), next, events: Vec::new() },
    ))
}

/// A page with these events.
fn answer(state: &AppState, call: &Call, events: &[Recorded], page: EventPage) -> Response {
    let shown = |event| CloudEvent::new(event, state.installation, &call.host);
    let events = events.iter().map(shown).collect();
    respond::json(StatusCode::OK, &EventPage { events, ..page })
}

fn limit(call: &Call) -> Result<usize, ApiError> {
    call.argument("limit").map_or(Ok(LIMIT), list::limit)
}

/// The address of the page after this one.
fn next(call: &Call, path: &str, after: u64, limit: usize) -> String {
    let mut arguments = form_urlencoded::Serializer::new(String::new());
    for (key, value) in call.arguments(&FILTERS) {
        arguments.append_pair(&key, &value);
    }
    let (after, limit) = (after.to_string(), limit.to_string());
    let arguments = arguments.append_pair("limit", &limit).append_pair("after", &after).finish();
    format!("{}/v1/{path}?{arguments}", call.host)
}

/// Up to `limit` wanted events after a position, and up to where was looked.
fn scan(
    log: &dyn EventLog,
    after: Position,
    limit: usize,
    filter: &Filter,
) -> Result<(Vec<Recorded>, Position), ReadError> {
    let (mut wanted, mut cursor) = (PageEvents::new(limit), after);
    let (mut seen, mut seen_bytes) = (0, 0);
    while seen < SCAN && seen_bytes < SCAN_BYTES {
        let page = log.read(cursor, PAGE)?;
        if page.is_empty() {
            break;
        }
        seen += page.len();
        for event in page {
            let position = event.position;
            seen_bytes += size(&event);
            if filter.wants(log, &event) && !wanted.take(event) {
                return Ok((wanted.events, cursor));
            }
            cursor = position;
            if wanted.is_full() {
                return Ok((wanted.events, cursor));
            }
        }
    }
    Ok((wanted.events, cursor))
}

/// Up to `limit` events of an object after a position, and whether there are more.
fn of_stream(
    log: &dyn EventLog,
    stream: StreamId,
    after: Position,
    limit: usize,
) -> Result<(Vec<Recorded>, bool), ReadError> {
    let (mut wanted, mut from) = (PageEvents::new(limit), first_after(log, stream, after)?);
    loop {
        let page = log.read_stream(stream, from, PAGE)?;
        let Some(last) = page.last() else { return Ok((wanted.events, false)) };
        from = last.revision.next();
        for event in page.into_iter().filter(|event| event.position > after) {
            if !wanted.take(event) {
                return Ok((wanted.events, true));
            }
        }
    }
}

/// The first revision of an object after a position: by bisection, so that late pages of a long
/// history cost what early ones do.
fn first_after(
    log: &dyn EventLog,
    stream: StreamId,
    after: Position,
) -> Result<Revision, ReadError> {
    let count = log.stream_head(stream)?.map_or(0, |last| last.get() + 1);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match log.read_stream(stream, Revision(middle), 1)?.first() {
            Some(event) if event.position <= after => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(Revision(low))
}

/// The events of a page.
struct PageEvents {
    events: Vec<Recorded>,
    bytes: usize,
    limit: usize,
}

impl PageEvents {
    const fn new(limit: usize) -> Self {
        Self { events: Vec::new(), bytes: 0, limit }
    }

    const fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.bytes >= PAGE_BYTES
    }

    /// Takes an event; false if the page has no room for it.
    fn take(&mut self, event: Recorded) -> bool {
        let bytes = self.bytes + size(&event);
        if self.is_full() || (bytes > PAGE_BYTES && !self.events.is_empty()) {
            return false;
        }
        self.bytes = bytes;
        self.events.push(event);
        true
    }
}

/// Bytes of what can be long in an event.
fn size(event: &Recorded) -> usize {
    event.payload.len() + event.meta.command.as_ref().map_or(0, String::len)
}
