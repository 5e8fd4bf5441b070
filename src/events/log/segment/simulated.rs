//! A model of a disk for tests: it keeps what was synced, and can lose the rest, fail, or fill up.
//!
//! At a power cut each unsynced sector is randomly old, new or torn, independent of the order of
//! writes; renames are kept up to some point, in order. A failed sync drops what it was to write,
//! as kernels do. Everything follows from a seed. Sectors are written completely, or with a new
//! beginning and an old end: no disk garbles what was in a sector before.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::chance::due;
pub use super::chance::{Chance, Faults, Happened};
use super::disk::{Disk, DiskFile};

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
struct File {
    /// As the running system sees it.
    seen: Vec<u8>,
    /// As it is on the disk.
    kept: Vec<u8>,
    /// Sectors that may differ.
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct DiskState {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    kept_names: BTreeMap<String, usize>,
    /// All states of the names since they were synced.
    name_changes: Vec<BTreeMap<String, usize>>,
    faults: Faults,
    happened: Happened,
    off: bool,
    /// Files that were opened before the last restart are gone.
    boots: u64,
    identity: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<DiskState>>,
}

struct Handle {
    disk: SimulatedDisk,
    file: usize,
    boots: u64,
}

fn failure(what: &str) -> io::Error {
    io::Error::other(format!("simulated: {what}"))
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what goes wrong from now on.
    pub fn inject(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Power comes back: what was not synced is lost, kept or torn, as the seed says.
    pub fn restart(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        let mut state = self.state();
        let changes = std::mem::take(&mut state.name_changes);
        let reached = chance.below(changes.len() as u64 + 1) as usize;
        state.happened.names_lost += u64::from(reached < changes.len());
        let kept = changes.into_iter().nth(reached.wrapping_sub(1));
        if let Some(names) = kept {
            state.kept_names = names;
        }
        state.names = state.kept_names.clone();
        let DiskState { files, happened, .. } = &mut *state;
        for file in files {
            file.lose_power(&mut chance, happened);
        }
        state.faults = Faults::default();
        state.off = false;
        state.boots += 1;
    }

    /// What went wrong so far.
    pub fn happened(&self) -> Happened {
        self.state().happened
    }

    /// Whether the power failed and has not come back.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Copies the folder to another disk, as an administrator would.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let copy = DiskState {
            files: state.files.iter().map(|file| File::durable(file.seen.clone())).collect(),
            names: state.names.clone(),
            kept_names: state.names.clone(),
            identity: state.identity + 1,
            ..DiskState::default()
        };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    /// The content of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).and_then(|file| state.files.get(*file)).map(|it| it.seen.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(File::durable(content));
        state.names.insert(name.to_owned(), file);
        state.kept_names.insert(name.to_owned(), file);
    }
}

