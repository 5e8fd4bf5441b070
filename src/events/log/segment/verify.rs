//! Inspecting a log without opening it: its segments, and whether it is intact.
//!
//! Needs no lock and changes nothing, so it works while a server is running. Each segment's header
//! has the chain before it, so segments are verified in parallel, one per core.
//! Not here: how results are shown (`cli`).

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use uuid::Uuid;

use super::super::OpenError;
use super::super::chain::{GENESIS, Hash};
use super::SEGMENT_HEADER_BYTES;
use super::claim::Claim;
use super::disk::{Disk, Folder};
use super::fault::{Damage, Fault};
use super::file::Segment;
use super::names;
use super::pace::Pace;
use super::record::{Frame, Location};
use super::recover::{self, Survey};
use super::scan::{self, Scanner};
use super::tail;
use super::walk::{LogEnd, Walk};
use crate::ids::Position;

/// What a log consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The id of the data directory; nil where nothing was ever written.
    pub folder: Uuid,
    /// How often it was opened; 0 if nobody knows.
    pub epoch: u32,
    /// Whether the folder is a copy of the one that was last opened under this id.
    pub copied: bool,
    /// Its segments, in order.
    pub segments: Vec<SegmentInfo>,
    /// The last position that an archive has taken; 0 if there is none.
    pub archived: Position,
    /// Its last event, as far as headers and the last segment say.
    pub head: Position,
    /// The chain up to and including it.
    pub hash: Hash,
    /// Where its segments no longer continue each other, or the last one is damaged.
    pub damage: Option<Damage>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file's name.
    pub name: String,
    /// The position of its first event.
    pub first: Position,
    /// The position of its last event; before `first` if it has none.
    pub last: Position,
    /// Bytes in use.
    pub used: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Which opening of the log made it.
    pub epoch: u32,
    /// The chain before its first event.
    pub chain: Hash,
    /// How many events an archive has left in it; `None` if it is whole.
    pub left: Option<u32>,
}

/// What reading all of a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The last event of the last whole append before the first damage.
    pub head: Position,
    /// The chain up to and including it.
    pub hash: Hash,
    /// The last position that an archive has taken; 0 if there is none. Of the events up to there
    /// only those that were left are there.
    pub archived: Position,
    /// Bytes behind the last whole append: a write that is in progress, or was cut off. Opening the
    /// log takes them away.
    pub unfinished: u64,
    /// What is damaged, in order: at most one place a segment, the first.
    pub damage: Vec<Damage>,
}

/// What a log consists of. Reads headers, and the last segment to find its end.
///
/// # Errors
/// When files cannot be read, or a newer program wrote them.
pub fn info(folder: &Path) -> Result<Info, OpenError> {
    info_on(&Folder::read_only(folder))
}

/// Reads all of a log: checksums, dense positions, the chain, whole appends.
///
/// # Errors
/// When files cannot be read, or a newer program wrote them.
pub fn verify(folder: &Path) -> Result<Verified, OpenError> {
    verify_on(&Folder::read_only(folder))
}

/// The chain up to and including an event, as the log has it; `None` if it has no such event.
///
/// # Errors
/// When files cannot be read, or a newer program wrote them.
pub fn hash_at(folder: &Path, position: Position) -> Result<Option<Hash>, OpenError> {
    hash_at_on(&Folder::read_only(folder), position)
}

/// As [`hash_at`], on any disk.
///
/// # Errors
/// As [`hash_at`].
pub fn hash_at_on(disk: &dyn Disk, position: Position) -> Result<Option<Hash>, OpenError> {
    let Survey { segments, .. } = recover::survey(disk)?;
    let begun = segments.partition_point(|segment| segment.header.first <= position);
    let Some(segment) = begun.checked_sub(1).and_then(|at| segments.get(at)) else {
        return Ok((position == Position(0)).then_some(GENESIS));
    };
    let remains = segment.header.remains.filter(|remains| remains.last_position == position);
    if let Some(remains) = remains {
        return Ok(Some(remains.chain));
    }
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
    let io = |source| Fault::Io(source).into_open_error(disk.path());
    while let Some(record) = scanner.next_record().map_err(io)? {
        if record.frame.position == position {
            return Ok(Some(record.frame.hash));
        }
    }
    Ok(None)
}

