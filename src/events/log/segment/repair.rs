//! Truncating a damaged log at the first damage, keeping a copy of what is cut off.
//!
//! The copy is durable before the log changes, and later segments are removed from the last one on:
//! wherever the power fails, the log is either damaged at the same place or truncated there, and
//! repair can be repeated. Not here: what a torn tail is (`tail.rs`), asking for confirmation
//! (`cli`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::OpenError;
use super::SEGMENT_HEADER_BYTES;
use super::disk::{Disk, Folder};
use super::fault::{Damage, Fault};
use super::file::Segment;
use super::lock::FolderLock;
use super::names;
use super::record::{self, ALIGNMENT, Record};
use super::scan;
use super::verify::{Examined, examine};
use super::{recover, tail};
use crate::files::{self, sync_names};
use crate::ids::{Position, StreamId};

/// What cutting a log takes away.
#[derive(Debug)]
pub struct Cut {
    /// The last event that stays.
    pub head: Position,
    /// Why it is cut; `None` if there is only an append that is not whole.
    pub damage: Option<Damage>,
    /// Bytes of the segment that is shortened which are copied and overwritten with zeros.
    pub bytes: u64,
    /// Files of segments that go as a whole.
    pub files: Vec<String>,
    /// The events that go and can still be read.
    pub lost: Lost,
    /// The segment that is shortened, and from which offset to which.
    shortened: Option<(Arc<Segment>, u64, u64)>,
}

impl Cut {
    /// The last position that goes, as far as anything tells.
    pub fn last(&self) -> Position {
        let damaged = self.damage.as_ref().map_or(0, |damage| damage.position);
        self.lost.last.max(Position(damaged)).max(self.head.next())
    }
}

/// Events that can be read and go all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The highest position among them.
    pub last: Position,
    /// How many there are of each stream.
    pub streams: BTreeMap<StreamId, u64>,
}

impl Lost {
    /// How many there are.
    pub fn events(&self) -> u64 {
        self.streams.values().sum()
    }

    /// Adds the valid records of a segment from an offset on, whatever lies between them.
    fn add(&mut self, segment: &Segment, from: u64, to: u64) -> Result<(), Fault> {
        let bytes = tail::whole(segment, from, to)?;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|_| from + (at as u64) < to) {
            // The form first: checksums over what only looks like a length take forever.
            let formed = Record::parse_unchecked(rest);
            let offset = (from + at as u64) as u32;
            let valid = formed.and_then(|_| Record::parse(rest, segment.salt, offset));
            at += match valid {
                Some(record) => {
                    self.last = self.last.max(record.frame.position);
                    *self.streams.entry(record.content.stream).or_default() += 1;
                    record::length(rest).unwrap_or_default().next_multiple_of(ALIGNMENT as usize)
                }
                None => ALIGNMENT as usize,
            };
        }
        Ok(())
    }
}

/// What would go if a log was cut; `None` if nothing is wrong with it.
///
/// # Errors
/// When files cannot be read, or a newer program wrote them.
pub fn plan(lock: &FolderLock) -> Result<Option<Cut>, OpenError> {
    let disk = Folder::new(lock.folder());
    let fault = |fault: Fault| fault.into_open_error(disk.path());
    let Examined { verified, end, segments } = examine(&disk)?;
    let damage = verified.damage.first().cloned();
    if damage.is_none() && verified.unfinished == 0 {
        return Ok(None);
    }
    let archived = scan::archived(&segments);
    if let Some(damage) = damage.as_ref().filter(|_| verified.head < archived) {
        let name = names::name(damage.segment);
        return Err(OpenError::Damaged(format!(
            "{}. The events up to position {archived} are archived: replace {}/{name} by \
             segments/{name} of the backup that has them; nothing else is lost then",
            damage.place(),
            disk.path()
        )));
    }
    let mut lost = Lost::default();
    let stays = segments.iter().find(|segment| segment.header.number == end.next.segment);
    let shortened = match stays {
        Some(segment) => {
            let from = u64::from(end.next.offset);
            let to = tail::last_byte(segment, end.next.offset).map_err(fault)?.unwrap_or(from);
            lost.add(segment, from, to).map_err(fault)?;
            (to > from).then(|| (Arc::clone(segment), from, to))
        }
        None => None,
    };
    let names = disk.list().map_err(|error| fault(error.into()))?;
    let going = |name: &String| names::number(name).is_some_and(|it| it > end.next.segment);
    let mut files: Vec<String> = names.into_iter().filter(going).collect();
    files.sort_unstable();
    for number in files.iter().filter_map(|name| names::number(name)) {
        // A segment whose header is gone has nothing that says where its records belong.
        if let Ok(segment) = recover::open_segment(&disk, number)? {
            let start = SEGMENT_HEADER_BYTES as u32;
            let to = tail::last_byte(&segment, start).map_err(fault)?;
            lost.add(&segment, u64::from(start), to.unwrap_or_default()).map_err(fault)?;
        }
    }
    let bytes = shortened.as_ref().map_or(0, |(_, from, to)| to - from);
    Ok(Some(Cut { head: verified.head, damage, bytes, files, lost, shortened }))
}

/// Cuts a log as planned under the same lock. Answers with the folder where the copy is.
///
/// # Errors
/// What the system says; the log is then as it was, or can be cut again.
pub fn truncate(lock: &FolderLock, cut: &Cut) -> Result<PathBuf, OpenError> {
    let folder = lock.folder();
    let kept = new_folder(folder)?;
    let io = |source| OpenError::Io { path: kept.display().to_string(), source };
    if let Some((segment, _, _)) = &cut.shortened {
        let copied = copy(folder, &kept, &names::name(segment.header.number));
        if let Err(source) = copied {
            // Half a copy is none; the log was not touched.
            let _left_over = fs::remove_dir_all(&kept);
            return Err(io(source));
        }
    }
    sync_names(folder).map_err(io)?;
    for name in cut.files.iter().rev() {
        fs::rename(folder.join(name), kept.join(name)).map_err(io)?;
    }
    sync_names(&kept).and_then(|()| sync_names(folder)).map_err(io)?;
    if let Some((segment, from, to)) = &cut.shortened {
        let zeroed = tail::zero(segment, *from, *to);
        zeroed
            .and_then(|()| Ok(segment.file.sync()?))
            .map_err(|fault| fault.into_open_error(folder.display().to_string()))?;
    }
    Ok(kept)
}

/// Makes the first `cut-<n>` that is not there.
fn new_folder(folder: &Path) -> Result<PathBuf, OpenError> {
    let mut number = 1_u64;
    loop {
        let path = folder.join(format!("cut-{number}"));
        match files::create_folder(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(source) => {
                return Err(OpenError::Io { path: path.display().to_string(), source });
            }
        }
    }
}

/// Copies a file, durably.
fn copy(from: &Path, to: &Path, name: &str) -> io::Result<()> {
    let mut copy = files::create_new(&to.join(name))?;
    io::copy(&mut files::open(&from.join(name), false)?, &mut copy)?;
    copy.sync_all()?;
    sync_names(to)
}
