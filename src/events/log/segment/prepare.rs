//! The file of the next segment, prepared by its own thread while the current one fills.
//!
//! All its blocks are written before use: a sync after writing to blocks that are only allocated
//! must also commit file system metadata, and takes twice as long. The file is written in steps,
//! each synced, so that the writer's own syncs never wait for much of it. Not here: what makes it a
//! segment (`file.rs`), when the next one begins (`writer.rs`).

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use super::disk::{Disk, DiskFile, write_all};
use super::names;
use crate::files::{is_full, lacks_files};

/// Bytes that are written and synced at once: some milliseconds of an ordinary disk.
const STEP_BYTES: usize = 1 << 20;

/// Bytes of the first segment of a log, so that a new log is there at once and a small one stays
/// small; each segment is twice as long as the one before it, up to the size that was asked for.
const FIRST_BYTES: u32 = 1 << 20;

/// Bytes of the segment after one of this size (0: of the first one), at most `most`.
pub fn next_size(before: u32, most: u32) -> u32 {
    before.saturating_mul(2).max(FIRST_BYTES).min(most)
}

type Made = io::Result<Box<dyn DiskFile>>;

/// Who makes files.
enum Maker {
    /// The thread, ahead of time.
    Thread { orders: mpsc::Sender<u32>, made: mpsc::Receiver<Made> },
    /// Who takes one, at that time.
    Taker { disk: Arc<dyn Disk>, name: String },
}

/// Where the next file is ordered and taken.
pub struct Preparer {
    maker: Maker,
    /// Bytes of the file that is ordered and not taken.
    ordered: Option<u32>,
    stop: Arc<AtomicBool>,
}

impl Preparer {
    /// Starts the thread of an opening of the log. It ends when this is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(disk: Arc<dyn Disk>, epoch: u32) -> io::Result<(Self, JoinHandle<()>)> {
        let (orders, queue) = mpsc::channel::<u32>();
        let (sender, made) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::Builder::new().name("log-prepare".to_owned());
        let name = names::unfinished(epoch);
        let thread = thread.spawn(move || {
            while let Ok(bytes) = queue.recv() {
                let file = make(disk.as_ref(), &name, bytes, &stopping);
                let _nobody_takes_it = sender.send(file);
            }
            // One that became no segment; the next opening would make another.
            let _not_there = disk.remove(&name);
        })?;
        Ok((Self { maker: Maker::Thread { orders, made }, ordered: None, stop }, thread))
    }

    /// Without a thread: each file is made when it is taken.
    pub fn unthreaded(disk: Arc<dyn Disk>, epoch: u32) -> Self {
        let maker = Maker::Taker { disk, name: names::unfinished(epoch) };
        Self { maker, ordered: None, stop: Arc::default() }
    }

    /// Asks for a file of this many bytes, unless one is on its way.
    pub fn order(&mut self, bytes: u32) {
        if let Maker::Thread { orders, .. } = &self.maker
            && self.ordered.is_none()
            && orders.send(bytes).is_ok()
        {
            self.ordered = Some(bytes);
        }
    }

    /// A file of at least this many bytes and how many it has: the one that was ordered, once it is
    /// ready, or else one of just this size.
    ///
    /// # Errors
    /// What the disk says. What can pass, as that it is full, is tried again if it was said of the
    /// file that was ordered.
    pub fn take(&mut self, bytes: u32) -> io::Result<(Box<dyn DiskFile>, u32)> {
        if let Some(ordered) = self.ordered {
            match self.wait() {
                Ok(file) if ordered >= bytes => return Ok((file, ordered)),
                Err(error) if !is_full(&error) && !lacks_files(&error) => return Err(error),
                // Dropped before another file gets its name.
                Ok(_) | Err(_) => {}
            }
        }
        if let Maker::Taker { disk, name } = &self.maker {
            return Ok((make(disk.as_ref(), name, bytes, &self.stop)?, bytes));
        }
        self.order(bytes);
        Ok((self.wait()?, bytes))
    }

    fn wait(&mut self) -> Made {
        self.ordered = None;
        let ended = || io::Error::other("the thread that prepares segments panicked");
        match &self.maker {
            Maker::Thread { made, .. } => made.recv().map_err(|_| ended())?,
            Maker::Taker { .. } => Err(ended()),
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Makes a file of written zeros, or leaves none: the room is given back.
fn make(disk: &dyn Disk, name: &str, bytes: u32, stop: &AtomicBool) -> Made {
    let made = disk.create(name).and_then(|file| {
        fill(file.as_ref(), u64::from(bytes), stop)?;
        Ok(file)
    });
    if made.is_err() {
        let _not_there = disk.remove(name);
    }
    made
}

fn fill(file: &dyn DiskFile, bytes: u64, stop: &AtomicBool) -> io::Result<()> {
    file.allocate(bytes)?;
    let zeros = vec![0; STEP_BYTES];
    let mut offset = 0;
    while offset < bytes {
        if stop.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        let step = usize::try_from(bytes - offset).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        write_all(file, zeros.get(..step).unwrap_or_default(), offset)?;
        file.sync()?;
        offset += step as u64;
    }
    Ok(())
}