/// As [`info`], on any disk.
///
/// # Errors
/// As [`info`].
pub fn info_on(disk: &dyn Disk) -> Result<Info, OpenError> {
    let io = |source| OpenError::Io { path: disk.path(), source };
    let Survey { segments, broken } = recover::survey(disk)?;
    let claim = Claim::read(disk).map_err(io)?;
    let inode = disk.identity().map_err(io)?;
    let folder = segments.first().map(|first| first.header.folder);
    let folder = folder.or(claim.map(|claim| claim.folder)).unwrap_or_default();
    let copied = claim.is_some_and(|claim| claim.folder == folder && claim.inode != inode);
    let epoch = claim.map_or(0, |claim| claim.epoch);
    let last = segments.last().map(|last| check(last, None)).transpose();
    let last = last.map_err(|fault| fault.into_open_error(disk.path()))?;
    let end = last.as_ref().map_or(NOTHING, |last| last.whole);
    let archived = scan::archived(&segments);
    let following = segments.iter().skip(1).map(Some).chain([None]);
    let segments = segments.iter().zip(following).map(|(segment, next)| SegmentInfo {
        name: names::name(segment.header.number),
        first: segment.header.first,
        last: next.map_or(end.walk.position, |next| next.header.first.before()),
        used: used(segment, next.map_or(end.next.offset, |next| next.header.end_before)),
        size: used(segment, segment.header.size),
        epoch: segment.header.epoch,
        chain: segment.header.chain,
        left: segment.header.remains.map(|remains| remains.records),
    });
    let segments = segments.collect();
    let damage = last.and_then(|last| last.damage).or(broken);
    let (head, hash) = (end.walk.position, end.walk.hash);
    Ok(Info { folder, epoch, copied, segments, archived, head, hash, damage })
}

/// As [`verify`], on any disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(disk: &dyn Disk) -> Result<Verified, OpenError> {
    examine(disk).map(|examined| examined.verified)
}

/// What reading all of a log found, and where.
pub struct Examined {
    /// What is told.
    pub verified: Verified,
    /// The last whole append before the first damage.
    pub end: LogEnd,
    /// The segments that continue each other.
    pub segments: Vec<Arc<Segment>>,
}

/// Reads all of a log.
///
/// # Errors
/// As [`verify`].
pub fn examine(disk: &dyn Disk) -> Result<Examined, OpenError> {
    let Survey { segments, broken } = recover::survey(disk)?;
    let mut end = NOTHING;
    let mut unfinished = 0;
    let mut damage: Vec<Damage> = Vec::new();
    for result in check_all(&segments) {
        let checked = result.map_err(|fault| fault.into_open_error(disk.path()))?;
        if damage.is_empty() {
            end = checked.whole;
        }
        unfinished = checked.unfinished;
        damage.extend(checked.damage);
    }
    let known = damage.last().map(|damage| damage.segment);
    damage.extend(broken.filter(|broken| known.is_none_or(|known| broken.segment > known)));
    let (head, hash) = (end.walk.position, end.walk.hash);
    let archived = scan::archived(&segments);
    let verified = Verified { head, hash, archived, unfinished, damage };
    Ok(Examined { verified, end, segments })
}

/// Reads segments, as many at once as there are cores.
fn check_all(segments: &[Arc<Segment>]) -> Vec<Result<CheckedSegment, Fault>> {
    let ends = segments.iter().skip(1).map(|next| Some(next.header.end_before)).chain([None]);
    let jobs: Vec<(&Arc<Segment>, Option<u32>)> = segments.iter().zip(ends).collect();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((segment, end)) = jobs.get(number) else { return done };
            done.push((number, check(segment, *end)));
        }
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ended = || Fault::Io(std::io::Error::other("the verification panicked"));
        let join = |worker: thread::ScopedJoinHandle<'_, Vec<_>>| {
            worker.join().unwrap_or_else(|_| vec![(0, Err(ended()))])
        };
        workers.into_iter().flat_map(join).collect::<Vec<_>>()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The end of a log without segments.
pub const NOTHING: LogEnd = LogEnd { walk: Walk::START, next: Location { segment: 0, offset: 0 } };

/// Bytes of a segment's file, of so many while it was whole.
fn used(segment: &Segment, whole: u32) -> u64 {
    // What an archive has left was looked at when it was opened.
    segment.stored_bytes(u64::from(whole)).unwrap_or(u64::from(whole))
}

/// What reading one segment found.
pub struct CheckedSegment {
    /// After its last whole append before the damage.
    pub whole: LogEnd,
    /// Bytes behind that.
    pub unfinished: u64,
    /// The first damage.
    pub damage: Option<Damage>,
    /// Whether it was read to its end, or to the damage.
    pub is_read: bool,
}

/// Where reading a segment ends.
#[derive(Clone, Copy, Debug)]
pub enum SegmentEnd {
    /// At an offset, as the next segment says.
    At(u32),
    /// After an event that was durable before, whatever is being written behind it.
    After(Position),
    /// Nobody knows where: behind what was written last.
    Open,
}

