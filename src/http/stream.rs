//! The log as server-sent events: from any position on, and then as it grows.
//!
//! Every message has the position as its `id:`, also the heartbeats and the last one, so that a
//! reader whose filter lets nothing through resumes where it was (rules S1 to S4). What is not
//! read yet is in the log, not in memory: the next page is read when the last one was taken.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::AppState;
use super::error::ApiError;
use super::events::{FILTERS, Filter};
use super::recent::Recent;
use super::request::{Call, number};
use crate::bus::CommandError;
use crate::events::Recorded;
use crate::events::cloudevent::CloudEvent;
use crate::events::log::ReadError;
use crate::events::subscription::{Page, Subscription};
use crate::ids::Position;

/// Events that are turned into one piece of the answer: what a reader makes the service hold.
const PAGE: usize = 64;

/// Most answers that go on until somebody ends them, event streams and followed logs together:
/// each holds a connection, a few kilobytes and at most one page.
const MAX_STREAMS: usize = 8192;

/// Places for answers that go on until somebody ends them.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_STREAMS)))
    }
}

impl Places {
    /// A place, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.0).try_acquire_owned();
        place.map_err(|_| ApiError::Command(CommandError::Overloaded))
    }
}

/// `GET /v1/events/stream`
pub async fn events(
    State(state): State<AppState>,
    Extension(places): Extension<Places>,
    Extension(recent): Extension<Recent>,
    request: Request,
) -> Result<Response, ApiError> {
    let last = request.headers().get("last-event-id").map(|id| id.to_str().map(str::to_owned));
    let call = Call::from_request(request, &state).await?;
    let known: Vec<&str> = FILTERS.into_iter().chain(["after"]).collect();
    call.only(&known)?;
    let filter = Filter::of(&call)?;
    let head = *state.log.head().borrow();
    let after = match (last, call.argument("after")) {
        (Some(Ok(id)), _) => Position(number("Last-Event-ID", &id)?),
        (Some(Err(_)), _) => {
            return Err(ApiError::field("Last-Event-ID", "", "Use the id of an event."));
        }
        (None, None | Some("latest")) => head,
        (None, Some(after)) => Position(number("after", after)?),
    };
    if after > head {
        let words = format!("The log ends at position {head}; {after} is not written yet.");
        return Err(ApiError::BadRequest(words));
    }
    let reader = Reader {
        installation: state.installation,
        host: call.host,
        events: Subscription::new(state.log.clone(), after)
            .filtered(Arc::new(move |event| filter.wants(event))),
        recent,
        stopping: state.stopping.clone(),
        every: state.config.heartbeat,
        // One at once, so that the reader sees that it is connected, and from where.
        beat: Instant::now(),
        ended: false,
        _place: places.take()?,
    };
    let pieces = stream::unfold(reader, |mut reader| async move {
        if reader.ended {
            return None;
        }
        Some((Ok::<_, std::convert::Infallible>(reader.next().await), reader))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((StatusCode::OK, headers, Body::from_stream(pieces)).into_response())
}

/// One reader's place and what it wants.
struct Reader {
    installation: Uuid,
    host: String,
    events: Subscription,
    recent: Recent,
    stopping: watch::Receiver<bool>,
    every: Duration,
    beat: Instant,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// What happens first.
enum Next {
    Page(Result<Option<Page>, ReadError>),
    Beat,
    Stop,
}

impl Reader {
    /// The next piece of the answer: events, a heartbeat, or the end.
    async fn next(&mut self) -> Bytes {
        loop {
            let next = tokio::select! {
                biased;
                // Without a sender there is nobody left who could stop it.
                _ = self.stopping.wait_for(|stopping| *stopping) => Next::Stop,
                page = timeout_at(self.beat, self.events.next_page(PAGE)) => {
                    page.map_or(Next::Beat, Next::Page)
                }
            };
            let position = self.events.cursor();
            match next {
                Next::Stop | Next::Page(Ok(None)) => {
                    self.ended = true;
                    let why = json!({ "position": position, "reason": "the service stops" });
                    return message(position, Some("end"), &why).into();
                }
                Next::Page(Err(error)) => {
                    tracing::error!(%error, "an event stream ends");
                    self.ended = true;
                    let why = json!({ "position": position, "reason": "the log cannot be read" });
                    return message(position, Some("error"), &why).into();
                }
                Next::Page(Ok(Some(page))) => {
                    if !page.events.is_empty() {
                        return self.texts(&page.events);
                    }
                    if Instant::now() >= self.beat {
                        return self.heartbeat(position);
                    }
                }
                Next::Beat => return self.heartbeat(position),
            }
        }
    }

    /// Events as the reader gets them.
    fn texts(&self, events: &[Recorded]) -> Bytes {
        let text = |event: &Recorded| {
            self.recent.text(event.position, &self.host, || {
                let shown = CloudEvent::new(event, self.installation, &self.host);
                message(event.position, None, &shown)
            })
        };
        match events {
            [event] => text(event),
            _ => events.iter().map(text).collect::<Vec<_>>().concat().into(),
        }
    }

    fn heartbeat(&mut self, position: Position) -> Bytes {
        self.beat = Instant::now() + self.every;
        message(position, Some("heartbeat"), &json!({ "position": position })).into()
    }
}

/// One message of the stream.
fn message<T: Serialize>(position: Position, name: Option<&str>, data: &T) -> String {
    let mut text = format!("id: {position}\n");
    if let Some(name) = name {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "event: {name}");
    }
    // JSON in one line: it has no line breaks of its own.
    let data = serde_json::to_string(data).unwrap_or_default();
    let _ = write!(text, "data: {data}\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_ends() {
        let places = Places(Arc::new(Semaphore::new(1)));
        let held = places.take().unwrap();
        assert_eq!(places.take().unwrap_err().status(), 503);
        drop(held);
        assert!(places.take().is_ok());
    }
}
