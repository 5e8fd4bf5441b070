//! The lock that keeps a second process out of a data directory.
//!
//! The kernel holds it (`flock`) and releases it when the process ends, however it ends, so a lock
//! file that is left over does no harm. The file names the holder, for people, and is emptied on a
//! clean stop, so a killed process is noticed.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::super::OpenError;
use crate::files;

/// The lock file's name in the folder.
pub const NAME: &str = "lock";

/// Most bytes of the lock file that are shown: a number and a host name.
const HOLDER_BYTES: u64 = 300;

/// A folder that is ours as long as this lives.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: File,
}

impl FolderLock {
    /// Takes the lock of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`OpenError::InUse`] with the holder, or the system's error.
    pub fn take(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(NAME);
        let io = |source| OpenError::Io { path: path.display().to_string(), source };
        files::create_folders(folder).map_err(io)?;
        let mut file = files::open_or_create(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {
                let holder = holder(&file);
                if !holder.is_empty() {
                    tracing::warn!(
                        holder,
                        "the process that used this data directory last was killed or lost \
                         power; the end of the log is checked"
                    );
                }
            }
            Err(TryLockError::WouldBlock) => {
                let path = folder.display().to_string();
                return Err(OpenError::InUse { path, holder: holder(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let host = rustix::system::uname();
        let holder = format!("{} on {}\n", std::process::id(), host.nodename().to_string_lossy());
        // Only for people: on a full disk the lock holds without it.
        let _unsaid = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Self { folder: folder.to_owned(), file })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Only for people: the next holder reads that this one ended in order.
        let _unsaid = self.file.set_len(0);
        // Not left to closing the file: a process that another thread is just starting has a copy
        // of it until it runs its program, and would hold the lock so long.
        let _closed_anyway = self.file.unlock();
    }
}

/// Who the lock file says holds it, or held it last and did not let go of it in order.
fn holder(file: &File) -> String {
    let mut holder = String::new();
    let _unreadable = file.take(HOLDER_BYTES).read_to_string(&mut holder);
    holder.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_open_file_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        // What a process that is forked at this moment has.
        let _copy = lock.file.try_clone().unwrap();
        assert!(matches!(FolderLock::take(folder.path()), Err(OpenError::InUse { .. })));
        drop(lock);
        FolderLock::take(folder.path()).unwrap();
    }
}
