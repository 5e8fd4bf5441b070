//! The output of a container or a command, collected into one answer: bounded in itself, and with
//! all others that are collected at the same time.
//!
//! Not here: output that goes on (`logs`), the way to the client (`edge/answers`).

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::http::edge::answers::HeldRoom;
use crate::http::edge::places::{Place, Places};
use crate::http::error::ApiError;
use crate::http::respond;
use crate::ids::ProjectId;

/// Most output in one answer: it is held in memory twice, for a moment.
pub const MAX_OUTPUT_BYTES: usize = 16 << 20;

/// Most bytes of that output as JSON, which makes six bytes of some: twice as many, which is enough
/// for any text, even if it is line breaks only.
const MAX_JSON_BYTES: usize = 2 * MAX_OUTPUT_BYTES;

/// What is taken before anything has come: a frame.
const FIRST_BYTES: usize = 64 << 10;

/// Output so far, with the room that it takes.
pub struct Collected {
    bytes: Vec<u8>,
    json_bytes: usize,
    room_bytes: usize,
    place: Place,
    too_much: fn() -> ApiError,
}

impl Collected {
    /// Nothing yet, with room for the first frame. `too_much` is the refusal of more than fits into
    /// an answer.
    ///
    /// # Errors
    /// When too much is being collected already.
    pub fn new(
        places: &Places,
        project: &ProjectId,
        too_much: fn() -> ApiError,
    ) -> Result<Self, ApiError> {
        let place = places.take_bytes(project, FIRST_BYTES)?;
        Ok(Self { bytes: Vec::new(), json_bytes: 0, room_bytes: FIRST_BYTES, place, too_much })
    }

    /// Adds what came.
    ///
    /// # Errors
    /// When it does not fit into the answer, or too much is being collected at once.
    pub fn add(&mut self, data: &[u8]) -> Result<(), ApiError> {
        let bytes = self.bytes.len().saturating_add(data.len());
        let json_bytes = self.json_bytes.saturating_add(json_length(data));
        if bytes > MAX_OUTPUT_BYTES || json_bytes > MAX_JSON_BYTES {
            return Err((self.too_much)());
        }
        self.make_room(bytes)?;
        self.json_bytes = json_bytes;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Whether nothing came.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The answer that `body` makes of the text, which takes its room until it was sent. Bytes that
    /// are not UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Collected::add`]: what replaces bytes is longer than they are.
    pub fn answer<T: Serialize>(
        mut self,
        status: StatusCode,
        body: impl FnOnce(String) -> T,
    ) -> Result<Response, ApiError> {
        let bytes = std::mem::take(&mut self.bytes);
        let before = bytes.len();
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let json_bytes = self.json_bytes + text.len().saturating_sub(before);
        if json_bytes > MAX_JSON_BYTES {
            return Err((self.too_much)());
        }
        self.make_room(json_bytes)?;
        let mut response = respond::json(status, &body(text));
        response.extensions_mut().insert(HeldRoom::new(self.place));
        Ok(response)
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), ApiError> {
        let more = bytes.saturating_sub(self.room_bytes);
        self.place.grow(more)?;
        self.room_bytes += more;
        Ok(())
    }
}

/// Bytes that a piece of text has in JSON; those that are not ASCII are not escaped.
fn json_length(data: &[u8]) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    data.iter().map(escaped).sum()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::Value;

    use super::*;

    fn too_much() -> ApiError {
        ApiError::TooMuchOutput("too much".to_owned())
    }

    fn collected(places: &Places) -> Collected {
        Collected::new(places, &ProjectId::default(), too_much).unwrap()
    }

    #[tokio::test]
    async fn any_text_fits_but_not_what_json_makes_six_times_as_long() {
        let places = Places::new(false);
        let mut lines = collected(&places);
        let half = vec![b'\n'; MAX_OUTPUT_BYTES / 2];
        lines.add(&half).unwrap();
        lines.add(&half).unwrap();
        assert_eq!(lines.add(b"x").unwrap_err().status(), 413);
        let response = lines.answer(StatusCode::OK, Value::from).unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len(), MAX_JSON_BYTES + 2);
        let mut zeros = collected(&places);
        let third = vec![0; MAX_OUTPUT_BYTES / 3];
        zeros.add(&third).unwrap();
        assert_eq!(zeros.add(&third).unwrap_err().status(), 413);
        // A byte that is not UTF-8 becomes three.
        let mut invalid = collected(&places);
        invalid.add(&vec![0xff; MAX_OUTPUT_BYTES]).unwrap();
        assert_eq!(invalid.answer(StatusCode::OK, Value::from).unwrap_err().status(), 413);
    }

    #[test]
    fn what_is_collected_at_once_is_bounded_together() {
        let (places, data) = (Places::new(true), vec![b'x'; MAX_OUTPUT_BYTES]);
        let mut held = Vec::new();
        let refused = loop {
            let output = Collected::new(&places, &ProjectId::default(), too_much);
            match output.and_then(|mut output| output.add(&data).map(|()| output)) {
                Ok(output) => held.push(output),
                Err(error) => break error,
            }
            assert!(held.len() < 1000, "nothing is refused");
        };
        assert_eq!(refused.status(), 429);
        held.pop();
        assert!(collected(&places).add(&data).is_ok(), "room is given back");
    }

    #[test]
    fn the_length_in_json_is_counted_before_it_is_written() {
        let all: Vec<u8> = (0..0x80).collect();
        for text in [
            "",
            "plain",
            "\"quoted\" and \\",
            "line\nbreak\r\ttab",
            "\0\0\u{1}\u{8}\u{c}\u{1f}\u{7f}",
            "日本語 é",
            std::str::from_utf8(&all).unwrap(),
        ] {
            let written = serde_json::to_string(text).unwrap().len() - 2;
            assert_eq!(json_length(text.as_bytes()), written, "{text:?}");
        }
    }
}
