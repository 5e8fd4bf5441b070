//! What this machine's disk gives, whatever runs on it: the limit that the other figures are held
//! against. A file whose blocks were written before, so that a sync writes data and no metadata.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::report::{Report, percentile, rate};

/// How long each probe writes: long enough for a few hundred syncs of a slow disk.
const LASTS: Duration = Duration::from_secs(2);

/// Bytes of the file, written round and round.
const FILE_BYTES: u64 = 64 << 20;

/// Syncs of writes of one size, each waited for.
pub struct Probe {
    /// How long each write and its sync took.
    pub times: Vec<Duration>,
    /// All of them together.
    pub took: Duration,
}

impl Probe {
    /// Writes and syncs again and again in a folder.
    pub fn run(folder: &Path, write_bytes: usize) -> Self {
        let file = File::create(folder.join("probe")).expect("a file for the probe");
        let zeros = vec![0; 1 << 20];
        (0..FILE_BYTES).step_by(zeros.len()).for_each(|at| {
            file.write_all_at(&zeros, at).expect("room for the probe");
        });
        file.sync_all().expect("a disk that syncs");
        let bytes = vec![0xA5; write_bytes];
        let (mut at, mut times, begin) = (0, Vec::new(), Instant::now());
        while begin.elapsed() < LASTS {
            let start = Instant::now();
            file.write_all_at(&bytes, at).expect("a disk that writes");
            file.sync_data().expect("a disk that syncs");
            times.push(start.elapsed());
            at = if at + 2 * write_bytes as u64 > FILE_BYTES { 0 } else { at + write_bytes as u64 };
        }
        Self { times, took: begin.elapsed() }
    }

    /// Syncs in a second.
    pub fn rate(&self) -> f64 {
        rate(self.times.len() as u64, self.took)
    }
}

/// The disk alone, at the size of one record.
pub fn measure(report: &mut Report) {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let mut probe = Probe::run(folder.path(), 512);
    let figure = format!("{:.0} syncs/s", probe.rate());
    let beside = format!("512 bytes each, p99 {:.2?}", percentile(&mut probe.times, 0.99));
    report.add("The disk itself", &figure, "nothing", true, &beside);
}
