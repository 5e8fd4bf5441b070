//! The newest events as text, so that an event is turned into text once, however many follow.
//!
//! Not here: what the text says (`events/cloudevent.rs`), how it is sent (`stream_form`).

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;

use crate::ids::Position;

/// Events that are kept: what a few hundred milliseconds bring, and more than those who follow
/// are apart.
const EVENTS: usize = 256;

/// Longest text that is kept: most are of 1 KB. All together stay under 4 MB.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// An event's text for those who name the service like this.
#[derive(Default)]
struct Text {
    position: Position,
    host: String,
    bytes: Bytes,
}

/// Texts of the newest events. Cheap to clone.
#[derive(Clone)]
pub struct Recent(Arc<[Mutex<Text>]>);

impl Default for Recent {
    fn default() -> Self {
        Self((0..EVENTS).map(|_| Mutex::default()).collect())
    }
}

impl Recent {
    /// The text of the event at a position for readers who name the service `host`, made by
    /// whoever asks first. It must depend on nothing else.
    pub fn text(&self, position: Position, host: &str, make: impl FnOnce() -> String) -> Bytes {
        let Some(slot) = self.slot(position) else { return make().into() };
        let kept = || slot.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let kept = kept();
            if kept.position == position && kept.host == host {
                return kept.bytes.clone();
            }
        }
        let bytes = Bytes::from(make());
        if bytes.len() <= MAX_TEXT_BYTES {
            let mut kept = kept();
            // Who reads old events does not push out the new ones.
            if kept.position < position {
                *kept = Text { position, host: host.to_owned(), bytes: bytes.clone() };
            }
        }
        bytes
    }

    fn slot(&self, position: Position) -> Option<&Mutex<Text>> {
        self.0.get((position.get() % EVENTS as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_text_is_made_once_while_it_is_new_and_short() {
        let (recent, made) = (Recent::default(), Cell::new(0));
        let read = |position: u64, host: &str, bytes: usize| {
            let text = recent.text(Position(position), host, || {
                made.set(made.get() + 1);
                format!("{position:0bytes$}{host}")
            });
            assert_eq!(text, format!("{position:0bytes$}{host}"));
            made.get()
        };
        let later = 1 + EVENTS as u64;
        assert_eq!(read(1, "a", 10), 1);
        assert_eq!(read(1, "a", 10), 1);
        assert_eq!(read(1, "b", 10), 2, "it says who is asked");
        assert_eq!(read(later, "a", 10), 3);
        assert_eq!(read(1, "a", 10), 4, "it was pushed out");
        assert_eq!(read(later, "a", 10), 4, "an old one pushes out none");
        assert_eq!(read(2, "a", MAX_TEXT_BYTES), 5);
        assert_eq!(read(2, "a", MAX_TEXT_BYTES), 6, "it is too long to keep");
    }
}
