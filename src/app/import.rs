//! Making a data folder from exported events. Not here: what the lines are (`events/log/export`).

use std::io::BufRead;
use std::path::Path;

use super::{AppError, cache_error, io, open_log};
use crate::config::Config;
use crate::events::log::export;
use crate::events::log::segment::{self, FolderLock};
use crate::ids::Position;
use crate::projections::store::open_cache;

/// Makes a log in a data folder that has none from lines that `magnum log export` wrote. Answers
/// with its last position.
///
/// # Errors
/// When there is a log, or a line that does not continue the one before it.
pub fn import_log(data: &Path, lines: impl BufRead) -> Result<Position, AppError> {
    let folder = data.join("log");
    let lock = FolderLock::take(&folder)?;
    let found = segment::info(&folder)?;
    if found.damage.is_some() || !found.segments.is_empty() {
        let data = data.display();
        return Err(AppError::Import(format!("{data} holds a log; name an empty data folder")));
    }
    let cache = open_cache(&data.join("cache").join("log")).map_err(cache_error)?;
    let log = open_log(&Config::default(), lock, &cache)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io("the threads of the import"))?.block_on(async {
        let imported = export::import(log.as_ref(), lines).await;
        log.close().await;
        imported.map_err(AppError::Import)
    })
}
