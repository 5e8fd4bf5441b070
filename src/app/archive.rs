//! Archiving: what no object needs any more goes from the log, once a backup has it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::events::log::segment::archive::{self, Done, Plan};
use crate::events::log::segment::manifest::BackupError;
use crate::events::log::segment::{FolderLock, OfflineLog};
use crate::events::log::{OpenError, moment};
use crate::ids::{Position, Timestamp};
use crate::projections::living::Living;

/// Up to where to archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// A position.
    Position(Position),
    /// The last event before the first one that is later than a time.
    Time(Timestamp),
}

/// A log that nobody else opens until it is archived.
#[derive(Debug)]
pub struct Archiving {
    lock: FolderLock,
    plan: Plan,
}

impl Archiving {
    /// Finds what can be archived of a data folder's log. Changes nothing.
    ///
    /// # Errors
    /// When there is nothing, a server runs on it, or the backup does not have it.
    pub fn plan(log: &Path, up_to: UpTo, backup: &Path) -> Result<Self, BackupError> {
        let lock = FolderLock::take(log)?;
        let until = match up_to {
            UpTo::Position(position) => position,
            UpTo::Time(Timestamp(time_us)) => {
                let later = Timestamp(time_us.saturating_add(1));
                moment::before(&OfflineLog::open(log)?, later).map_err(|error| refused(&error))?
            }
        };
        let plan = archive::plan(&lock, until, backup)?;
        Ok(Self { lock, plan })
    }

    /// The last position that will be archived.
    pub const fn position(&self) -> Position {
        self.plan.position
    }

    /// Archives it.
    ///
    /// # Errors
    /// What the system says; done again it goes on.
    pub fn run(&self) -> Result<Done, BackupError> {
        let log = self.lock.folder();
        let read = OfflineLog::open(log)?;
        let living = Living::of(&read, self.plan.position).map_err(|error| refused(&error))?;
        // It knows where the objects' events are that go; without it, it is made anew.
        let index = log.with_file_name("cache").join("log");
        match fs::remove_dir_all(&index) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = index.display().to_string();
                return Err(OpenError::Io { path, source: error }.into());
            }
            _ => {}
        }
        archive::archive(&self.lock, &self.plan, |stream, at| living.needs(stream, at))
    }
}

fn refused(error: &dyn std::error::Error) -> BackupError {
    BackupError::Refused(error.to_string())
}
