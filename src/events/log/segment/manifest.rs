//! The manifest of a backup, and access to exactly the log that it describes.
//!
//! A backup is one folder: `segments/`, with the files of a log, and `manifest.json`, which is
//! written last. Segments only grow, so the manifest says how many bytes of each belong to it, and
//! bytes added by a later, interrupted backup do no harm. Not here: making a backup (`backup.rs`),
//! restoring one (`restore.rs`).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::OpenError;
use super::super::export::to_hex;
use super::disk::{Disk, DiskFile, read_full};
use super::file::Segment;
use super::{names, scan};
use crate::files::{self, sync_names};
use crate::ids::{Position, Timestamp};

/// The file's name.
const NAME: &str = "manifest.json";

/// Its name until it is whole.
const UNFINISHED: &str = "manifest.new";

/// The folder of the segments.
const SEGMENTS: &str = "segments";

/// The format that this build writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Bytes that are read and hashed at once.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log, or the system.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// What was asked for cannot be done; the message says what can.
    #[error("{0}")]
    Refused(String),
}

/// A system's error with the file or folder that it is about.
pub fn io_at(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    |source| OpenError::Io { path: path.display().to_string(), source }.into()
}

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the manifest.
    pub format: u32,
    /// The version of the program that made the backup.
    pub magnum: String,
    /// The id of the data directory.
    pub folder: Uuid,
    /// How often the log had been opened.
    pub epoch: u32,
    /// The position of the first event.
    pub first: Position,
    /// The position of the last event.
    pub last: Position,
    /// The chain up to and including it, in hex.
    pub hash: String,
    /// When the last event was decided.
    pub last_event_at: Timestamp,
    /// When the backup began.
    pub backed_up_at: Timestamp,
    /// Its segments, in order.
    pub files: Vec<BackupFile>,
}

/// One segment of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    /// Its name in `segments/`.
    pub file: String,
    /// How many bytes of it belong to the backup; those behind them are zero.
    pub bytes: u64,
    /// BLAKE3 of these bytes, in hex.
    pub blake3: String,
}

/// The manifest as it is written, with what shows that it is whole.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    manifest: Manifest,
    /// BLAKE3 of the fields above as JSON without spaces, in hex.
    checksum: String,
}

/// All that is read of a manifest before its format is known.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    /// Of the first format.
    pub const FORMAT: u32 = FORMAT;

    /// The manifest of a backup; `None` if there is none.
    ///
    /// # Errors
    /// When it is damaged, or a newer program wrote it.
    pub fn read(target: &Path) -> Result<Option<Self>, BackupError> {
        let path = target.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_at(&path)(error)),
        };
        let damaged = |why: String| {
            BackupError::Refused(format!(
                "{} is damaged or not the manifest of a backup: {why}. Use another backup. If \
                 there is none, copy the segments beside it to DIR/log and check them with \
                 `magnum log verify --data DIR`.",
                path.display()
            ))
        };
        let Format { format } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if format > FORMAT {
            return Err(BackupError::Refused(format!(
                "{} has format {format}, this magnum reads up to {FORMAT}; use a newer magnum",
                path.display()
            )));
        }
        let sealed: Sealed =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let manifest = sealed.manifest;
        let names = manifest.files.iter().map(|it| names::number(&it.file));
        if manifest.checksum() != sealed.checksum {
            return Err(damaged("its checksum is wrong".to_owned()));
        }
        if manifest.files.is_empty() || !names.eq((1..).map(Some).take(manifest.files.len())) {
            return Err(damaged("its files are not the segments of a log".to_owned()));
        }
        Ok(Some(manifest))
    }

    /// Writes it, durably, over the one before it.
    ///
    /// # Errors
    /// What the system says; the one before it is still there then.
    pub fn write(&self, target: &Path) -> Result<(), BackupError> {
        let sealed = Sealed { manifest: self.clone(), checksum: self.checksum() };
        let path = target.join(UNFINISHED);
        let written = || {
            let mut bytes = serde_json::to_vec_pretty(&sealed)?;
            bytes.push(b'\n');
            let mut file = files::create(&path)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&path, target.join(NAME))?;
            sync_names(target)
        };
        written().map_err(io_at(&path))
    }

    /// What it says wrongly of the first position and of who wrote last, if anything.
    pub fn contradicted_by(&self, segments: &[Arc<Segment>]) -> Option<String> {
        let first = scan::archived(segments).next();
        let epoch = segments.last().map_or(0, |last| last.header.epoch);
        (self.first != first || self.epoch < epoch).then(|| {
            format!(
                "the segments begin at position {first} and the last one is of epoch {epoch}, but \
                 the manifest says {} and {}: it was changed",
                self.first, self.epoch
            )
        })
    }

    fn checksum(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        to_hex(blake3::hash(&json).as_bytes())
    }
}

/// The folder of a backup's segments.
pub fn segments(target: &Path) -> PathBuf {
    target.join(SEGMENTS)
}

/// Whether a name in a folder can be part of a backup that has no manifest yet.
pub fn is_ours(name: &str) -> bool {
    [UNFINISHED, SEGMENTS, super::lock::NAME].contains(&name)
}

/// BLAKE3 of the first bytes of a file in hex; `None` if it has fewer.
///
/// # Errors
/// What the system says.
pub fn hash_of(path: &Path, bytes: u64) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    let (mut hasher, mut chunk, mut offset) = (blake3::Hasher::new(), vec![0; CHUNK_BYTES], 0);
    while offset < bytes {
        let want = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let read = read_full(&file, chunk.get_mut(..want).unwrap_or_default(), offset)?;
        if read < want {
            return Ok(None);
        }
        hasher.update(chunk.get(..read).unwrap_or_default());
        offset += read as u64;
    }
    Ok(Some(to_hex(hasher.finalize().as_bytes())))
}

/// The segments of a backup, each up to where the manifest says and zero from there on.
#[derive(Debug)]
pub struct BackupDisk {
    folder: PathBuf,
    files: Vec<BackupFile>,
}

impl BackupDisk {
    /// Of the backup in a folder.
    pub fn new(target: &Path, manifest: &Manifest) -> Self {
        Self { folder: segments(target), files: manifest.files.clone() }
    }
}

/// One segment of a backup.
struct SegmentPart {
    file: File,
    bytes: u64,
}

fn read_only<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for BackupDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.files.iter().map(|file| file.file.clone());
        Ok(names.filter(|name| self.folder.join(name).exists()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let known = self.files.iter().find(|known| known.file == name);
        let bytes = known.ok_or(ErrorKind::NotFound)?.bytes;
        Ok(Box::new(SegmentPart { file: File::open(self.folder.join(name))?, bytes }))
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        read_only()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_names(&self) -> io::Result<()> {
        read_only()
    }

    fn identity(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn path(&self) -> String {
        self.folder.display().to_string()
    }
}

impl DiskFile for SegmentPart {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = DiskFile::read_at(&self.file, bytes, offset)?;
        let ours = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(behind) = bytes.get_mut(ours.min(read)..read) {
            behind.fill(0);
        }
        Ok(read)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        read_only()
    }

    fn allocate(&self, _bytes: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
