//! What this machine's disk gives, whatever runs on it: the limit that the other figures are held
//! against. A file whose blocks were written before, so that a sync writes data and no metadata.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::report::{Report, percentile, rate};

/// How long the probe of its own row writes: long enough for a few hundred syncs of a slow disk.
const LASTS: Duration = Duration::from_secs(2);

/// Bytes of the file, written round and round: one segment.
const FILE_BYTES: u64 = 64 << 20;

/// Syncs of writes of one size, each waited for.
pub struct Probe {
    file: File,
    at: u64,
    /// How long each write and its sync took.
    pub times: Vec<Duration>,
    /// All of them together.
    pub took: Duration,
}

impl Probe {
    /// A file in a folder, written whole and synced.
    pub fn new(folder: &Path) -> Self {
        let file = File::create(folder.join("probe")).expect("a file for the probe");
        let zeros = vec![0; 1 << 20];
        (0..FILE_BYTES).step_by(zeros.len()).for_each(|at| {
            file.write_all_at(&zeros, at).expect("room for the probe");
        });
        file.sync_all().expect("a disk that syncs");
        Self { file, at: 0, times: Vec::new(), took: Duration::ZERO }
    }

    /// Writes and syncs again and again, so many bytes at a time.
    pub fn run(&mut self, write_bytes: usize, lasts: Duration) {
        let bytes = vec![0xA5; write_bytes];
        let begin = Instant::now();
        while begin.elapsed() < lasts {
            self.write(&bytes);
        }
        self.took += begin.elapsed();
    }

    /// Writes and syncs once.
    pub fn write(&mut self, bytes: &[u8]) {
        let start = Instant::now();
        self.file.write_all_at(bytes, self.at).expect("a disk that writes");
        self.file.sync_data().expect("a disk that syncs");
        self.times.push(start.elapsed());
        let end = self.at + 2 * bytes.len() as u64;
        self.at = if end > FILE_BYTES { 0 } else { self.at + bytes.len() as u64 };
    }

    /// Syncs in a second.
    pub fn rate(&self) -> f64 {
        rate(self.times.len() as u64, self.took)
    }
}

/// The disk alone, at the size of one record.
pub fn measure(report: &mut Report) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut probe = Probe::new(folder.path());
    probe.run(512, LASTS);
    let figure = format!("{:.0} syncs/s", probe.rate());
    let beside = format!("512 bytes each, p99 {:.2?}", percentile(&mut probe.times, 0.99));
    report.add("The disk itself", &figure, "nothing", true, &beside);
}
