//! The log without threads of its own, for a simulation: its writer does a step when it is told.

use std::sync::Arc;
use std::sync::mpsc as signal;

use super::disk::Disk;
use super::prepare::Preparer;
use super::writer::Writer;
use super::{SegmentLog, SegmentOptions};
use crate::events::log::OpenError;

/// The writer of a log that was opened with [`open`]. Appends wait until it steps.
pub struct Steps(Writer);

/// Opens the log on a disk. Its index stays in memory.
///
/// # Errors
/// See [`OpenError`].
pub fn open(
    disk: Arc<dyn Disk>,
    options: SegmentOptions,
    index: sled::Tree,
) -> Result<(SegmentLog, Steps), OpenError> {
    let (indexer, _nobody) = signal::sync_channel(1);
    let unthreaded = |disk, epoch| Ok((Preparer::unthreaded(disk, epoch), ()));
    let (log, writer, ()) = SegmentLog::assemble(&disk, options, index, indexer, unthreaded)?;
    Ok((log, Steps(writer)))
}

impl Steps {
    /// Writes and syncs what was gathered so far, and answers; false where there was nothing, or
    /// the log takes nothing any more.
    pub fn step(&mut self) -> bool {
        self.0.turn(false)
    }
}
