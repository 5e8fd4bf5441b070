//! How a log of segments is opened.
//!
//! Not here: opening it (`recover`).

use uuid::Uuid;

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Most bytes of a new segment; larger where one append needs more, at most 4 GiB. The first
    /// ones are smaller.
    pub segment_bytes: u64,
    /// The id of the data directory if it is a new one.
    pub folder: Uuid,
}
