//! The sled folder: opening it, moving a damaged one aside, and opening it again after a failure.
//!
//! It never holds the only copy of anything, so damage costs a rebuild and no data. On a full disk
//! a folder in memory takes its place, so that the service starts and answers.
//! Not here: what is in it (`layout`).

use std::any::Any;
use std::fs;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use sled::{Config, Db, Tree};

use crate::events::log::ReadError;
use crate::events::log::segment::disk::free_bytes;
use crate::files::is_full;

/// Bytes of pages that sled keeps in memory: 100,000 containers take about that.
const CACHE_BYTES: u64 = 64 << 20;

/// Time between two flushes. What a crash loses is read from the log again.
const FLUSH_MS: u64 = 1000;

/// Damaged folders that are kept for an investigation.
const KEEP_DAMAGED: usize = 3;

/// Free bytes below which nothing is written, besides twice what is to be written: what sled holds
/// back in memory are segments of 512 KB.
const ROOM_BYTES: u64 = 2 << 20;

/// What sled says of a folder that is in use.
const LOCKED: &str = "could not acquire lock";

/// Sled's own threads, and queries that still run, hold a folder for some milliseconds after it was
/// closed: it is tried again for a second.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// Why views cannot be saved, or what was saved cannot be read.
#[derive(Debug)]
pub(super) enum StoreFault {
    /// The log cannot be read.
    Log(ReadError),
    /// The disk has no room to write; nothing was tried.
    Full(String),
    /// The store fails, and is to be opened again.
    Store(String),
    /// What the store gives is not what was put in.
    Damaged(String),
}

impl From<ReadError> for StoreFault {
    fn from(error: ReadError) -> Self {
        Self::Log(error)
    }
}

impl From<sled::Error> for StoreFault {
    fn from(error: sled::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Store(error.to_string())
        }
    }
}

/// Why the folder could not be opened though it is not damaged.
#[derive(Debug, thiserror::Error)]
#[error("the read models in {path} cannot be opened: {reason}")]
pub struct OpenError {
    /// The folder.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// Opens a sled folder. A damaged one is moved aside as `<name>.damaged-<n>` and replaced by an
/// empty one; where the disk has no room, the one on it stays as it is, and an empty one in memory
/// is used.
///
/// # Errors
/// When it is in use, or the system does not let us.
pub fn open_cache(path: &Path) -> Result<Db, OpenError> {
    open_with(path, |_| Ok(())).map(|opened| opened.db)
}

/// A folder that was opened, with what was made of it.
struct Opened<T> {
    db: Db,
    made: T,
    in_memory: bool,
}

/// Opens a sled folder that is there, as it is: a damaged one stays where it is.
///
/// # Errors
/// When it is not there, is in use, or is damaged.
pub fn open_existing(path: &Path) -> Result<Db, OpenError> {
    if !path.is_dir() {
        return Err(denied(path, "there is no such directory".to_owned()));
    }
    try_open(config(path), |_| Ok(())).map(|(db, ())| db).map_err(|trouble| match trouble {
        OpenFailure::Locked(_) => denied(path, "a server is using it".to_owned()),
        OpenFailure::Damaged(reason) => denied(path, format!("it is damaged: {reason}")),
        OpenFailure::Denied(reason) | OpenFailure::Full(reason) => denied(path, reason),
    })
}

fn open_trees(path: &Path) -> Result<Opened<Tree>, OpenError> {
    open_with(path, |db| db.open_tree("views"))
}

fn config(path: &Path) -> Config {
    Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_MS))
}

fn open_with<T>(path: &Path, then: fn(&Db) -> sled::Result<T>) -> Result<Opened<T>, OpenError> {
    let mut tries = 0;
    let mut is_new = false;
    loop {
        // Sled must not find out by itself (see `Store::check_room`).
        let free = free_bytes(parent_of(path)).unwrap_or(u64::MAX);
        let opened = if free < ROOM_BYTES {
            Err(OpenFailure::Full(format!("{free} bytes are free")))
        } else {
            try_open(config(path), then)
        };
        match opened {
            Ok((db, made)) => return Ok(Opened { db, made, in_memory: false }),
            Err(OpenFailure::Full(reason)) => return open_in_memory(path, &reason, then),
            Err(OpenFailure::Locked(reason)) if tries >= LOCK_TRIES => {
                return Err(denied(path, reason));
            }
            Err(OpenFailure::Locked(_)) => {
                tries += 1;
                std::thread::sleep(LOCK_WAIT);
            }
            Err(OpenFailure::Damaged(reason)) if !is_new => {
                set_aside(path, &reason).map_err(|error| denied(path, error.to_string()))?;
                is_new = true;
            }
            Err(OpenFailure::Denied(reason) | OpenFailure::Damaged(reason)) => {
                return Err(denied(path, reason));
            }
        }
    }
}

