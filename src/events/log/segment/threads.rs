//! The threads of an open log.
//!
//! Not here: what they do (`writer`, `prepare`, `keep`).

use std::thread::JoinHandle;

use super::lock::FolderLock;

/// What ends when the log is closed, in this order.
pub struct LogThreads {
    pub writer: JoinHandle<()>,
    pub preparer: JoinHandle<()>,
    pub indexer: JoinHandle<()>,
    pub lock: Option<FolderLock>,
}

impl LogThreads {
    /// Waits for the threads, then releases the folder.
    pub fn finish(self) {
        for thread in [self.writer, self.preparer, self.indexer] {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        drop(self.lock);
    }
}
