//! Opening a log: which segments exist, where the tail ends, what the index is missing.
//!
//! Costs the tail, not the log (rule L7). Not here: what a torn tail is (`tail.rs`).

use std::io;
use std::sync::Arc;

use super::super::OpenError;
use super::claim::Claim;
use super::disk::{Disk, read_full};
use super::fault::{Damage, Fault};
use super::file::{self, Header, HeaderError, Segment};
use super::index::{Checkpoint, Entries, Index};
use super::names;
use super::record::{Location, Record};
use super::scan::Scanner;
use super::tail::{self, Tail};
use super::walk::{self, LogEnd, Walk};
use super::{SEGMENT_HEADER_BYTES, SegmentOptions};
use crate::files::is_full;

/// An opened log.
pub struct Recovered {
    /// Its segments.
    pub segments: Vec<Arc<Segment>>,
    /// Where it ends.
    pub end: LogEnd,
    /// Who writes it now.
    pub claim: Claim,
}

/// Opens what is in a folder and brings the index up to date.
///
/// # Errors
/// See [`OpenError`].
pub fn recover(
    disk: &dyn Disk,
    index: &Index,
    options: &SegmentOptions,
) -> Result<Recovered, OpenError> {
    let io = |source| OpenError::Io { path: disk.path(), source };
    let segments = open_segments(disk)?;
    let claimed = Claim::read(disk).map_err(io)?;
    let folder = match (segments.first(), claimed) {
        (Some(segment), _) => segment.header.folder,
        (None, Some(claim)) => claim.folder,
        (None, None) => options.folder,
    };
    if let Some(last) = segments.last() {
        // What a killed process wrote may still be on its way to the disk.
        last.file.sync().and_then(|()| disk.sync_names()).map_err(io)?;
    }
    let end =
        catch_up(&segments, index, folder).map_err(|fault| fault.into_open_error(disk.path()))?;
    let inode = disk.identity().map_err(io)?;
    if claimed.is_some_and(|claim| claim.folder == folder && claim.inode != inode) {
        tracing::warn!(
            folder = disk.path(),
            "this data directory is a copy of one that was used elsewhere; if that one is still \
             in use, stop one of them: both act on the same backends"
        );
    }
    let epoch = claimed.map_or(0, |claim| claim.epoch).max(end.walk.epoch).saturating_add(1);
    let claim = Claim { folder, epoch, inode };
    match claim.write(disk) {
        Err(error) if is_full(&error) => {
            tracing::warn!(%error, "no space to note the new writer of the log; its records \
                will identify it");
        }
        other => other.map_err(io)?,
    }
    // What an opening before this one was making ready; the room is wanted again.
    for name in disk.list().map_err(io)?.iter().filter(|name| names::is_unfinished(name)) {
        disk.remove(name).map_err(io)?;
    }
    Ok(Recovered { segments, end, claim })
}

/// Opens all segments, checks their headers and that each continues the one before it.
///
/// # Errors
/// See [`OpenError`].
pub fn open_segments(disk: &dyn Disk) -> Result<Vec<Arc<Segment>>, OpenError> {
    let Survey { segments, broken } = survey(disk)?;
    match broken {
        Some(damage) => Err(Fault::Damaged(damage).into_open_error(disk.path())),
        None => Ok(segments),
    }
}

/// The segments of a log.
pub struct Survey {
    /// Those that are there and continue each other.
    pub segments: Vec<Arc<Segment>>,
    /// Why the next one is not among them.
    pub broken: Option<Damage>,
}

/// Opens segments up to the first one that is missing, is none, or does not continue the log.
///
/// # Errors
/// When files cannot be read, or a newer program wrote them.
pub fn survey(disk: &dyn Disk) -> Result<Survey, OpenError> {
    let io = |source| OpenError::Io { path: disk.path(), source };
    let names = disk.list().map_err(io)?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| names::number(name)).collect();
    numbers.sort_unstable();
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(numbers.len());
    for number in numbers {
        let linked = open_segment(disk, number)?.map_err(Fault::Damaged).and_then(|segment| {
            walk::check_link(segments.last().map(AsRef::as_ref), &segment).map(|()| segment)
        });
        match linked {
            Ok(segment) => segments.push(Arc::new(segment)),
            Err(Fault::Damaged(damage)) => return Ok(Survey { segments, broken: Some(damage) }),
            Err(fault) => return Err(fault.into_open_error(disk.path())),
        }
    }
    Ok(Survey { segments, broken: None })
}