/// Opens an empty folder that is not on the disk, or not there for long.
fn open_in_memory<T>(
    path: &Path,
    reason: &str,
    then: fn(&Db) -> sled::Result<T>,
) -> Result<Opened<T>, OpenError> {
    tracing::warn!(
        path = %path.display(),
        reason,
        "there is no space for a cache; it is rebuilt in memory until there is"
    );
    let config = Config::new().temporary(true).cache_capacity(CACHE_BYTES);
    match try_open(config, then) {
        Ok((db, made)) => Ok(Opened { db, made, in_memory: true }),
        Err(
            OpenFailure::Locked(reason)
            | OpenFailure::Denied(reason)
            | OpenFailure::Damaged(reason)
            | OpenFailure::Full(reason),
        ) => Err(denied(path, format!("{reason}; there is no space in memory either"))),
    }
}

fn denied(path: &Path, reason: String) -> OpenError {
    OpenError { path: path.display().to_string(), reason }
}

enum OpenFailure {
    Full(String),
    Locked(String),
    Denied(String),
    Damaged(String),
}

fn try_open<T>(config: Config, then: fn(&Db) -> sled::Result<T>) -> Result<(Db, T), OpenFailure> {
    // Sled asserts where it reads what it cannot have written.
    let open = AssertUnwindSafe(|| -> sled::Result<(Db, T)> {
        let db = config.open()?;
        let opened = then(&db)?;
        Ok((db, opened))
    });
    match catch_unwind(open) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) if error.to_string().contains(LOCKED) => {
            Err(OpenFailure::Locked(error.to_string()))
        }
        Ok(Err(sled::Error::Io(error))) if is_full(&error) => {
            Err(OpenFailure::Full(error.to_string()))
        }
        Ok(Err(error)) if is_damage(&error) => Err(OpenFailure::Damaged(error.to_string())),
        Ok(Err(error)) => Err(OpenFailure::Denied(error.to_string())),
        Err(panic) => Err(OpenFailure::Damaged(words(&*panic))),
    }
}

/// Whether an error is about what is in the folder, and not about getting at it.
pub(super) fn is_damage(error: &sled::Error) -> bool {
    let sled::Error::Io(error) = error else { return true };
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
    ) || error.kind() == ErrorKind::Other && !error.to_string().contains(LOCKED)
}

/// What a panic said.
pub(super) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

fn parent_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Moves a damaged folder aside and forgets the oldest of those.
fn set_aside(path: &Path, reason: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{name}.damaged-");
    let mut numbers: Vec<u64> = fs::read_dir(parent_of(path))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |last| last + 1);
    let aside = path.with_file_name(format!("{prefix}{next}"));
    fs::rename(path, &aside)?;
    let aside = aside.display();
    tracing::error!(reason, %aside, "a damaged directory is moved aside and rebuilt");
    let surplus = (numbers.len() + 1).saturating_sub(KEEP_DAMAGED);
    for number in numbers.iter().take(surplus) {
        fs::remove_dir_all(path.with_file_name(format!("{prefix}{number}")))?;
    }
    Ok(())
}

/// The open folder. It can be closed and opened again under those who use it, so none of them
/// keeps a tree longer than it takes to use it once.
pub struct Store {
    /// Where it is; `None` if it is somebody else's.
    path: Option<PathBuf>,
    open: RwLock<Option<Opened<Tree>>>,
}

impl Store {
    /// Opens the folder.
    ///
    /// # Errors
    /// See [`open_cache`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = open_trees(path)?;
        Ok(Self { path: Some(path.to_owned()), open: RwLock::new(Some(opened)) })
    }

    /// Keeps views in a tree that somebody else opened, for a simulation. Closed once, it stays so.
    pub const fn over(db: Db, views: Tree) -> Self {
        let opened = Opened { db, made: views, in_memory: false };
        Self { path: None, open: RwLock::new(Some(opened)) }
    }

    /// Keeps nothing any more.
    pub fn close(&self) {
        drop(self.open.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The tree of the read models; none while the folder is closed.
    pub(super) fn views(&self) -> Option<Tree> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|opened| opened.made.clone())
    }

    /// Writes what is in memory.
    pub(super) fn flush(&self) -> sled::Result<()> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(Ok(()), |opened| opened.db.flush().map(drop))
    }

    /// Whether there is room for what is about to be written. Sled must not find out by itself:
    /// after a write that failed it cannot be read in places, and writes nothing any more.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), StoreFault> {
        let Some(path) = &self.path else { return Ok(()) };
        let free = free_bytes(parent_of(path));
        let free = free.map_err(|error| StoreFault::Store(error.to_string()))?;
        let needed = ROOM_BYTES.saturating_add(2 * bytes as u64);
        if free < needed {
            let path = path.display();
            return Err(StoreFault::Full(format!(
                "{free} bytes are free for {path}, {needed} are needed"
            )));
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|opened| opened.in_memory) {
            return Err(StoreFault::Store("there is space again for the directory".to_owned()));
        }
        Ok(())
    }

    /// Closes the folder and opens it again, or a new one if this one is damaged.
    pub(super) fn reopen(&self, damage: Option<&str>) -> Result<(), OpenError> {
        let Some(path) = &self.path else {
            return Err(denied(Path::new("memory"), "it was closed".to_owned()));
        };
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Sled holds the folder's lock until its last handle is gone.
        drop(open.take());
        if let Some(reason) = damage
            && path.exists()
        {
            set_aside(path, reason).map_err(|error| denied(path, error.to_string()))?;
        }
        *open = Some(open_trees(path)?);
        Ok(())
    }
}
