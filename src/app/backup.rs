//! Backing up a data folder, with the time of it. Not here: what is copied and how
//! (`events/log/segment/backup`).

use std::path::Path;

use crate::clock;
use crate::events::log::segment::backup::{Done, backup};
use crate::events::log::segment::manifest::BackupError;

/// Backs up the log of a data folder, beside a running server too.
///
/// # Errors
/// See [`BackupError`].
pub fn backup_log(log: &Path, target: &Path) -> Result<Done, BackupError> {
    backup(log, target, clock::now())
}
