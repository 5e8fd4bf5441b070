//! Large answers until they were sent: a client that reads slowly, or not at all, keeps them in
//! memory, so there are only so many bytes of them at once.
//!
//! Not here: how many (`places`).

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::Method;
use axum::response::{IntoResponse, Response};

use super::places::{Place, Places};
use crate::http::error::ApiError;
use crate::ids::ProjectId;

/// What is smaller is not counted: as much as a connection may hold anyway, in the buffers between
/// here and its client.
const LARGE_BYTES: u64 = 256 << 10;

/// With an answer: the room that it has already.
#[derive(Clone)]
pub struct HeldRoom {
    _place: Arc<Place>,
}

impl HeldRoom {
    /// Room that was taken while the answer was collected.
    pub fn new(place: Place) -> Self {
        Self { _place: Arc::new(place) }
    }
}

/// The bytes of an answer with the room that they take.
struct Sending {
    bytes: Bytes,
    _held: HeldRoom,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer that takes room until it was sent, if it is large; a refusal if there is no room. What
/// changed something is not refused any more: such an answer is no larger than its object.
pub async fn counted(
    places: &Places,
    project: &ProjectId,
    method: &Method,
    mut response: Response,
) -> Response {
    let held = response.extensions_mut().remove::<HeldRoom>();
    let length = response.body().size_hint().exact().filter(|bytes| *bytes >= LARGE_BYTES);
    let Some(length) = length else { return response };
    let held = match held {
        Some(held) => held,
        None if !method.is_safe() => return response,
        None => match places.take_bytes(project, usize::try_from(length).unwrap_or(usize::MAX)) {
            Ok(place) => HeldRoom::new(place),
            Err(error) => return error.into_response(),
        },
    };
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            // Parts of it share its owner: the last one that is sent gives the room back.
            let bytes = Bytes::from_owner(Sending { bytes, _held: held });
            Response::from_parts(parts, Body::from(bytes))
        }
        Err(error) => ApiError::Internal(error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Response {
        vec![b'x'; bytes].into_response()
    }

    #[tokio::test]
    async fn a_large_answer_takes_room_until_its_last_byte_is_gone() {
        let (places, project) = (Places::new(false), ProjectId::default());
        let most = 256 << 20;
        let taken = places.take_bytes(&project, most - (1 << 20)).unwrap();
        let large = counted(&places, &project, &Method::GET, answer(1 << 20)).await;
        assert_eq!(large.status(), 200);
        assert_eq!(large.body().size_hint().exact(), Some(1 << 20), "its length is still known");
        // There is no room for another one, but for small ones and for those that come from a
        // change.
        let refused = counted(&places, &project, &Method::GET, answer(1 << 20)).await;
        assert_eq!(refused.status(), 429);
        assert!(refused.headers().contains_key("retry-after"));
        let small = counted(&places, &project, &Method::GET, answer(1 << 10)).await;
        assert_eq!(small.status(), 200);
        let changed = counted(&places, &project, &Method::PATCH, answer(1 << 20)).await;
        assert_eq!(changed.status(), 200);
        let mut sent = to_bytes(large.into_body(), usize::MAX).await.unwrap();
        let last = sent.split_off(sent.len() - 1);
        drop(sent);
        let refused = counted(&places, &project, &Method::GET, answer(1 << 20)).await;
        assert_eq!(refused.status(), 429, "a byte is not sent yet");
        drop(last);
        let large = counted(&places, &project, &Method::GET, answer(1 << 20)).await;
        assert_eq!(large.status(), 200);
        drop((taken, large));
    }

    #[tokio::test]
    async fn room_that_was_taken_before_is_not_taken_again() {
        let (places, project) = (Places::new(false), ProjectId::default());
        let all = places.take_bytes(&project, 256 << 20).unwrap();
        let mut collected = answer(1 << 20);
        collected.extensions_mut().insert(HeldRoom::new(all));
        let sent = counted(&places, &project, &Method::PUT, collected).await;
        assert_eq!(sent.status(), 200);
        assert!(places.take_bytes(&project, 1).is_err(), "it is held while it is sent");
        drop(sent);
        assert!(places.take_bytes(&project, 1).is_ok());
    }
}
