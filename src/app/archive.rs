//! Archiving: removing events that no object needs and a backup has.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{AppError, installation, io, with_log};
use crate::actors::audit::record_offline;
use crate::events::audit::{ArchivedV1, AuditEvent};
use crate::events::log::moment;
use crate::events::log::segment::archive::{self, ArchiveReport, Plan};
use crate::events::log::segment::manifest::BackupError;
use crate::events::log::segment::{FolderLock, OfflineLog};
use crate::files;
use crate::ids::{Position, Timestamp};
use crate::projections::retained::Retained;

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
    /// Finds what can be archived of a data directory's log. Changes nothing.
    ///
    /// # Errors
    /// When there is nothing, a server runs on it, or the backup does not have it.
    pub fn plan(log: &Path, up_to: UpTo, backup: &Path) -> Result<Self, BackupError> {
        let data = log.parent().unwrap_or(log);
        files::check_data(data).map_err(|error| refused(&error))?;
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

    /// Archives it, and records that and why.
    ///
    /// # Errors
    /// What the system says; done again it goes on.
    pub fn run(self, reason: Option<String>) -> Result<ArchiveReport, AppError> {
        let log = self.lock.folder().to_owned();
        let read = OfflineLog::open(&log)?;
        let retained = Retained::of(&read, self.plan.position).map_err(|error| refused(&error))?;
        // It knows where the objects' events are that go; without it, it is rebuilt.
        let index = log.with_file_name("cache").join("log");
        match fs::remove_dir_all(&index) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io(index.display().to_string())(error));
            }
            _ => {}
        }
        let needs = |stream, at| retained.needs(stream, at);
        let done = archive::archive(&self.lock, &self.plan, needs)?;
        if done.taken > 0 {
            let archived = ArchivedV1 { position: done.archived, events: done.taken };
            let archived = AuditEvent::Archived(archived);
            with_log(&index, self.lock, async |log| {
                let recorded = record_offline(log, installation(log)?, reason, &archived).await;
                recorded.map_err(|error| {
                    refused(&format!(
                        "the log was archived, but the audit event was not \
                        recorded: {error}"
                    ))
                    .into()
                })
            })?;
        }
        Ok(done)
    }
}

fn refused(error: &dyn std::fmt::Display) -> BackupError {
    BackupError::Refused(error.to_string())
}
