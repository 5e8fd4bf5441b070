//! Backing up a log while it is being written: its segments, and a manifest with their hashes.
//!
//! Works on the files while a server may be running. First it finds the end of the log, then makes
//! everything before it durable, then copies up to there: a copy never contains what a power
//! failure could still take from the log. A segment gets its name once it is complete, verified and
//! durable, and the manifest is written last, so an interrupted backup leaves the previous one
//! intact. Not here: the manifest (`manifest.rs`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::OpenError;
use super::super::export::to_hex;
use super::claim::Claim;
use super::disk::{Disk, DiskFile, Folder, write_all};
use super::fault::{Damage, Fault};
use super::file::Segment;
use super::lock::FolderLock;
use super::manifest::{
    self, BackupDisk, BackupError, BackupFile, CHUNK_BYTES, Manifest, hash_of, io_at,
};
use super::names;
use super::recover::{self, Survey};
use super::scan::{self, Scanner};
use super::verify::{self, Verified};
use super::walk::LogEnd;
use crate::files::{self, sync_names};
use crate::ids::{Position, Timestamp};

/// What a backup did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// What there is now.
    pub manifest: Manifest,
    /// Segments that were copied.
    pub copied: u64,
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Segments that were there, and still are what was copied.
    pub kept: u64,
}

/// The log as it was found: up to where it is durable.
struct DurableLog {
    segments: Vec<Arc<Segment>>,
    end: LogEnd,
    epoch: u32,
}

/// Backs up the log in a folder into `target`: a new or empty folder, or an earlier backup of the
/// same log, of which it keeps what did not change.
///
/// # Errors
/// When the log is damaged, or `target` is something else; see [`BackupError`].
pub fn backup(log: &Path, target: &Path, now: Timestamp) -> Result<BackupReport, BackupError> {
    let seen = look(log)?;
    let _lock = lock(target)?;
    let before = Manifest::read(target)?;
    if let Some(before) = &before {
        check_continues(&seen, before, target)?;
        // Earlier versions made what others could read, and what did not change is kept.
        files::check_folder(target).map_err(|error| BackupError::Refused(error.to_string()))?;
    }
    let folder = manifest::segments(target);
    files::create_folders(&folder).map_err(io_at(&folder))?;
    sync_names(target).map_err(io_at(target))?;
    let mut files = Vec::with_capacity(seen.segments.len());
    let (mut copied, mut copied_bytes, mut kept) = (0, 0, 0);
    for (segment, bytes) in seen.parts() {
        let name = names::name(segment.header.number);
        let stored = segment.stored_bytes(bytes).map_err(io_at(&log.join(&name)))?;
        let known = before.iter().flat_map(|it| &it.files).filter(|known| known.file == name);
        // What an archive has taken from the log since stays in a backup that has it.
        let mut known = known.filter(|known| [bytes, stored].contains(&known.bytes));
        files.push(if let Some(known) = known.find(|known| is_same(&folder, known)) {
            kept += 1;
            known.clone()
        } else {
            copied += 1;
            copied_bytes += stored;
            copy(log, segment, stored, &folder)?
        });
    }
    let mut manifest = seen.manifest(files, now)?;
    let disk = BackupDisk::new(target, &manifest);
    let Survey { segments, broken } = recover::survey(&disk)?;
    if let Some(damage) = broken {
        return Err(damaged_log(log, &damage));
    }
    manifest.first = scan::archived(&segments).next();
    manifest.write(target)?;
    remove_others(&folder, &manifest)?;
    Ok(BackupReport { manifest, copied, copied_bytes, kept })
}

