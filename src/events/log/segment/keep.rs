//! What is looked after while a log is open: its index is moved to sled, files that are removed, or
//! replaced by others, are noticed, and so is room after there was none.
//!
//! What is written to a file without a name is lost when it is closed, and nothing in writing or
//! syncing says so. A folder that was only renamed is still what is written to, but keys and caches
//! would be made in another one at its place. Not here: what the index is (`index.rs`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Shared;
use super::claim::Claim;
use super::disk::Disk;
use super::file::Segment;
use super::names;
use super::stage::Stage;

/// Free bytes below which nothing is moved to sled: more than it holds back in memory, which is a
/// batch and its segments of 512 KB.
const INDEX_ROOM_BYTES: u64 = 2 << 20;

/// Longest time until the index is moved to sled, which is what a start has to read again, and
/// until files that are gone are noticed though nothing is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks after an open log.
pub struct Keeper {
    /// What it shares with readers and the writer.
    pub shared: Arc<Shared>,
    /// Where appends are gathered.
    pub stage: Arc<Stage>,
    /// Where the segments are.
    pub disk: Arc<dyn Disk>,
    /// Who writes.
    pub claim: Claim,
}

impl Keeper {
    /// Goes on until the writer has ended, and moves the rest of the index then. On a disk that is
    /// all but full it stays in memory: after a write that failed sled cannot be read.
    pub fn run(&self, signals: &Receiver<()>) {
        let index = &self.shared.index;
        let has_room = || self.disk.free_bytes().is_ok_and(|free| free >= INDEX_ROOM_BYTES);
        while signals.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Disconnected) {
            if has_room() {
                index.move_to_sled();
            }
            let last = self.shared.segments.last();
            let why = last.as_ref().and_then(|it| lost(self.disk.as_ref(), it, &self.claim));
            if let Some(why) = why {
                self.shared.fail(&self.stage, &why);
            }
            self.look_for_room(last.as_deref());
        }
        if has_room() {
            index.move_to_sled();
            index.flush();
        }
    }

    /// Takes back that there was no room for the next segment, or no file, once there is: who sends
    /// appends only to logs that are well would never find out.
    fn look_for_room(&self, last: Option<&Segment>) {
        if self.shared.health().no_space.is_none() {
            return;
        }
        let needed = last.map_or(0, |last| u64::from(last.header.size));
        // The name of an opening that there is not; a left-over goes at the next start.
        let name = names::unfinished(0);
        let made = self.disk.create(&name).and_then(|_file| self.disk.remove(&name));
        if made.is_ok() && self.disk.free_bytes().is_ok_and(|free| free >= needed) {
            self.shared.health().no_space = None;
        }
    }
}

/// Why nothing that is written to the last segment will be found again, if that is so.
pub fn lost(disk: &dyn Disk, last: &Segment, claim: &Claim) -> Option<String> {
    if last.file.links().is_ok_and(|names| names == 0) {
        return Some(format!("the files in {} were removed", disk.path()));
    }
    match disk.identity() {
        Ok(inode) if inode != claim.inode => {
            Some(format!("another directory has taken the place of {}", disk.path()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("{} is not there any more", disk.path()))
        }
        _ => None,
    }
}
