//! Creating a log from a backup, in full or up to a position or a time.
//!
//! The backup is read record by record from the first one on: either it is what was backed up, or
//! nothing is restored. The log gets its name once it is complete, verified and durable. It is
//! marked as a copy, so that its first opening warns users who still have the original. Not here:
//! what the engine has meanwhile (`agent/reconciler.rs`).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::export::to_hex;
use super::SEGMENT_HEADER_BYTES;
use super::backup::{copy_bytes, read, wrong_file};
use super::claim::Claim;
use super::disk::{Disk, Folder};
use super::fault::Fault;
use super::file::Segment;
use super::manifest::{BackupDisk, BackupError, BackupFile, Manifest, io_at};
use super::names;
use super::record::Location;
use super::recover::{self, Survey};
use super::scan::{self, Scanner};
use super::verify::{self, NOTHING};
use super::walk::LogEnd;
use crate::files::{self, sync_names};
use crate::ids::{Position, Timestamp};

/// The log's folder in a data directory.
const LOG: &str = "log";

/// Its name until it is whole.
const UNFINISHED: &str = "log.new";

/// The inode that a restored log names as that of its folder: none has it, so every opening of it
/// on any file system finds that it is a copy.
const NO_INODE: u64 = 0;

/// Up to where to restore; always to the end of a whole append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All of it.
    End,
    /// The last whole append that ends at or before a position.
    Position(Position),
    /// The longest beginning of the log in which no event is later than a time.
    Time(Timestamp),
}

/// What will be restored.
#[derive(Debug)]
pub struct Plan {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// The last position that is restored.
    pub position: Position,
    /// The chain up to and including it, in hex.
    pub hash: String,
    /// When its event was decided.
    pub time: Timestamp,
    end: LogEnd,
    segments: Vec<Arc<Segment>>,
}

impl Plan {
    /// How many events of the backup are left out: those after [`Plan::position`].
    pub fn left_out(&self) -> u64 {
        self.manifest.last.get().saturating_sub(self.position.get())
    }
}

/// Where reading a backup ended.
struct FoundEnd {
    end: LogEnd,
    time: Timestamp,
}

/// Reads a backup up to where it is to be restored. Changes nothing.
///
/// # Errors
/// When the backup is damaged before that, or ends before it.
pub fn plan(target: &Path, until: Until) -> Result<Plan, BackupError> {
    let manifest = read(target)?;
    if let Until::Position(position) = until
        && position > manifest.last
    {
        return Err(BackupError::Refused(format!(
            "{} ends at position {}; use that position or an earlier one, not {position}",
            target.display(),
            manifest.last
        )));
    }
    let disk = BackupDisk::new(target, &manifest);
    let Survey { segments, broken } = recover::survey(&disk)?;
    let foreign = segments.first().filter(|it| it.header.folder != manifest.folder);
    if let Some(foreign) = foreign {
        return Err(BackupError::Refused(format!(
            "the segments in {} are of data directory {}, but the manifest is of {}: one of \
             them belongs to another backup. Use another backup.",
            target.display(),
            foreign.header.folder,
            manifest.folder
        )));
    }
    let mut found = FoundEnd { end: NOTHING, time: Timestamp::default() };
    let mut stopped = false;
    for (segment, known) in segments.iter().zip(&manifest.files) {
        stopped = walk(segment, known.bytes, until, &mut found)
            .map_err(|fault| damaged(target, fault, &found))?;
        if stopped {
            break;
        }
    }
    if let Some(broken) = broken.filter(|_| !stopped) {
        return Err(damaged(target, Fault::Damaged(broken), &found));
    }
    let archived = scan::archived(&segments);
    if archived > Position(0) && stopped {
        check_archived(target, until, archived, found.end.walk.position)?;
    }
    let (position, hash) = (found.end.walk.position, to_hex(&found.end.walk.hash));
    let FoundEnd { end, time } = found;
    let plan = Plan { manifest, position, hash, time, end, segments };
    check_files(target, &plan, stopped)?;
    if position == Position(0) {
        return Err(BackupError::Refused(format!(
            "no append in {} ends at or before that: the log would be empty",
            target.display()
        )));
    }
    let is_end = !stopped || position == plan.manifest.last;
    if is_end && (position, &plan.hash) != (plan.manifest.last, &plan.manifest.hash) {
        return Err(BackupError::Refused(format!(
            "the segments in {} end at position {position} with chain {}, but the manifest says \
             {} with {}: one of them belongs to another backup. Use another backup.",
            target.display(),
            plan.hash,
            plan.manifest.last,
            plan.manifest.hash
        )));
    }
    Ok(plan)
}

/// Refuses to end among events that were archived before the backup was made.
fn check_archived(
    target: &Path,
    until: Until,
    archived: Position,
    found: Position,
) -> Result<(), BackupError> {
    let is_lost = match until {
        Until::End => false,
        Until::Position(position) => position < archived,
        // Nobody can tell which of the events that were archived are later.
        Until::Time(_) => found <= archived,
    };
    if !is_lost {
        return Ok(());
    }
    Err(BackupError::Refused(format!(
        "the events up to position {archived} were archived before {} was made: it can be \
         restored up to that position or a later one. The backup used for archiving has the \
         others.",
        target.display()
    )))
}