/// Finds the end of a log and makes durable what is before it.
fn look(log: &Path) -> Result<DurableLog, BackupError> {
    let disk = Folder::read_only(log);
    let io = io_at(log);
    let Survey { segments, broken } = recover::survey(&disk)?;
    let found = segments.last().map(|last| verify::check(last, None)).transpose();
    let found = found.map_err(|fault| fault.into_open_error(disk.path()))?;
    let damage = found.as_ref().and_then(|found| found.damage.clone()).or(broken);
    if let Some(damage) = damage {
        return Err(damaged_log(log, &damage));
    }
    let end = found.map(|found| found.whole).filter(|end| end.walk.position > Position(0));
    let (Some(end), Some(last)) = (end, segments.last()) else {
        return Err(BackupError::Refused(format!(
            "the log in {} has no events: there is nothing to back up",
            log.display()
        )));
    };
    // What was just read may be in memory only: a server that was killed, or its next sync. The
    // segments before the last were durable before that one was made.
    last.file.sync().and_then(|()| disk.sync_names()).map_err(&io)?;
    let claim = Claim::read(&disk).map_err(&io)?;
    let epoch = claim.map_or(0, |claim| claim.epoch).max(end.walk.epoch);
    Ok(DurableLog { segments, end, epoch })
}

impl DurableLog {
    /// Each segment with how many of its bytes are in use.
    fn parts(&self) -> impl Iterator<Item = (&Segment, u64)> {
        let ends = self.segments.iter().skip(1).map(|next| next.header.end_before);
        let ends = ends.chain([self.end.next.offset]).map(u64::from);
        self.segments.iter().map(AsRef::as_ref).zip(ends)
    }

    /// The hash and the time of the event at a position; `None` if the log is shorter.
    fn event(&self, position: Position) -> Result<Option<(String, Timestamp)>, Fault> {
        if position > self.end.walk.position || position == Position(0) {
            return Ok(None);
        }
        let after = self.segments.partition_point(|it| it.header.first <= position);
        let Some(segment) = self.segments.get(after.saturating_sub(1)) else { return Ok(None) };
        let mut scanner = Scanner::new(segment, segment.seek(position)?);
        let record = scanner.next_record()?.filter(|record| record.frame.position == position);
        Ok(record.map(|record| (to_hex(&record.frame.hash), record.content.time)))
    }

    /// The chain up to and including a position in hex; `None` if unknown.
    fn chain(&self, position: Position) -> Result<Option<String>, Fault> {
        let mut archived = self.segments.iter().filter_map(|segment| segment.header.remains);
        match archived.find(|remains| remains.last_position == position) {
            Some(remains) => Ok(Some(to_hex(&remains.chain))),
            None => Ok(self.event(position)?.map(|(hash, _)| hash)),
        }
    }

    fn manifest(&self, files: Vec<BackupFile>, now: Timestamp) -> Result<Manifest, BackupError> {
        let last = self.end.walk.position;
        let event = self.event(last).map_err(|fault| fault.into_open_error(String::new()))?;
        let (hash, last_event_at) = event.unwrap_or_default();
        Ok(Manifest {
            format: Manifest::FORMAT,
            magnum: env!("CARGO_PKG_VERSION").to_owned(),
            folder: self.segments.first().map(|it| it.header.folder).unwrap_or_default(),
            epoch: self.epoch,
            first: Position(1),
            last,
            hash,
            last_event_at,
            backed_up_at: now,
            files,
        })
    }
}

/// Keeps other backups out of a folder, and refuses one that is used for something else.
fn lock(target: &Path) -> Result<FolderLock, BackupError> {
    let io = io_at(target);
    files::create_folders(target).map_err(&io)?;
    if Manifest::read(target)?.is_none() {
        for entry in fs::read_dir(target).map_err(&io)? {
            let name = entry.map_err(&io)?.file_name();
            if !manifest::is_ours(&name.to_string_lossy()) {
                return Err(BackupError::Refused(format!(
                    "{} is neither empty nor a backup: it contains {}. Use a new or empty \
                     directory, or an earlier backup of this log.",
                    target.display(),
                    name.display()
                )));
            }
        }
    }
    FolderLock::take(target).map_err(|error| match error {
        OpenError::InUse { path, holder } => BackupError::Refused(format!(
            "another backup into {path} is in progress, by process {holder}; wait for it"
        )),
        other => other.into(),
    })
}

