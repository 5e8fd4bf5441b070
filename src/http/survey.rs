//! What the metrics show that takes long to find out: how many objects there are of each status,
//! and what the data directory takes. Found out again after a while, whoever asks how often.
//!
//! Not here: how it is shown (`metrics`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::ApiError;
use crate::blocking;
use crate::clock;
use crate::config::StorageConfig;
use crate::events::log::segment::disk::free_bytes;
use crate::events::log::segment::manifest::Manifest;
use crate::ids::Kind;
use crate::projections::census::Census;
use crate::projections::read_models::ReadModels;

/// How long it holds: less than Prometheus waits between two looks.
const HOLDS: Duration = Duration::from_secs(5);

/// Bays whose containers are counted one by one. Each is a time series that monitoring keeps.
const MAX_BAYS: usize = 100;

/// Sizes of files are counted in blocks of this size, whatever the disk's is.
const BLOCK_BYTES: u64 = 512;

/// What was found out.
#[derive(Default)]
pub struct Survey {
    /// How many objects there are.
    pub census: Census,
    /// Bytes that the data directory takes.
    pub used_bytes: Option<u64>,
    /// Bytes that are free on its disk.
    pub free_bytes: Option<u64>,
    /// Milliseconds since the last backup, where the service was told where backups are.
    pub backup_age_ms: Option<u64>,
}

/// The last one.
#[derive(Default)]
pub struct LastSurvey(Mutex<Option<(Instant, Arc<Survey>)>>);

impl LastSurvey {
    /// The last one if it still holds, otherwise a new one; one at a time.
    ///
    /// # Errors
    /// When nothing can be read.
    pub async fn get(
        &self,
        reads: &ReadModels,
        storage: Option<&StorageConfig>,
    ) -> Result<Arc<Survey>, ApiError> {
        let mut last = self.0.lock().await;
        if let Some((at, survey)) = &*last
            && at.elapsed() < HOLDS
        {
            return Ok(survey.clone());
        }
        let (reads, storage) = (reads.clone(), storage.cloned());
        let made = blocking::run(move || {
            let census = reads.census(MAX_BAYS);
            census.map(|census| survey(census, storage.as_ref()))
        });
        let made = made.await.map_err(ApiError::Internal)?;
        let made = Arc::new(made.map_err(|error| ApiError::query(Kind::Container, "", error))?);
        *last = Some((Instant::now(), made.clone()));
        Ok(made)
    }
}

fn survey(census: Census, storage: Option<&StorageConfig>) -> Survey {
    let Some(storage) = storage else { return Survey { census, ..Survey::default() } };
    let data = &storage.data_dir;
    let backup = storage.backup_dir.as_deref().and_then(|target| Manifest::read(target).ok()?);
    Survey {
        census,
        used_bytes: Some(used_bytes(data)),
        free_bytes: free_bytes(data).ok(),
        backup_age_ms: backup.map(|backup| clock::now().since_ms(backup.backed_up_at)),
    }
}

/// Bytes that the files of a folder take on their disk. What is removed meanwhile is not counted,
/// and neither is where links lead.
fn used_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let used = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => used_bytes(&entry.path()),
        Ok(found) => found.blocks().saturating_mul(BLOCK_BYTES),
        Err(_) => 0,
    });
    used.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_folder_are_counted_but_not_where_links_lead() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("data/log")).unwrap();
        fs::write(at("data/log/a"), vec![1; 100_000]).unwrap();
        fs::write(at("big"), vec![1; 1_000_000]).unwrap();
        std::os::unix::fs::symlink(at("big"), at("data/link")).unwrap();
        let used = used_bytes(&at("data"));
        assert!((100_000..300_000).contains(&used), "{used}");
        assert_eq!(used_bytes(&at("nothing")), 0);
    }
}
