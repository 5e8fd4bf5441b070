//! The end of the last segment: torn by a power failure, or damaged.
//!
//! The writer syncs every write before it begins the next, and each record says where its write
//! began (its *group*). So a bad record is torn only if every valid record after it belongs to a
//! write that began at or before it; one whose write began later proves that the bad record was
//! durable once, which is damage.
//!
//! What is read after a failed sync may be in memory only, while the kernel believes that it is on
//! disk. So the last write is written again before anything depends on it. Not here: repair that
//! loses something (`repair.rs`).

use super::disk::write_all;
use super::fault::Fault;
use super::file::Segment;
use super::index::Entries;
use super::record::{self, ALIGNMENT, Location, Record};
use super::walk::{LogEnd, Walk};
use crate::ids::Position;

/// Bytes that are looked at or zeroed at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Where reading a segment ended.
#[derive(Debug)]
pub struct Tail {
    /// After the last whole append.
    pub whole: LogEnd,
    /// Where no valid record follows.
    pub bad: Location,
    /// Why.
    pub why: &'static str,
    /// The last valid record, of an append that may not be whole.
    pub walk: Walk,
    /// What the index is to learn of the whole appends of the last write, once it is durable.
    pub held: Entries,
}

impl Tail {
    /// The damage that it is if something else shows that a record should be there.
    pub fn damaged(&self, segment: &Segment, proof: &str) -> Fault {
        let what = format!("{}, and {proof}", self.why);
        segment.damaged(u64::from(self.bad.offset), self.walk.position.next().get(), &what)
    }
}

/// Cuts a torn tail and makes what is before it durable.
///
/// `known` is a position that was durable once, as the index says.
///
/// # Errors
/// When something is damaged that was durable.
pub fn settle(segment: &Segment, tail: &Tail, known: Option<Position>) -> Result<(), Fault> {
    let dirty = last_byte(segment, tail.bad.offset)?;
    if dirty.is_none() && tail.walk.is_whole() {
        return rewrite(segment, &tail.whole);
    }
    let bad = u64::from(tail.bad.offset);
    let end = dirty.unwrap_or(bad);
    if let Some(after) = proof(segment, bad, end)? {
        let what = format!("a record that was written later follows at offset {after}");
        return Err(tail.damaged(segment, &what));
    }
    if let Some(known) = known.filter(|known| *known > tail.whole.walk.position) {
        return Err(tail.damaged(segment, &format!("the index knows events up to {known}")));
    }
    let cut = u64::from(tail.whole.next.offset);
    tracing::warn!(
        segment = segment.header.number,
        offset = cut,
        bytes = end.saturating_sub(cut),
        position = tail.whole.walk.position.next().get(),
        "the end of the log was torn and never acknowledged; it is truncated"
    );
    zero(segment, cut, end)?;
    rewrite(segment, &tail.whole)
}

/// Writes the last write of a segment again, and syncs.
fn rewrite(segment: &Segment, end: &LogEnd) -> Result<(), Fault> {
    if end.walk.last.segment == segment.header.number {
        let (from, to) = (end.walk.group, end.next.offset);
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        let read = segment.file.read_at(&mut bytes, u64::from(from))?;
        bytes.truncate(read);
        write_all(segment.file.as_ref(), &bytes, u64::from(from))?;
    }
    Ok(segment.file.sync()?)
}

/// The offset behind the last byte from an offset on that is not zero.
///
/// # Errors
/// What the disk says.
pub fn last_byte(segment: &Segment, from: u32) -> Result<Option<u64>, Fault> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = u64::from(from);
    let mut last = None;
    loop {
        let read = segment.file.read_at(&mut chunk, offset)?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if let Some(index) = bytes.iter().rposition(|byte| *byte != 0) {
            last = Some(offset + index as u64 + 1);
        }
        offset += read as u64;
        if read < CHUNK_BYTES {
            return Ok(last);
        }
    }
}

/// The offset of a valid record that proves the one at `bad` was durable once.
///
/// # Errors
/// What the disk says.
pub fn proof(segment: &Segment, bad: u64, end: u64) -> Result<Option<u64>, Fault> {
    let mut offset = bad + ALIGNMENT;
    if offset >= end {
        return Ok(None);
    }
    let bytes = whole(segment, bad, end)?;
    while offset < end {
        let rest = bytes.get((offset - bad) as usize..).unwrap_or_default();
        // The form first: the checksum of everything that happens to begin with a length would take
        // forever.
        let formed = Record::parse_unchecked(rest);
        if formed.is_some_and(|record| u64::from(record.frame.group) > bad)
            && Record::parse(rest, segment.salt, offset as u32).is_some()
        {
            return Ok(Some(offset));
        }
        offset += ALIGNMENT;
    }
    Ok(None)
}

/// The bytes from an offset on, with all of each record that begins before `end`. Behind that there
/// are only zeros, but a record may end in zeros too.
///
/// # Errors
/// What the disk says.
pub fn whole(segment: &Segment, from: u64, end: u64) -> Result<Vec<u8>, Fault> {
    let to = (end + record::MOST_BYTES as u64).min(u64::from(segment.header.size));
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)];
    let read = segment.file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Overwrites a part of a segment with zeros.
///
/// # Errors
/// What the disk says.
pub fn zero(segment: &Segment, from: u64, to: u64) -> Result<(), Fault> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut offset = from;
    while offset < to {
        let bytes = usize::try_from(to - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        write_all(segment.file.as_ref(), zeros.get(..bytes).unwrap_or_default(), offset)?;
        offset += bytes as u64;
    }
    Ok(())
}
