//! Reading events: forward from a position, or the events of one stream along its back links.
//!
//! Every record's checksum is verified; reading ends at an invalid record.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::super::{Each, READ_BYTES, ReadError};
use super::index::Head;
use super::record::{Frame, Location, Record, SKIP_REVISIONS};
use super::scan::{Fetcher, Scanner, Segments};
use crate::events::Recorded;
use crate::ids::{Position, Revision, StreamId};

/// Bytes of records that are held at once on the way back along a stream.
const HELD_BYTES: usize = 4 << 20;

/// Up to `limit` events after a position, none of them after `head`; fewer where these have
/// [`READ_BYTES`].
///
/// # Errors
/// See [`ReadError`].
pub fn forward(
    segments: &Segments,
    head: Position,
    after: Position,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    scan(segments, head, after, limit, |record| {
        events.push(record.recorded()?);
        bytes += record.content_bytes.len();
        Ok(if bytes < READ_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(events)
}

/// Hands over up to `limit` events after a position, none of them after `head`; how many.
///
/// # Errors
/// See [`ReadError`], and what `each` says.
pub fn scan_events(
    segments: &Segments,
    head: Position,
    after: Position,
    limit: usize,
    each: &mut Each<'_>,
) -> Result<usize, ReadError> {
    scan(segments, head, after, limit, |record| {
        each(&record.borrowed()?).map(ControlFlow::Continue)
    })
}

/// Hands over up to `limit` records after a position, none of them after `head`, until `each` ends
/// it; how many.
///
/// # Errors
/// See [`ReadError`], and what `each` says.
fn scan(
    segments: &Segments,
    head: Position,
    after: Position,
    limit: usize,
    mut each: impl FnMut(&Record<'_>) -> Result<ControlFlow<()>, ReadError>,
) -> Result<usize, ReadError> {
    let mut next = after.next();
    let behind = head.get().saturating_sub(after.get());
    let most = usize::try_from(behind).unwrap_or(usize::MAX).min(limit);
    let mut left = most;
    while left > 0 && next <= head {
        let Some(segment) = segments.holding(next) else { break };
        let following = segments.get(segment.header.number.saturating_add(1));
        let end = following.map_or(u64::MAX, |following| following.header.first.get());
        let end = end.min(head.next().get());
        let mut scanner = Scanner::new(&segment, segment.seek(next)?);
        while left > 0 && next.get() < end {
            let at = Location { segment: segment.header.number, offset: scanner.offset() };
            if segment.end() == Some(at) {
                // An archive has taken the rest of it.
                next = Position(end);
                break;
            }
            let record = scanner.next_record().map_err(|error| ReadError::Io(error.to_string()))?;
            let is_next = |it: &Record<'_>| {
                it.frame.position == next || it.frame.position > next && segment.end().is_some()
            };
            let Some(record) = record.filter(is_next) else {
                let what = "there is no valid record for this position";
                return Err(segment.damaged(u64::from(at.offset), next.get(), what).into());
            };
            next = record.frame.position.next();
            left -= 1;
            if each(&record)?.is_break() {
                return Ok(most - left);
            }
        }
    }
    Ok(most - left)
}

/// Up to `limit` events of a stream from a revision on, found back from its end; fewer where these
/// have [`READ_BYTES`].
///
/// # Errors
/// See [`ReadError`].
pub fn stream(
    segments: &Segments,
    head: Head,
    stream: StreamId,
    from: Revision,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    // Newest first: those are let go of again where all are too much.
    let (mut events, mut bytes) = (VecDeque::new(), 0);
    from_first(from, |from| {
        let first = back(segments, head, stream, from, limit, |record, all: &[u8]| {
            bytes += all.len();
            events.push_back((all.len(), record.recorded()?));
            while bytes > READ_BYTES && events.len() > 1 {
                bytes -= events.pop_front().map_or(0, |(bytes, _)| bytes);
            }
            Ok(())
        })?;
        Ok(first.filter(|_| events.is_empty()))
    })?;
    Ok(events.into_iter().rev().map(|(_, event)| event).collect())
}

/// Reads from a revision on, or, where it is said that an archive has taken that one and all that
/// were asked for, from the first that is left.
fn from_first(
    from: Revision,
    mut read: impl FnMut(Revision) -> Result<Option<Revision>, ReadError>,
) -> Result<(), ReadError> {
    match read(from)? {
        Some(first) if first > from => read(first).map(drop),
        _ => Ok(()),
    }
}

/// Hands over up to `limit` events of a stream from a revision on; how many.
///
/// # Errors
/// See [`ReadError`], and what `each` says.
pub fn scan_stream(
    segments: &Segments,
    head: Head,
    stream: StreamId,
    from: Revision,
    limit: usize,
    each: &mut Each<'_>,
) -> Result<usize, ReadError> {
    let (mut scanned, mut next) = (0, from);
    loop {
        let most = limit - scanned;
        match scan_held(segments, head, stream, next, most, each)? {
            None => return Ok(scanned),
            Some((some, last)) => {
                scanned += some;
                next = last.next();
            }
        }
    }
}

/// The same for as many as may be held at once; how many, and the last one of them.
fn scan_held(
    segments: &Segments,
    head: Head,
    stream: StreamId,
    from: Revision,
    limit: usize,
    each: &mut Each<'_>,
) -> Result<Option<(usize, Revision)>, ReadError> {
    // Newest first: those are let go of again where all are too much.
    let (mut held, mut bytes) = (VecDeque::new(), 0);
    from_first(from, |from| {
        let first = back(segments, head, stream, from, limit, |_, record: &[u8]| {
            bytes += record.len();
            held.push_back(Box::<[u8]>::from(record));
            while bytes > HELD_BYTES && held.len() > 1 {
                bytes -= held.pop_front().map_or(0, |record| record.len());
            }
            Ok(())
        })?;
        Ok(first.filter(|_| held.is_empty()))
    })?;
    let mut last = None;
    for bytes in held.iter().rev() {
        // They were found to be records just now.
        if let Some(record) = Record::parse_unchecked(bytes) {
            let event = record.borrowed()?;
            each(&event)?;
            last = Some((held.len(), event.revision));
        }
    }
    Ok(last)
}

/// Goes back from the end of a stream and hands over the records of up to `limit` of its events
/// from a revision on, the last one first. Answers with the first one that is left where an archive
/// has taken those before it.
fn back(
    segments: &Segments,
    head: Head,
    stream: StreamId,
    from: Revision,
    limit: usize,
    mut each: impl FnMut(&Record<'_>, &[u8]) -> Result<(), ReadError>,
) -> Result<Option<Revision>, ReadError> {
    let from = from.get();
    let last = from.saturating_add(limit as u64).min(head.revision.get().saturating_add(1));
    if last <= from {
        return Ok(None);
    }
    let mut fetcher = Fetcher::new(segments);
    let (mut at, mut revision) = (head.at, head.revision.get());
    // The last record, and up to where the way back goes by far links.
    let (mut newer, mut far) = (None::<(Frame, u64)>, last);
    loop {
        if segments.has_archived(at) {
            match newer.filter(|(frame, _)| frame.back != at) {
                // The far link leads beyond the first one that is left: one by one then.
                Some((frame, before)) => (at, revision, far) = (frame.back, before, u64::MAX),
                None => return Ok(Some(Revision(revision + 1))),
            }
            continue;
        }
        let (record, bytes) = fetcher.record(at)?;
        let content = &record.content;
        if content.stream != stream || content.revision.get() != revision {
            return Err(ReadError::Damaged(format!(
                "the index points to segment {}, offset {} for revision {revision} of {stream}, \
                 but another event is there; check with `magnum log verify`",
                at.segment, at.offset
            )));
        }
        if revision < last {
            each(&record, bytes)?;
        }
        let Some(before) = revision.checked_sub(1).filter(|before| *before >= from) else {
            return Ok(None);
        };
        newer = Some((record.frame, before));
        (at, revision) = step_back(&record.frame, before, far);
    }
}

/// The next record on the way back: the far one while it is not yet wanted (`last` is exclusive).
fn step_back(frame: &Frame, before: u64, last: u64) -> (Location, u64) {
    let skipped = before - before % SKIP_REVISIONS;
    if skipped + 1 >= last { (frame.skip, skipped) } else { (frame.back, before) }
}
