//! Whether records follow each other: dense positions, the chain, complete appends.
//!
//! Shared by opening and verifying. Not here: what to do about it.

use super::super::chain::{self, Hash};
use super::fault::Fault;
use super::file::{Header, Segment};
use super::record::{Frame, Location, Record};
use super::remains::Remains;
use super::scan::Scanner;
use crate::ids::{Position, StreamId};

/// Where a walk over the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The last record; nowhere before the first one.
    pub last: Location,
    /// Its position.
    pub position: Position,
    /// The chain up to and including it.
    pub hash: Hash,
    /// The highest epoch so far.
    pub epoch: u32,
    /// Where the write began that the last record is part of.
    pub group: u32,
    /// How many events of its append are to follow, of which object.
    open: Option<(u16, StreamId)>,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The last record.
    pub walk: Walk,
    /// Where the next record goes; nowhere in a log without segments.
    pub next: Location,
}

impl Walk {
    /// Before the first event of the log.
    pub const START: Self = Self {
        last: Location { segment: 0, offset: 0 },
        position: Position(0),
        hash: chain::GENESIS,
        epoch: 0,
        group: 0,
        open: None,
    };

    /// After the last event of an append.
    pub const fn after(last: Location, frame: &Frame) -> Self {
        let Frame { position, hash, epoch, group, .. } = *frame;
        Self { last, position, hash, epoch, group, open: None }
    }

    /// Whether the last append is whole.
    pub const fn is_whole(&self) -> bool {
        self.open.is_none()
    }

    /// After all that a segment held, though an archive has taken some of it.
    pub fn over(self, header: &Header) -> Self {
        let Some(remains) = header.remains else { return self };
        let Remains { last, last_position: position, chain: hash, .. } = remains;
        Self { last, position, hash, ..self }
    }

    /// Goes on to the next record of a segment, from which an archive may have taken others.
    ///
    /// # Errors
    /// Why it does not follow. The walk stays where it was.
    pub fn step(
        &mut self,
        segment: &Segment,
        record: &Record<'_>,
        at: Location,
    ) -> Result<(), &'static str> {
        let frame = &record.frame;
        let position = self.position.next();
        let is_next = frame.position == position;
        if !is_next && (segment.header.remains.is_none() || frame.position < position) {
            return Err("the record's position does not follow the one before it");
        }
        let hash = chain::extend(&self.hash, position, &chain::digest(record.content_bytes));
        if is_next && frame.hash != hash {
            return Err("the record's hash does not continue the chain");
        }
        if frame.epoch < self.epoch {
            return Err("the record has an earlier epoch than the one before it");
        }
        let stream = record.content.stream;
        if self.open.is_some_and(|open| open != (frame.left.saturating_add(1), stream)) {
            return Err("the append before it is incomplete");
        }
        self.position = frame.position;
        self.hash = frame.hash;
        self.open = (frame.left > 0).then_some((frame.left, stream));
        self.last = at;
        self.epoch = frame.epoch;
        self.group = frame.group;
        Ok(())
    }
}

/// Checks that a segment continues the one before it, from its header and that one's last record.
///
/// # Errors
/// When it does not.
pub fn check_link(before: Option<&Segment>, segment: &Segment) -> Result<(), Fault> {
    let header = &segment.header;
    let broken = |what| Err(segment.damaged(0, header.first.get(), what));
    let Some(before) = before else {
        if header.number != 1 || header.first != Position(1) || header.chain != chain::GENESIS {
            return broken("the first segment is missing");
        }
        return Ok(());
    };
    if header.folder != before.header.folder {
        return broken("the segment belongs to another data directory");
    }
    if header.number != before.header.number.saturating_add(1) {
        return broken("the segment before it is missing");
    }
    let last = header.last_before;
    if header.first == before.header.first {
        // Nothing was written to the one before: it was too small for what came next.
        let same = header.chain == before.header.chain && last == before.header.last_before;
        return if same { Ok(()) } else { broken("the segment continues another chain") };
    }
    if let Some(Remains { last, last_position, chain, end, .. }) = before.header.remains {
        let next = (last_position.next(), chain, last, end);
        let same = next == (header.first, header.chain, header.last_before, header.end_before);
        return if same { Ok(()) } else { broken("it does not continue what was archived") };
    }
    let mut scanner = Scanner::new(before, last.offset);
    let follows = last.segment == before.header.number
        && scanner.next_record()?.is_some_and(|record| {
            let frame = &record.frame;
            frame.position.next() == header.first && frame.hash == header.chain
        })
        && scanner.offset() == header.end_before;
    if follows {
        return Ok(());
    }
    let what = "the next segment does not continue the last record of this one";
    Err(before.damaged(u64::from(last.offset), header.first.get().saturating_sub(1), what))
}