/// Refuses an earlier backup that this log does not continue: it would be lost.
fn check_continues(seen: &DurableLog, before: &Manifest, target: &Path) -> Result<(), BackupError> {
    let folder = seen.segments.first().map(|it| it.header.folder).unwrap_or_default();
    let found = seen.chain(before.last).map_err(|fault| fault.into_open_error(String::new()))?;
    let archived = scan::archived(&seen.segments);
    let why = if folder != before.folder {
        format!("it is of data directory {}, this one is {folder}", before.folder)
    } else if found.is_some_and(|hash| hash == before.hash) {
        return Ok(());
    } else if before.last < archived {
        format!("it ends at position {}, and this log is archived up to {archived}", before.last)
    } else {
        format!(
            "it contains events up to position {} that this log does not have; was the log \
             restored or truncated since?",
            before.last
        )
    };
    Err(BackupError::Refused(format!(
        "{} contains a backup that this log does not continue: {why}. It was not changed; use \
         another directory.",
        target.display()
    )))
}

/// Whether a segment of an earlier backup still is what was copied.
fn is_same(folder: &Path, known: &BackupFile) -> bool {
    let hash = hash_of(&folder.join(&known.file), known.bytes);
    hash.is_ok_and(|hash| hash.as_ref() == Some(&known.blake3))
}

/// Copies a segment; it has its name once it is verified and durable.
fn copy(
    log: &Path,
    segment: &Segment,
    bytes: u64,
    folder: &Path,
) -> Result<BackupFile, BackupError> {
    let name = names::name(segment.header.number);
    let path = unfinished(folder, &name);
    let made = copy_unfinished(log, segment, bytes, &path);
    let named = made.and_then(|blake3| {
        let renamed = fs::rename(&path, folder.join(&name)).and_then(|()| sync_names(folder));
        renamed.map_err(io_at(&path))?;
        Ok(BackupFile { file: name, bytes, blake3 })
    });
    if named.is_err() {
        // Gives the room back; the next attempt writes over it anyway.
        let _left_over = fs::remove_file(&path);
    }
    named
}

fn unfinished(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.new"))
}

fn copy_unfinished(
    log: &Path,
    segment: &Segment,
    bytes: u64,
    path: &Path,
) -> Result<String, BackupError> {
    let io = io_at(path);
    let copy = files::create(path).map_err(&io)?;
    let blake3 = copy_bytes(segment, bytes, &copy, &io)?;
    if segment.header.remains.is_none() {
        // Zero behind it, without taking room.
        copy.set_len(u64::from(segment.header.size)).map_err(&io)?;
    }
    copy.sync_all().map_err(&io)?;
    let end = segment.end().map_or_else(|| u32::try_from(bytes).ok(), |end| Some(end.offset));
    let copied = Segment::open(segment.header, Box::new(copy)).map_err(&io)?;
    let copied = copied.ok_or_else(|| io(io::ErrorKind::UnexpectedEof.into()))?;
    let found = verify::check(&copied, end);
    let found = found.map_err(|fault| fault.into_open_error(path.display().to_string()))?;
    found.damage.map_or(Ok(blake3), |damage| Err(damaged_log(log, &damage)))
}

/// Copies the first bytes of a segment's file; BLAKE3 of them in hex.
///
/// # Errors
/// As `io` makes them of what the system says.
pub fn copy_bytes(
    segment: &Segment,
    bytes: u64,
    copy: &dyn DiskFile,
    io: &dyn Fn(io::Error) -> BackupError,
) -> Result<String, BackupError> {
    let (mut hasher, mut chunk, mut offset) = (blake3::Hasher::new(), vec![0; CHUNK_BYTES], 0);
    while offset < bytes {
        let want = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let into = chunk.get_mut(..want).unwrap_or_default();
        let read = segment.stored.read_at(into, offset).map_err(io)?;
        if read == 0 {
            return Err(io(io::ErrorKind::UnexpectedEof.into()));
        }
        let part = chunk.get(..read).unwrap_or_default();
        hasher.update(part);
        write_all(copy, part, offset).map_err(io)?;
        offset += read as u64;
    }
    Ok(to_hex(hasher.finalize().as_bytes()))
}

