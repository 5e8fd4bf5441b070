//! The only reader of time and randomness. Everything else gets both through `Ctx` (rule E2).

use chrono::Utc;
use uuid::Uuid;

use crate::ids::{EventId, ObjectId, Timestamp};

/// The wall clock, for stamping events. Never used to order them: positions do that.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp(Utc::now().timestamp_micros())
}

/// A new id that sorts by the time it was made (UUID version 7).
#[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// An id for a new object.
pub fn new_object_id() -> ObjectId {
    ObjectId(new_uuid())
}

/// An id for an event that is about to be appended.
pub fn new_event_id() -> EventId {
    EventId(new_uuid())
}

/// Random bytes that make a key: the kernel's, which nobody can guess.
///
/// # Errors
/// When the kernel has none.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    // Up to 256 bytes are given whole or not at all.
    let given = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if given == bytes.len() { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// A random delay up to `limit_ms`, so that many retries do not come at once.
#[expect(clippy::disallowed_methods, reason = "the one place that reads randomness")]
pub fn jitter_ms(limit_ms: u64) -> u64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    high.checked_rem(limit_ms).unwrap_or(0)
}
