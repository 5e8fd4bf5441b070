//! The body of a request: how large it may be, how long it may take, and the room that it takes as
//! long as the request lasts. It may have secret values, so it is wiped when it is dropped.
//!
//! Not here: what is in it (`request`, `input`), how much room there is (`places`).

use std::fmt;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::http::Method;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::places::{Place, Places};
use crate::http::error::ApiError;
use crate::ids::ProjectId;

/// Largest body: a thousand times what a container with a long environment needs.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What is smaller is not counted: less than the head that each connection may send anyway, and
/// more than most changes need, which are therefore never refused for want of room.
const SMALL_BYTES: usize = 16 << 10;

/// How much of a body that is refused is read and dropped, so that the client, which is still
/// sending, gets to read the refusal.
const DRAIN_BYTES: usize = 16 << 20;

/// How long a body may take to arrive: 1 MiB at 35 kB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A whole body, with its room.
#[derive(Default)]
pub struct Received {
    bytes: Zeroizing<Vec<u8>>,
    room: Option<Place>,
}

impl Received {
    /// The body of a request of a project.
    ///
    /// # Errors
    /// When it is too large or slow, when its method takes none, or when there is no room for it.
    pub async fn of(
        body: Body,
        method: &Method,
        places: &Places,
        project: &ProjectId,
    ) -> Result<Self, ApiError> {
        let until = Instant::now() + BODY_TIMEOUT;
        let declared = body.size_hint().exact().unwrap_or_default();
        let mut pieces = body.into_data_stream();
        let mut received = Self::default();
        let collected = async {
            let mut wanted = usize::try_from(declared).unwrap_or(usize::MAX);
            loop {
                received.make_room(wanted, method, places, project)?;
                let Some(piece) = pieces.next().await else { return Ok::<_, ApiError>(()) };
                let piece = piece.map_err(|error| {
                    ApiError::BadRequest(format!("The body was not received: {error}."))
                })?;
                wanted = received.bytes.len().saturating_add(piece.len());
                received.make_room(wanted, method, places, project)?;
                received.bytes.extend_from_slice(&piece);
            }
        };
        let collected = timeout_at(until, collected).await.map_err(|_| ApiError::Slow)?;
        if let Err(refusal) = collected {
            drop(received);
            // A client that does not end is not waited for.
            drop(timeout_at(until, drain(&mut pieces)).await);
            return Err(refusal);
        }
        Ok(received)
    }

    /// Itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes room for so many bytes in all: exactly as many at first, which is what most requests
    /// declare, then twice as much each time. What is left behind is wiped.
    fn make_room(
        &mut self,
        wanted: usize,
        method: &Method,
        places: &Places,
        project: &ProjectId,
    ) -> Result<(), ApiError> {
        let before = self.bytes.capacity();
        if wanted <= before {
            return Ok(());
        }
        if method.is_safe() {
            return Err(ApiError::BadRequest(format!("A {method} request takes no body.")));
        }
        if wanted > MAX_BODY_BYTES {
            return Err(ApiError::TooLarge(MAX_BODY_BYTES));
        }
        let capacity = wanted.max(2 * before).min(MAX_BODY_BYTES);
        if let Some(room) = &mut self.room {
            room.grow(capacity - before)?;
        } else if capacity > SMALL_BYTES {
            self.room = Some(places.take_body(project, capacity)?);
        }
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
        Ok(())
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// Reads what a client is still sending.
async fn drain(pieces: &mut BodyDataStream) {
    let mut length = 0_usize;
    while let Some(Ok(piece)) = pieces.next().await {
        length = length.saturating_add(piece.len());
        if length > DRAIN_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    async fn received(body: Body, method: Method, places: &Places) -> Result<Received, ApiError> {
        Received::of(body, &method, places, &ProjectId::default()).await
    }

    /// A body of undeclared length.
    fn chunked(count: usize, bytes: usize) -> Body {
        let piece = vec![b'x'; bytes];
        Body::from_stream(stream::iter((0..count).map(move |_| Ok::<_, Infallible>(piece.clone()))))
    }

    #[tokio::test]
    async fn a_body_takes_room_as_long_as_it_is_there() {
        let places = Places::new(false);
        let whole = || Body::from(vec![b'x'; MAX_BODY_BYTES]);
        let mut held = Vec::new();
        let refused = loop {
            match received(whole(), Method::POST, &places).await {
                Ok(body) => held.push(body),
                Err(error) => break error,
            }
            assert!(held.len() < 1000, "there is no limit");
        };
        assert_eq!(refused.status(), 429, "{refused}");
        let refused = received(chunked(1 << 10, 1 << 10), Method::POST, &places).await;
        assert_eq!(refused.unwrap_err().status(), 429, "its length need not be declared");
        // Most changes are smaller, and not refused.
        let small = received(Body::from(vec![b'x'; SMALL_BYTES]), Method::POST, &places).await;
        assert_eq!(small.unwrap().bytes().len(), SMALL_BYTES);
        held.pop();
        assert!(received(chunked(1 << 10, 1 << 10), Method::POST, &places).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_is_held_once_and_completely() {
        let places = Places::new(false);
        for length in [0, 1, 100_001] {
            let body = Body::from(vec![b'x'; length]);
            let body = received(body, Method::PUT, &places).await.unwrap();
            assert_eq!((body.bytes().len(), body.bytes.capacity()), (length, length));
        }
        let body = received(chunked(333, 333), Method::PUT, &places).await.unwrap();
        assert_eq!(body.bytes(), vec![b'x'; 333 * 333]);
        assert_eq!(format!("{body:?}"), "110889 bytes", "it may be secret");
    }

    #[tokio::test]
    async fn what_is_too_large_or_has_no_business_there_is_refused() {
        let places = Places::new(false);
        for body in [Body::from(vec![b'x'; MAX_BODY_BYTES + 1]), chunked(2, MAX_BODY_BYTES)] {
            assert_eq!(received(body, Method::POST, &places).await.unwrap_err().status(), 413);
        }
        for body in [Body::from("{}"), chunked(1, 1)] {
            assert_eq!(received(body, Method::GET, &places).await.unwrap_err().status(), 400);
        }
        for body in [Body::empty(), chunked(1, 0)] {
            assert!(received(body, Method::GET, &places).await.is_ok());
        }
    }
}
