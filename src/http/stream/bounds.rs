//! How much of the log one request for events reads and answers with.

use crate::events::Recorded;

/// Events that are read at once.
pub const PAGE: usize = 256;

/// Bytes of events after which a page ends, whatever its limit: a thousand as a rule. It always has
/// one, which has 8 MiB at most; as JSON they may take several times as much.
pub const PAGE_BYTES: usize = 2 << 20;

/// Events that one request looks at for those it wants: some tens of milliseconds. Where they are
/// not among them, the answer says where to go on.
pub const SCAN: usize = 20_000;

/// Bytes of events that it looks at, which are as many as a rule: for a log of large ones.
pub const SCAN_BYTES: usize = 64 << 20;

/// Bytes of what can be long in an event.
pub fn size(event: &Recorded) -> usize {
    event.payload.len() + event.meta.command.as_ref().map_or(0, String::len)
}
