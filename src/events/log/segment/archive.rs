//! Removing old events from a log, after a backup has all of them.
//!
//! Whole segments are archived from the first one on, never the last one, which is being written.
//! What is still needed of each stays (`remains.rs`) under its name and at its place, so that
//! nothing else changes. Files are replaced one at a time and atomically: an interrupted run has
//! done some segments and can be repeated. Not here: what is still needed (`projections`).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::SEGMENT_HEADER_BYTES;
use super::backup::verify_backup;
use super::disk::{Disk, Folder, write_all};
use super::fault::Fault;
use super::file::{Header, Segment};
use super::lock::FolderLock;
use super::manifest::{BackupDisk, BackupError, io_at};
use super::names;
use super::recover::{self, Survey};
use super::remains::{Extents, Remains};
use super::scan::{self, Scanner};
use super::verify::{self, Examined, hash_at_on};
use crate::ids::{Position, StreamId};

/// The file of what is being left of a segment; an opening of the log removes it.
const UNFINISHED: &str = "next-archive.new";

/// What can be archived.
#[derive(Debug)]
pub struct Plan {
    /// The last position of it.
    pub position: Position,
    /// Each segment with the header of the one after it.
    segments: Vec<(Arc<Segment>, Header)>,
}

/// What was archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// The last position that an archive has taken.
    pub archived: Position,
    /// Events that were taken from the log.
    pub taken: u64,
    /// Events that are left in the segments that events were taken from.
    pub left: u64,
    /// Bytes of files that were given back.
    pub freed: u64,
}

/// Which segments of a log end at or before a position; the log and a backup that has all of them
/// are read whole for it.
///
/// # Errors
/// When there is no such segment, or one of the two is not what it must be.
pub fn plan(lock: &FolderLock, until: Position, backup: &Path) -> Result<Plan, BackupError> {
    let disk = Folder::new(lock.folder());
    let Examined { verified, segments, .. } = verify::examine(&disk)?;
    if let Some(damage) = verified.damage.first() {
        return Err(BackupError::Refused(format!("{}; nothing is archived", damage.place())));
    }
    let pairs = segments.iter().zip(segments.iter().skip(1).map(|next| next.header));
    let filled = pairs.filter(|(segment, next)| next.first > segment.header.first);
    let mut filled = filled.map(|(segment, next)| (Arc::clone(segment), next)).peekable();
    let first_end = filled.peek().map(|(_, next)| next.first.before());
    let segments: Vec<_> = filled.take_while(|(_, next)| next.first.before() <= until).collect();
    let Some(position) = segments.last().map(|(_, next)| next.first.before()) else {
        return Err(too_little(verified.head, first_end));
    };
    let whole = whole_in(backup, &segments, position)?;
    // Those too that were archived before: of an object that went since, its end must not go and
    // its beginning stay.
    if segments.iter().any(|(segment, _)| !whole.contains_key(&number(segment))) {
        return Err(BackupError::Refused(format!(
            "{} does not contain all events up to position {position}: some were archived \
             before it was made. Use the backup that has them.",
            backup.display()
        )));
    }
    Ok(Plan { position, segments })
}

const fn number(segment: &Segment) -> u32 {
    segment.header.number
}

fn too_little(head: Position, first_end: Option<Position>) -> BackupError {
    BackupError::Refused(match first_end {
        Some(end) => format!(
            "only whole segments are archived, and the first one ends at position {end}: use \
             that position or a later one"
        ),
        None => format!(
            "only whole segments are archived, and the log, which ends at position {head}, has \
             only its current one: there is nothing to archive yet"
        ),
    })
}

/// The segments that a backup has whole, by number; it has all events up to a position, the last
/// one of these segments.
fn whole_in(
    backup: &Path,
    segments: &[(Arc<Segment>, Header)],
    position: Position,
) -> Result<BTreeMap<u32, Arc<Segment>>, BackupError> {
    let refused = |why: String| {
        Err(BackupError::Refused(format!(
            "{}: {why}. What is archived must be in a backup: `magnum backup` makes one.",
            backup.display()
        )))
    };
    let checked = verify_backup(backup)?;
    if let Some(wrong) = checked.wrong.first() {
        return refused(wrong.clone());
    }
    let Some((last, next)) = segments.last() else { return Ok(BTreeMap::new()) };
    if checked.manifest.folder != last.header.folder {
        return refused(format!(
            "it is of data directory {}, this one is {}",
            checked.manifest.folder, last.header.folder
        ));
    }
    let disk = BackupDisk::new(backup, &checked.manifest);
    if hash_at_on(&disk, position)? != Some(next.chain) {
        return refused(format!(
            "it ends at position {} and does not contain the same events up to {position}",
            checked.manifest.last
        ));
    }
    let Survey { segments, .. } = recover::survey(&disk)?;
    let whole = segments.into_iter().filter(|segment| segment.header.remains.is_none());
    Ok(whole.map(|segment| (number(&segment), segment)).collect())
}

