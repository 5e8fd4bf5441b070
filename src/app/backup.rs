//! Backing up a data directory, with the time. Not here: what is copied and how
//! (`events/log/segment/backup`).

use std::fs;
use std::path::Path;

use crate::clock;
use crate::events::log::segment::backup::{BackupReport, backup};
use crate::events::log::segment::manifest::BackupError;

/// Backs up the log of a data directory, beside a running server too.
///
/// # Errors
/// See [`BackupError`]; also when the target is in the data directory.
pub fn backup_log(log: &Path, target: &Path) -> Result<BackupReport, BackupError> {
    let data = log.parent().unwrap_or(log);
    if is_within(target, data) {
        return Err(BackupError::Refused(format!(
            "{} is in the data directory {}, and would be lost with it. Use a directory elsewhere, \
             preferably on another disk.",
            target.display(),
            data.display()
        )));
    }
    backup(log, target, clock::now())
}

/// Whether a folder, which need not be there yet, is a folder or below it.
fn is_within(target: &Path, data: &Path) -> bool {
    let target = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    let there = target.ancestors().find_map(|folder| fs::canonicalize(folder).ok());
    there.zip(fs::canonicalize(data).ok()).is_some_and(|(there, data)| there.starts_with(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_within_another_by_whatever_name() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("data/log")).unwrap();
        fs::create_dir(at("database")).unwrap();
        std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
        for within in ["data", "data/new", "data/log/a/b", "link/new", "database/../data/new"] {
            assert!(is_within(&at(within), &at("data")), "{within}");
            assert!(is_within(&at(within), &at("link")), "{within}");
        }
        for outside in ["", "new", "database", "database/new", "data2"] {
            assert!(!is_within(&at(outside), &at("data")), "{outside}");
        }
    }
}