fn damaged_log(log: &Path, damage: &Damage) -> BackupError {
    let data = log.parent().unwrap_or(log).display();
    BackupError::Refused(format!(
        "{}; nothing was backed up, and an earlier backup was not changed. `magnum log verify \
         --data {data}` shows the extent of the damage.",
        damage.place()
    ))
}

/// Removes segments that are not part of the backup: they are left over from one that was cut off.
fn remove_others(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let io = io_at(folder);
    for entry in fs::read_dir(folder).map_err(&io)? {
        let name = entry.map_err(&io)?.file_name().to_string_lossy().into_owned();
        let is_segment = names::number(name.trim_end_matches(".new")).is_some();
        if is_segment && !manifest.files.iter().any(|it| it.file == name) {
            fs::remove_file(folder.join(&name)).map_err(&io)?;
        }
    }
    Ok(())
}

/// What verifying a backup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBackup {
    /// What it says of itself.
    pub manifest: Manifest,
    /// How far its chain is sound.
    pub verified: Verified,
    /// What is wrong, one line each; nothing where the backup is what it says.
    pub wrong: Vec<String>,
}

/// Reads all of a backup: the manifest, the hash of each file, all that `verify` looks at.
///
/// # Errors
/// When there is none, its manifest is damaged, or files cannot be read.
pub fn verify_backup(target: &Path) -> Result<CheckedBackup, BackupError> {
    let manifest = read(target)?;
    let disk = BackupDisk::new(target, &manifest);
    let mut wrong = Vec::new();
    for known in &manifest.files {
        wrong.extend(wrong_file(target, known)?);
    }
    let verified = verify::verify_on(&disk)?;
    wrong.extend(verified.damage.iter().map(Damage::place));
    let found = (verified.head, to_hex(&verified.hash));
    if wrong.is_empty() && found != (manifest.last, manifest.hash.clone()) {
        wrong.push(format!(
            "the segments end at position {} with chain {}, but the manifest says {} with {}: \
             it belongs to another backup",
            found.0, found.1, manifest.last, manifest.hash
        ));
    }
    if wrong.is_empty() {
        wrong.extend(manifest.contradicted_by(&recover::survey(&disk)?.segments));
    }
    Ok(CheckedBackup { manifest, verified, wrong })
}

/// What is wrong with a file of a backup, if anything.
///
/// # Errors
/// What the system says.
pub fn wrong_file(target: &Path, known: &BackupFile) -> Result<Option<String>, BackupError> {
    let path = manifest::segments(target).join(&known.file);
    let hash = match hash_of(&path, known.bytes) {
        Ok(hash) => hash,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(format!("{} is missing", path.display())));
        }
        Err(error) => return Err(io_at(&path)(error)),
    };
    Ok(match hash {
        None => Some(format!("{} is shorter than {} bytes", path.display(), known.bytes)),
        Some(hash) if hash != known.blake3 => Some(format!(
            "{} is not what was backed up: its BLAKE3 is {hash}, the manifest says {}",
            path.display(),
            known.blake3
        )),
        Some(_) => None,
    })
}

/// The manifest of a backup that is finished.
///
/// # Errors
/// When there is none.
pub fn read(target: &Path) -> Result<Manifest, BackupError> {
    Manifest::read(target)?.ok_or_else(|| {
        BackupError::Refused(format!(
            "{} contains no backup: manifest.json, which is written last, is missing. If a \
             backup into it was interrupted, run it again; otherwise use another backup.",
            target.display()
        ))
    })
}
