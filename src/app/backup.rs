//! Backing up a data directory, with the time. Not here: what is copied and how
//! (`events/log/segment/backup`).

use std::path::Path;

use crate::clock;
use crate::events::log::segment::backup::{BackupReport, backup};
use crate::events::log::segment::manifest::BackupError;

/// Backs up the log of a data directory, beside a running server too.
///
/// # Errors
/// See [`BackupError`].
pub fn backup_log(log: &Path, target: &Path) -> Result<BackupReport, BackupError> {
    backup(log, target, clock::now())
}
