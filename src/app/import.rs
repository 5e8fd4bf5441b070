//! Creating a data directory from exported events. Not here: the format (`events/log/export`).

use std::io::BufRead;
use std::path::Path;

use super::{AppError, io, with_log};
use crate::events::log::export;
use crate::events::log::segment::{self, FolderLock};
use crate::files;
use crate::ids::Position;

/// Makes a log in a data directory that has none from lines that `magnum log export` wrote. Answers
/// with its last position.
///
/// # Errors
/// When there is a log, or a line that does not continue the one before it.
pub fn import_log(data: &Path, lines: impl BufRead) -> Result<Position, AppError> {
    files::create_folders(data).map_err(io(format!("{}", data.display())))?;
    files::check_data(data)?;
    let folder = data.join("log");
    let lock = FolderLock::take(&folder)?;
    let found = segment::info(&folder)?;
    if found.damage.is_some() || !found.segments.is_empty() {
        let data = data.display();
        return Err(AppError::Import(format!(
            "{data} already contains a log; specify an empty \
            data directory"
        )));
    }
    with_log(&data.join("cache").join("log"), lock, async |log| {
        export::import(log, lines).await.map_err(AppError::Import)
    })
}
