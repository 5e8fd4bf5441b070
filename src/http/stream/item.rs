//! The items of a stream.

use axum::body::Bytes;
use serde_json::Value;

use crate::ids::Position;

/// Most bytes around an event's document: its position and the names of two fields.
const FRAME_BYTES: usize = 40;

/// Something that a stream sends.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event as JSON, with its position.
    Event(Position, Bytes),
    /// What is not an event: `heartbeat`, `object`, `snapshot`, `end`, `error`. With the position
    /// to resume after where there is one.
    Control(&'static str, Option<Position>, Value),
}

impl Item {
    /// Bytes that an event takes, or a few more; all else comes seldom.
    pub const fn room(&self) -> usize {
        match self {
            Self::Event(_, document) => document.len() + FRAME_BYTES,
            Self::Control(..) => 0,
        }
    }
}