/// Opens a segment, or says what is wrong with its header.
///
/// # Errors
/// When the file cannot be read, or a newer program wrote it.
pub fn open_segment(disk: &dyn Disk, number: u32) -> Result<Result<Segment, Damage>, OpenError> {
    let name = names::name(number);
    let path = || format!("{}/{name}", disk.path());
    let io = |source| OpenError::Io { path: path(), source };
    let file = disk.open(&name).map_err(io)?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = read_full(file.as_ref(), &mut bytes, 0)
        .map_err(|error| io(file::unreadable(number, 0, &error)))?;
    bytes.truncate(read);
    let damaged = |what: &str| {
        Ok(Err(Damage { segment: number, offset: 0, position: 0, what: what.to_owned() }))
    };
    let header = match Header::from_bytes(&bytes) {
        Ok(header) => header,
        Err(HeaderError::Newer(found)) => {
            return Err(OpenError::Newer { path: path(), found, known: file::FORMAT });
        }
        Err(HeaderError::Damaged(what)) => return damaged(what),
    };
    if header.number != number {
        return damaged("the file has the name of another segment");
    }
    match Segment::open(header, file).map_err(io)? {
        Some(segment) => Ok(Ok(segment)),
        None if header.remains.is_some() => damaged(
            "the table of its remaining records is \
            damaged",
        ),
        None => damaged("the file is shorter than its header says"),
    }
}

/// Reads what the index does not know yet, or all of it, and finds the end.
fn catch_up(segments: &[Arc<Segment>], index: &Index, folder: uuid::Uuid) -> Result<LogEnd, Fault> {
    let known = index.known().unwrap_or_else(|error| {
        tracing::warn!(%error, "the index of the log cannot be read; it is rebuilt");
        None
    });
    let known = known.filter(|known| known.all.folder == folder && known.most.folder == folder);
    let resumed = match known {
        // What the log does not have must not be in the index either.
        Some(known) if resume(segments, known.most)?.is_some() => resume(segments, known.all)?,
        _ => None,
    };
    let mut end = match resumed {
        Some(end) => end,
        None => {
            index.clear().map_err(|error| Fault::Io(io::Error::other(error)))?;
            start(segments)
        }
    };
    let known = known.map(|known| known.most.position);
    for (segment, next) in segments.iter().zip(segments.iter().skip(1).map(Some).chain([None])) {
        let number = segment.header.number;
        if number < end.next.segment {
            continue;
        }
        if number > end.next.segment {
            end.next = Location { segment: number, offset: SEGMENT_HEADER_BYTES as u32 };
        }
        let found = read_segment(segment, end, index, folder)?;
        end = found.whole;
        if segment.end() == Some(found.bad) {
            end.walk = end.walk.over(&segment.header);
        }
        match next {
            None => tail::settle(segment, &found, known)?,
            Some(next) if found.bad.offset == next.header.end_before => {}
            Some(_) => return Err(found.damaged(segment, "valid segments follow")),
        }
        index.add(&found.held);
    }
    if let Some(known) = known.filter(|known| *known > end.walk.position) {
        tracing::warn!(
            known = known.get(),
            found = end.walk.position.get(),
            "the index covers more events than the log has: was the log restored from a backup?"
        );
    }
    Ok(end)
}

fn start(segments: &[Arc<Segment>]) -> LogEnd {
    let number = segments.first().map_or(0, |first| first.header.number);
    let next = Location { segment: number, offset: SEGMENT_HEADER_BYTES as u32 };
    let next = if number == 0 { Location::default() } else { next };
    LogEnd { walk: Walk::START, next }
}

/// The place of a checkpoint, if the log has the event that it names.
fn resume(segments: &[Arc<Segment>], known: Checkpoint) -> Result<Option<LogEnd>, Fault> {
    let Some(at) = known.at.known() else { return Ok(None) };
    let Some(segment) = segments.iter().find(|it| it.header.number == at.segment) else {
        return Ok(None);
    };
    let mut scanner = Scanner::new(segment, at.offset);
    let Some(record) = scanner.next_record()? else { return Ok(None) };
    let Record { frame, .. } = record;
    if frame.position != known.position || frame.hash != known.hash || frame.left > 0 {
        return Ok(None);
    }
    let walk = Walk::after(at, &frame);
    let next = Location { segment: at.segment, offset: scanner.offset() };
    Ok(Some(LogEnd { walk, next }))
}

/// Reads a segment up to where no record follows. The index learns of all whole appends but those
/// of the last write, which may not be durable.
fn read_segment(
    segment: &Segment,
    from: LogEnd,
    index: &Index,
    folder: uuid::Uuid,
) -> Result<Tail, Fault> {
    let mut scanner = Scanner::new(segment, from.next.offset);
    let mut whole = from;
    let mut walk = from.walk;
    let (mut held, mut entries) = (Entries::default(), Entries::default());
    loop {
        let at = Location { segment: segment.header.number, offset: scanner.offset() };
        let Some(record) = scanner.next_record()? else {
            return Ok(Tail { whole, bad: at, why: "there is no valid record", walk, held });
        };
        let group = walk.group;
        if let Err(why) = walk.step(segment, &record, at) {
            return Ok(Tail { whole, bad: at, why, walk, held });
        }
        if walk.group != group && index.add(&std::mem::take(&mut held)) {
            index.move_to_sled();
        }
        entries.note(folder, &record, at);
        if walk.is_whole() {
            let next = Location { segment: at.segment, offset: scanner.offset() };
            whole = LogEnd { walk, next };
            held.absorb(&std::mem::take(&mut entries));
        }
    }
}