/// Reads a segment of a backup on; whether what is asked for ends in it.
fn walk(segment: &Segment, bytes: u64, until: Until, found: &mut FoundEnd) -> Result<bool, Fault> {
    let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
    let mut walk = found.end.walk;
    let segment_number = segment.header.number;
    found.end.next = Location { segment: segment_number, offset: scanner.offset() };
    loop {
        if matches!(until, Until::Position(last) if walk.position >= last) {
            return Ok(true);
        }
        let at = Location { segment: segment_number, offset: scanner.offset() };
        if segment.end() == Some(at) {
            found.end.walk = walk.over(&segment.header);
            found.end.next = at;
            return Ok(false);
        }
        if segment.end().is_none() && u64::from(at.offset) >= bytes {
            return Ok(false);
        }
        let position = walk.position.next().get();
        let damaged = |what| segment.damaged(u64::from(at.offset), position, what);
        let record = scanner.next_record()?.ok_or_else(|| damaged("there is no valid record"))?;
        let time = record.content.time;
        if matches!(until, Until::Time(last) if time > last) {
            return Ok(true);
        }
        walk.step(segment, &record, at).map_err(damaged)?;
        if walk.is_whole() {
            found.end.walk = walk;
            found.end.next.offset = scanner.offset();
            found.time = time;
        }
    }
}

/// Files that are restored as a whole are what the manifest says; one that is cut was read up to
/// there.
fn check_files(target: &Path, plan: &Plan, is_cut: bool) -> Result<(), BackupError> {
    let last = (plan.end.next.segment, u64::from(plan.end.next.offset));
    let is_whole = |known: &BackupFile, number| !is_cut || (number, known.bytes) <= last;
    for (known, number) in plan.manifest.files.iter().zip(1_u32..) {
        if is_whole(known, number)
            && let Some(wrong) = wrong_file(target, known)?
        {
            return Err(BackupError::Refused(format!("{wrong}. Use another backup.")));
        }
    }
    Ok(())
}

fn damaged(target: &Path, fault: Fault, found: &FoundEnd) -> BackupError {
    let Fault::Damaged(damage) = fault else {
        return fault.into_open_error(target.display().to_string()).into();
    };
    let sound = found.end.walk.position;
    let helps = if sound > Position(0) {
        format!("; if there is none, `--to-position {sound}` restores what is before the damage")
    } else {
        String::new()
    };
    let place = damage.place().replace("the log is damaged", "the backup is damaged");
    BackupError::Refused(format!("{place}. Use another backup{helps}."))
}

/// Makes the log of a data directory that has none.
///
/// # Errors
/// When there is something in the folder, or what the system says.
pub fn restore(plan: &Plan, data: &Path) -> Result<(), BackupError> {
    check_new(data)?;
    let unfinished = data.join(UNFINISHED);
    let io = io_at(&unfinished);
    let made = files::create_folders(data).and_then(|()| files::create_folder(&unfinished));
    made.map_err(&io)?;
    let disk = Folder::new(&unfinished);
    let last = plan.end.next;
    for (segment, known) in plan.segments.iter().zip(&plan.manifest.files) {
        let number = segment.header.number;
        if number > last.segment {
            break;
        }
        let bytes = if number < last.segment { known.bytes } else { u64::from(last.offset) };
        let copy = disk.create(&names::name(number)).map_err(&io)?;
        let size = segment.stored_bytes(u64::from(segment.header.size)).map_err(&io)?;
        copy.allocate(size).map_err(&io)?;
        copy_bytes(segment, bytes, copy.as_ref(), &io)?;
        copy.sync().map_err(&io)?;
    }
    let Manifest { folder, epoch, .. } = plan.manifest;
    let claim = Claim { folder, epoch, inode: NO_INODE };
    claim.write(&disk).and_then(|()| disk.sync_names()).map_err(&io)?;
    let verified = verify::verify(&unfinished)?;
    let is_whole = verified.damage.is_empty() && verified.unfinished == 0;
    if !is_whole || (verified.head, to_hex(&verified.hash)) != (plan.position, plan.hash.clone()) {
        return Err(BackupError::Refused(format!(
            "what was written to {} differs from the backup: look for a failing disk",
            unfinished.display()
        )));
    }
    fs::rename(&unfinished, data.join(LOG)).and_then(|()| sync_names(data)).map_err(&io)
}

/// Refuses a data directory that is not new.
///
/// # Errors
/// What is in it, and what to do.
pub fn check_new(data: &Path) -> Result<(), BackupError> {
    let refused = |why: String| {
        let data: PathBuf = data.to_owned();
        Err(BackupError::Refused(format!("{} {why}", data.display())))
    };
    let mut entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_at(data)(error)),
    };
    if data.join(UNFINISHED).exists() {
        return refused(format!(
            "contains {UNFINISHED}, from a restore that was interrupted or is in progress; if \
             it was interrupted, remove the directory and restore again"
        ));
    }
    match entries.next() {
        None => Ok(()),
        Some(Err(error)) => Err(io_at(data)(error)),
        Some(Ok(entry)) => refused(format!(
            "is not empty: it contains {}. A backup is restored into a new data directory; \
             specify one that does not exist yet.",
            entry.file_name().display()
        )),
    }
}