/// Takes from the planned segments all events but those that `needs` names, by object and position.
///
/// # Errors
/// What the system says. Some segments may be archived then; planning and doing it again goes on.
pub fn archive(
    lock: &FolderLock,
    plan: &Plan,
    needs: impl Fn(StreamId, Position) -> bool,
) -> Result<ArchiveReport, BackupError> {
    let disk = Folder::new(lock.folder());
    let mut done = ArchiveReport::default();
    for (segment, next) in &plan.segments {
        let path = lock.folder().join(names::name(number(segment)));
        let size = || path.metadata().map(|found| found.len()).map_err(io_at(&path));
        let before = size()?;
        let failed = |fault: Fault| fault.into_open_error(disk.path());
        let (extents, records) = select(segment, next, &needs).map_err(failed)?;
        let all = next.first.get() - segment.header.first.get();
        let had = segment.header.remains.map_or(all, |remains| u64::from(remains.records));
        let goes = had.saturating_sub(u64::from(records));
        if goes == 0 {
            continue;
        }
        leave(&disk, segment, next, (&extents, records), plan.position).map_err(failed)?;
        done.taken += goes;
        done.freed += before.saturating_sub(size()?);
    }
    let segments = recover::open_segments(&disk)?;
    done.archived = scan::archived(&segments);
    let remains = segments.iter().filter_map(|segment| segment.header.remains);
    done.left = remains.map(|remains| u64::from(remains.records)).sum();
    Ok(done)
}

/// What is wrong with what archiving has left of a log, as the backup that has all shows; nothing
/// where it is what was recorded.
///
/// # Errors
/// When one of the two cannot be read, or the backup is not of this log.
pub fn compare(log: &Path, backup: &Path) -> Result<Vec<String>, BackupError> {
    let disk = Folder::read_only(log);
    let segments = recover::open_segments(&disk)?;
    let headers: Vec<_> = segments.iter().skip(1).map(|next| next.header).collect();
    let archived = segments.into_iter().zip(headers);
    let archived: Vec<_> =
        archived.filter(|(segment, _)| segment.header.remains.is_some()).collect();
    let last = archived.last().map_or(Position(0), |(_, next)| next.first.before());
    let whole = whole_in(backup, &archived, last)?;
    let mut wrong = Vec::new();
    for (segment, _) in &archived {
        let name = names::name(number(segment));
        let Some(other) = whole.get(&number(segment)) else {
            wrong.push(format!("{}: segment {name} is incomplete there", backup.display()));
            continue;
        };
        let differs = differs(segment, other);
        if let Some(at) = differs.map_err(|fault| fault.into_open_error(disk.path()))? {
            wrong.push(format!("the event at position {at} in {name} is not what was recorded"));
        }
    }
    Ok(wrong)
}

/// The position of the first record of a segment that another copy of it has otherwise.
fn differs(segment: &Segment, other: &Segment) -> Result<Option<Position>, Fault> {
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
    let mut beside = Scanner::new(other, SEGMENT_HEADER_BYTES as u32);
    loop {
        let at = scanner.offset();
        let Some(record) = scanner.next_record()? else { return Ok(None) };
        while beside.offset() < at && beside.next_bytes()?.is_some() {}
        let other = if beside.offset() == at { beside.next_record()? } else { None };
        let is_same = other.is_some_and(|other| {
            other.frame == record.frame
                && other.content_bytes == record.content_bytes
                && other.command == record.command
        });
        if !is_same {
            return Ok(Some(record.frame.position));
        }
    }
}

/// Where the records are that are needed, and how many.
fn select(
    segment: &Segment,
    next: &Header,
    needs: &impl Fn(StreamId, Position) -> bool,
) -> Result<(Extents, u32), Fault> {
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
    let (mut extents, mut records) = (Extents::default(), 0);
    loop {
        let at = scanner.offset();
        let Some(record) = scanner.next_record()? else {
            // It was verified; a read that now fails must not be taken for its end.
            let what = "it can no longer be read";
            let is_end = at == next.end_before;
            return if is_end {
                Ok((extents, records))
            } else {
                Err(segment.damaged(at.into(), 0, what))
            };
        };
        if needs(record.content.stream, record.frame.position) {
            extents.add(at, record.bytes());
            records += 1;
        }
    }
}

/// Puts what is needed of a segment in its place, once it is verified and durable.
fn leave(
    disk: &dyn Disk,
    segment: &Segment,
    next: &Header,
    (extents, records): (&Extents, u32),
    archived: Position,
) -> Result<(), Fault> {
    let file = disk.create(UNFINISHED)?;
    let table = extents.to_bytes();
    let mut hasher = blake3::Hasher::new();
    let mut at = SEGMENT_HEADER_BYTES as u64;
    let mut write = |bytes: &[u8]| {
        hasher.update(bytes);
        write_all(file.as_ref(), bytes, at)?;
        at += bytes.len() as u64;
        Ok::<_, io::Error>(())
    };
    write(&table)?;
    extents.each(segment.file.as_ref(), write)?;
    let remains = Remains {
        records,
        extents: extents.len(),
        table_sum: crc32c::crc32c(&table),
        end: next.end_before,
        digest: *hasher.finalize().as_bytes(),
        last: next.last_before,
        last_position: next.first.before(),
        chain: next.chain,
        archived,
    };
    let header = Header { remains: Some(remains), ..segment.header };
    write_all(file.as_ref(), &header.to_bytes(), 0)?;
    file.sync()?;
    let unlike = || segment.damaged(0, 0, "what was written differs from what was read");
    let written = Segment::open(header, disk.open(UNFINISHED)?)?.ok_or_else(unlike)?;
    if verify::check(&written, Some(next.end_before))?.damage.is_some() {
        return Err(unlike());
    }
    disk.rename(UNFINISHED, &names::name(number(segment)))?;
    Ok(disk.sync_names()?)
}
