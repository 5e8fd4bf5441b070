//! What the segment engine needs of a disk: one folder of files. `Folder` is the real one.
//!
//! Nothing else in the engine accesses files, so a model of a disk that loses power, fails or is
//! full can replace it. Not here: the lock against other processes (`lock.rs`).

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, FallocateFlags, StatxFlags, fallocate, statx};
use rustix::io::Errno;

use crate::files;

/// One folder of files, named without path.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Makes an empty file, over one that is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, over one that is there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// What distinguishes this folder from a copy of it: its inode.
    fn identity(&self) -> io::Result<u64>;
    /// The folder, for messages.
    fn path(&self) -> String;
    /// Bytes that can still be written; as many as one likes where nobody counts.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Reads at an offset; may read fewer bytes than asked for, none only at the end of the file.
    /// After an error what is in `bytes` is not to be used.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; may write fewer bytes than asked for.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the file this long, zeros, with room for all of it if the system can promise that.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// How many names it has; with none it is gone when it is closed.
    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }
}

/// Reads at an offset; fewer bytes than asked for only at the end of the file.
///
/// # Errors
/// What the disk says.
pub fn read_full(file: &dyn DiskFile, mut bytes: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let asked = bytes.len();
    while !bytes.is_empty() {
        let read = file.read_at(bytes, offset)?;
        if read == 0 {
            break;
        }
        bytes = bytes.get_mut(read..).unwrap_or_default();
        offset += read as u64;
    }
    Ok(asked - bytes.len())
}

/// Writes all of it.
///
/// # Errors
/// What the disk says; how much was written is unknown then.
pub fn write_all(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.write_at(bytes, offset)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(written..).unwrap_or_default();
        offset += written as u64;
    }
    Ok(())
}

/// A folder of the machine.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    write: bool,
    /// Open from the first sync of names on: a segment that was just named must not find that this
    /// process has no more files.
    names: Arc<OnceLock<File>>,
}

impl Folder {
    /// A folder that is there.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), write: true, names: Arc::default() }
    }

    /// A folder that is only looked at.
    pub fn read_only(path: &Path) -> Self {
        Self { path: path.to_owned(), write: false, names: Arc::default() }
    }
}

/// Bytes that can still be written on the disk of a folder.
///
/// # Errors
/// When the folder is not there.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(files::open(&self.path.join(name), self.write)?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(files::create(&self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        if let Some(names) = self.names.get() {
            return names.sync_all();
        }
        let names = File::open(&self.path)?;
        self.names.get_or_init(|| names).sync_all()
    }

    fn identity(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.path)
    }
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, bytes, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::write_at(self, bytes, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // Writing all of it finds out.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(self.set_len(bytes)?),
            Err(errno) => Err(errno.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn links(&self) -> io::Result<u64> {
        // Nothing else: once somebody has asked for its times, the next write to a file has to
        // record another one, which took a quarter of the appends.
        let found = statx(self, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK)?;
        Ok(found.stx_nlink.into())
    }
}
