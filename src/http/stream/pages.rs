//! The log as JSON pages: all events of a project, or those of one object.
//!
//! Not here: following it (`follow`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::bounds::{PAGE, PAGE_BYTES, SCAN, SCAN_BYTES, size};
use super::earlier::{self, Earlier, LastEvents};
use super::filter::{FILTERS, Filter};
use super::start::{self as event_start, STARTS, Start};
use crate::events::Recorded;
use crate::events::cloudevent::CloudEvent;
use crate::events::log::{EventLog, ReadError};
use crate::http::edge::request::{Call, Ident};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::{list, read, respond};
use crate::ids::{Position, Revision, StreamId};
use crate::projections::View;
use crate::projections::names::Names;

/// Events of a page where no number is asked for.
const LIMIT: usize = 100;

/// A page of events.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct EventPage {
    events: Vec<CloudEvent>,
    /// Everything up to here was looked at: go on with `after=` this.
    position: u64,
    /// The position of the last event in the log.
    head: u64,
    /// The address of the next page, where there is more already.
    next: Option<String>,
    /// The address of the page before this one, where `before=` was asked for and there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// With `before=`: everything that matches from here up to `position` is in the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// With `before=`: how many more there are before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<Earlier>,
    /// What is not in the page because it was archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<ArchivedEvents>,
}

/// Events that are in a backup alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArchivedEvents {
    /// Up to this position.
    position: u64,
    /// When the oldest event that is there was decided.
    oldest: Option<String>,
}

impl ArchivedEvents {
    /// What an archive has taken, if there is one.
    fn of(log: &dyn EventLog) -> Result<Option<Self>, ReadError> {
        let position = log.archived();
        if position == Position(0) {
            return Ok(None);
        }
        let oldest = log.read(position, 1)?.pop().map(|event| event.time.rfc3339());
        Ok(Some(Self { position: position.get(), oldest }))
    }
}

/// `GET /v1/events`
pub async fn page(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    let known: Vec<&str> = FILTERS.into_iter().chain(STARTS).chain(["before", "limit"]).collect();
    call.only(&known)?;
    let filter = Filter::of(&state, &call)?;
    if let Some(before) = event_start::before(&state, &call)? {
        return last(state, call, filter, before).await;
    }
    let Start { after, is_cut } = event_start::after(&state, &call, None, Position(0)).await?;
    let (limit, documents) = (limit(&call)?, Documents::of(&state, &call));
    let search = move |log: &dyn EventLog| {
        let archived = if is_cut { ArchivedEvents::of(log)? } else { None };
        let (events, cursor) = scan(log, after, limit, &filter)?;
        Ok::<_, ReadError>(((documents.from(&events), cursor), archived))
    };
    let ((events, cursor), archived) = read::scan(&state, &call, search).await??;
    let head = *state.log.head().borrow();
    let next = (cursor < head).then(|| next(&call, "events", ("after", cursor.get()), limit));
    let (position, head) = (cursor.get(), head.get());
    let page = EventPage { events, position, head, next, archived, ..EventPage::default() };
    Ok(respond::json(StatusCode::OK, &page))
}

/// The last events before a position, and how many there are before them.
async fn last(
    state: AppState,
    call: Call,
    filter: Arc<Filter>,
    before: Position,
) -> Result<Response, ApiError> {
    // None: only to count.
    let limit = if call.argument("limit") == Some("0") { 0 } else { limit(&call)? };
    let documents = Documents::of(&state, &call);
    let search = move |log: &dyn EventLog| {
        let found = earlier::scan(log, before, log.archived(), limit, &filter)?;
        let archived = if found.earlier.is_all() { ArchivedEvents::of(log)? } else { None };
        Ok::<_, ReadError>((documents.from(&found.events), found, archived))
    };
    let (events, LastEvents { from, earlier, .. }, archived) =
        read::scan(&state, &call, search).await??;
    let (position, head) = (before.before(), *state.log.head().borrow());
    let next = (position < head).then(|| next(&call, "events", ("after", position.get()), limit));
    let is_first = earlier.is_all() && earlier.has_none();
    let previous = (!is_first).then(|| self::next(&call, "events", ("before", from.get()), limit));
    let page = EventPage {
        position: position.get(),
        head: head.get(),
        next,
        previous,
        from: Some(from.get()),
        earlier: Some(earlier),
        archived,
        events,
    };
    Ok(respond::json(StatusCode::OK, &page))
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
    let documents = Documents::of(&state, &call);
    let search = move |log: &dyn EventLog| {
        let (events, more) = of_stream(log, stream, after, limit)?;
        let cursor = events.last().map_or(after, |event| event.position);
        Ok::<_, ReadError>((documents.from(&events), cursor, more))
    };
    let (events, cursor, more) = read::scan(&state, &call, search).await??;
    let path = format!("{}/{}/history", V::KIND.collection(), stream.id);
    let next = more.then(|| next(&call, &path, ("after", cursor.get()), limit));
    let (position, head) = (cursor.get(), state.log.head().borrow().get());
    let page = EventPage { events, position, head, next, ..EventPage::default() };
    Ok(respond::json(StatusCode::OK, &page))
}

/// Makes events into what the asker of a request reads.
struct Documents {
    names: Arc<Names>,
    installation: Uuid,
    host: String,
}

impl Documents {
    fn of(state: &AppState, call: &Call) -> Self {
        let names = Arc::clone(&state.own().called);
        Self { names, installation: state.installation, host: call.host.clone() }
    }

    fn from(&self, events: &[Recorded]) -> Vec<CloudEvent> {
        let shown =
            |event| CloudEvent::new(event, self.names.of(event), self.installation, &self.host);
        events.iter().map(shown).collect()
    }
}

fn limit(call: &Call) -> Result<usize, ApiError> {
    call.argument("limit").map_or(Ok(LIMIT), list::limit)
}

/// The address of a page beside this one: `after` or `before` a position.
fn next(call: &Call, path: &str, (place, position): (&str, u64), limit: usize) -> String {
    let mut arguments = form_urlencoded::Serializer::new(String::new());
    for (key, value) in call.arguments(&FILTERS) {
        arguments.append_pair(&key, &value);
    }
    let (position, limit) = (position.to_string(), limit.to_string());
    let arguments = arguments.append_pair("limit", &limit).append_pair(place, &position).finish();
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