impl File {
    fn durable(content: Vec<u8>) -> Self {
        Self { seen: content.clone(), kept: content, dirty: BTreeSet::new() }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        if let Some(into) = self.seen.get_mut(offset..end) {
            into.copy_from_slice(bytes);
        }
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn lose_power(&mut self, chance: &mut Chance, happened: &mut Happened) {
        let mut dropped_before = false;
        if chance.below(2) == 0 && self.seen.len() != self.kept.len() {
            self.kept.resize(self.seen.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let reached = match chance.below(4) {
                0 => 0,
                1 => chance.below(SECTOR_BYTES as u64) as usize,
                _ => SECTOR_BYTES,
            };
            match reached {
                0 => happened.dropped += 1,
                SECTOR_BYTES => happened.reordered += u64::from(dropped_before),
                _ => happened.torn += 1,
            }
            dropped_before |= reached == 0;
            let start = sector * SECTOR_BYTES;
            let end = (start + reached).min(self.kept.len()).min(self.seen.len());
            if let Some((new, old)) = self.seen.get(start..end).zip(self.kept.get_mut(start..end)) {
                old.copy_from_slice(new);
            }
        }
        self.seen.clone_from(&self.kept);
    }
}

impl DiskState {
    /// Whether an operation that changes something can be done.
    fn powered(&mut self) -> io::Result<()> {
        self.off |= due(&mut self.faults.power_off_in);
        if self.off { Err(failure("the power is off")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|file| self.files.get(*file));
        files.map(|file| file.seen.len() as u64).sum()
    }

    /// Whether a file may become so long.
    fn room_for(&mut self, id: usize, bytes: usize) -> io::Result<()> {
        let more = bytes.saturating_sub(file(self, id)?.seen.len()) as u64;
        match self.faults.room {
            Some(room) if more > 0 && self.used() + more > room => {
                self.happened.full += 1;
                Err(ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Whether an operation on names can be done.
    fn can_name(&mut self) -> io::Result<()> {
        self.powered()?;
        if due(&mut self.faults.name_error_in) {
            self.happened.name_errors += 1;
            return Err(failure("the name was not changed"));
        }
        Ok(())
    }

    fn renamed(&mut self) {
        let names = self.names.clone();
        self.name_changes.push(names);
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        let file = *state.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(Handle { disk: self.clone(), file, boots: state.boots }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if let Some(left) = state.faults.no_files.checked_sub(1) {
            state.faults.no_files = left;
            state.happened.no_files += 1;
            return Err(Errno::MFILE.into());
        }
        state.can_name()?;
        let file = state.files.len();
        state.files.push(File::default());
        state.names.insert(name.to_owned(), file);
        state.renamed();
        Ok(Box::new(Handle { disk: self.clone(), file, boots: state.boots }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.can_name()?;
        let file = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        state.renamed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.can_name()?;
        state.names.remove(name).ok_or(ErrorKind::NotFound)?;
        state.renamed();
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.can_name()?;
        state.kept_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn identity(&self) -> io::Result<u64> {
        Ok(self.state().identity)
    }

    fn path(&self) -> String {
        "simulated".to_owned()
    }
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut DiskState, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.boots != self.boots {
            return Err(failure("the file was opened before the restart"));
        }
        act(&mut state, self.file)
    }
}

fn file(state: &mut DiskState, file: usize) -> io::Result<&mut File> {
    state.files.get_mut(file).ok_or_else(|| ErrorKind::NotFound.into())
}

impl DiskFile for Handle {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state, id| {
            if due(&mut state.faults.read_error_in) {
                state.happened.read_errors += 1;
                bytes.fill(0xEE);
                return Err(failure("the read failed"));
            }
            let most = state.faults.short_reads.unwrap_or(usize::MAX).max(1);
            let from = file(state, id)?.seen.get(offset as usize..).unwrap_or_default();
            let there = bytes.len().min(from.len());
            bytes.iter_mut().zip(from.iter().take(most)).for_each(|(byte, value)| *byte = *value);
            state.happened.short_reads += u64::from(most < there);
            Ok(there.min(most))
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|state, id| {
            state.powered()?;
            let fails = due(&mut state.faults.write_error_in);
            let most = state.faults.short_writes.unwrap_or(usize::MAX).max(1);
            let written = if fails { bytes.len() / 2 } else { bytes.len().min(most) };
            state.room_for(id, offset as usize + written)?;
            state.happened.write_errors += u64::from(fails);
            state.happened.short_writes += u64::from(written < bytes.len() && !fails);
            let file = file(state, id)?;
            file.write(offset as usize, bytes.get(..written).unwrap_or_default());
            if fails { Err(failure("the write failed")) } else { Ok(written) }
        })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, id| {
            state.powered()?;
            state.room_for(id, bytes as usize)?;
            file(state, id)?.seen.resize(bytes as usize, 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, id| {
            state.powered()?;
            let fails = due(&mut state.faults.sync_error_in);
            state.happened.sync_errors += u64::from(fails);
            let file = file(state, id)?;
            let dirty = std::mem::take(&mut file.dirty);
            if fails {
                // The pages count as clean from now on, and no later sync writes them.
                return Err(failure("the sync failed"));
            }
            file.kept.resize(file.seen.len(), 0);
            for sector in dirty {
                let end = ((sector + 1) * SECTOR_BYTES).min(file.seen.len());
                let range = sector * SECTOR_BYTES..end;
                let new = file.seen.get(range.clone()).unwrap_or_default();
                if let Some(old) = file.kept.get_mut(range) {
                    old.copy_from_slice(new);
                }
            }
            Ok(())
        })
    }

    fn bytes(&self) -> io::Result<u64> {
        self.with(|state, id| Ok(file(state, id)?.seen.len() as u64))
    }

    fn links(&self) -> io::Result<u64> {
        self.with(|state, id| Ok(state.names.values().filter(|file| **file == id).count() as u64))
    }
}
