//! How much is read before somebody is asked whether to go on, and how much that was.

use std::mem;

/// Bytes of records after which that is asked: half a millisecond of one core, and small enough
/// for a slow reader to pause between them. An append is read whole.
const PIECE_BYTES: u64 = 256 << 10;

/// Reading that can be slowed down and stopped.
pub struct Pace<'a> {
    /// Is told how many bytes were read since it was asked last; whether to go on.
    go_on: &'a dyn Fn(u64) -> bool,
    unasked: u64,
    records: u64,
}

impl<'a> Pace<'a> {
    /// Reading on for as long as that is said.
    pub fn new(go_on: &'a dyn Fn(u64) -> bool) -> Self {
        Self { go_on, unasked: 0, records: 0 }
    }

    /// Counts a record of so many bytes.
    pub fn count(&mut self, bytes: u32) {
        self.unasked += u64::from(bytes);
        self.records += 1;
    }

    /// Whether to go on, after the last record of an append.
    pub fn goes_on(&mut self) -> bool {
        self.unasked < PIECE_BYTES || self.asks()
    }

    /// Asks whether to go on, however little was read.
    pub fn asks(&mut self) -> bool {
        (self.go_on)(mem::take(&mut self.unasked))
    }

    /// How many records were read since this was wanted last.
    pub fn take_records(&mut self) -> u64 {
        mem::take(&mut self.records)
    }
}