/// Reads a segment, which ends at `end`, or nobody knows where if it is the last.
///
/// # Errors
/// What the disk says.
pub fn check(segment: &Segment, end: Option<u32>) -> Result<CheckedSegment, Fault> {
    let end = end.map_or(SegmentEnd::Open, SegmentEnd::At);
    check_on(segment, beginning(segment), end, &mut Pace::new(&|_| true))
}

/// Before the first record of a segment, as its header says.
pub fn beginning(segment: &Segment) -> LogEnd {
    let header = &segment.header;
    let start = SEGMENT_HEADER_BYTES as u32;
    let frame = Frame {
        group: start,
        epoch: 0,
        back: Location::default(),
        skip: Location::default(),
        position: header.first.before(),
        hash: header.chain,
        left: 0,
    };
    let next = Location { segment: header.number, offset: start };
    LogEnd { walk: Walk::after(header.last_before, &frame), next }
}

/// Reads a segment on from somewhere, as fast and as long as it may.
///
/// # Errors
/// What the disk says.
pub fn check_on(
    segment: &Segment,
    from: LogEnd,
    end: SegmentEnd,
    pace: &mut Pace<'_>,
) -> Result<CheckedSegment, Fault> {
    let header = &segment.header;
    let mut whole = from;
    loop {
        let (found, walk, offset, why) = read(segment, whole, end, pace)?;
        whole = found;
        let is_read = why != Some(STOPPED);
        let done = |unfinished, damage| Ok(CheckedSegment { whole, unfinished, damage, is_read });
        let Some(why) = why.filter(|_| is_read) else { return done(0, None) };
        let damaged = |proof: &str| {
            let position = walk.position.next().get();
            let what = format!("{why}, and {proof}");
            Some(Damage { segment: header.number, offset: u64::from(offset), position, what })
        };
        match end {
            SegmentEnd::At(end) if offset == end && walk.is_whole() => {
                let next = Location { segment: header.number, offset };
                whole = LogEnd { walk: walk.over(header), next };
                let damage = check_remains(segment)?;
                return Ok(CheckedSegment { whole, unfinished: 0, damage, is_read: true });
            }
            SegmentEnd::At(_) => return done(0, damaged("valid segments follow")),
            SegmentEnd::After(last) => {
                return done(0, damaged(&format!("the log goes on to position {last}")));
            }
            SegmentEnd::Open => {}
        }
        let written = tail::last_byte(segment, offset)?.unwrap_or(u64::from(offset));
        if let Some(after) = tail::proof(segment, u64::from(offset), written)? {
            // A running server may have written both since.
            if Scanner::new(segment, offset).next_record()?.is_some() && why == NO_RECORD {
                continue;
            }
            let proof = format!("a record that was written later follows at offset {after}");
            return done(0, damaged(&proof));
        }
        return done(written.saturating_sub(u64::from(whole.next.offset)), None);
    }
}

/// Whether what an archive has left of a segment is all still there.
fn check_remains(segment: &Segment) -> Result<Option<Damage>, Fault> {
    let Some(remains) = segment.header.remains else { return Ok(None) };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&segment.extents.to_bytes());
    segment.extents.each(segment.file.as_ref(), |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    let is_same = *hasher.finalize().as_bytes() == remains.digest;
    let damage = Damage {
        segment: segment.header.number,
        offset: SEGMENT_HEADER_BYTES as u64,
        position: segment.header.first.get(),
        what: "it is not what archiving left of it".to_owned(),
    };
    Ok((!is_same).then_some(damage))
}

/// Why reading ends: the log does, or it was told to.
const NO_RECORD: &str = "there is no valid record";
const STOPPED: &str = "it was stopped";

/// Reads on; the last whole append, the last record, and where and why there is no next one:
/// nothing where that was to be the last.
fn read(
    segment: &Segment,
    from: LogEnd,
    end: SegmentEnd,
    pace: &mut Pace<'_>,
) -> Result<(LogEnd, Walk, u32, Option<&'static str>), Fault> {
    let mut scanner = Scanner::new(segment, from.next.offset);
    let (mut whole, mut walk) = (from, from.walk);
    loop {
        let at = Location { segment: segment.header.number, offset: scanner.offset() };
        if walk.is_whole() {
            whole = LogEnd { walk, next: at };
            if matches!(end, SegmentEnd::After(last) if walk.position >= last) {
                return Ok((whole, walk, at.offset, None));
            }
            if !pace.goes_on() {
                return Ok((whole, walk, at.offset, Some(STOPPED)));
            }
        }
        let Some(record) = scanner.next_record()? else {
            return Ok((whole, walk, at.offset, Some(NO_RECORD)));
        };
        if let Err(why) = walk.step(segment, &record, at) {
            return Ok((whole, walk, at.offset, Some(why)));
        }
        pace.count(record.bytes());
    }
}
