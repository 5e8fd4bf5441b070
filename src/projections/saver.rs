//! The saver: one thread that writes views to sled, a while after they changed.
//!
//! Views that change often are written once, and neither queries nor the conductor wait for sled.
//! When the store fails, the saver reports it and opens it again; queries continue meanwhile.
//! Not here: keys and generations (`layout`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use sled::Tree;

use super::layout::{self, Keys};
use super::state::ReadModelState;
use super::store::{Store, StoreFault, words};
use super::tables::{Changes, Checkpoint, RecordPart};
use crate::ids::{Kind, StreamId};

/// Time between two batches. What a crash loses is read from the log again: a fifth of a second
/// of a busy log is folded in some 20 ms.
const SAVE: Duration = Duration::from_millis(200);

/// Time between two attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Views of a new generation that are written at once, at about 300 bytes each: 600 KB.
const PIECE: usize = 2048;

/// Writes what changes.
pub(super) struct Saver {
    shared: Arc<ReadModelState>,
    store: Arc<Store>,
    /// Closed when the conductor has stopped.
    ended: Receiver<()>,
    /// The last checkpoint that this thread saved.
    saved: Option<Checkpoint>,
    /// Whether other generations may be in the folder.
    is_littered: bool,
}

/// What is to be written.
enum Due {
    Nothing,
    /// All views, as a generation of their own.
    Everything(u32),
    Changes(u32, Checkpoint, Changes),
}

impl Saver {
    pub fn new(shared: Arc<ReadModelState>, store: Arc<Store>, ended: Receiver<()>) -> Self {
        Self { shared, store, ended, saved: None, is_littered: true }
    }

    /// Saves periodically until the conductor has stopped, and then the rest.
    pub fn run(mut self) {
        let mut wait = SAVE;
        loop {
            let is_over = self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected);
            wait = if self.turn() { SAVE } else { RETRY };
            if is_over {
                break;
            }
        }
        if let Err(error) = self.store.flush() {
            tracing::warn!(%error, "the read models are not flushed; the next start reads the log");
        }
    }

    /// Saves what changed; whether it could.
    pub fn turn(&mut self) -> bool {
        // Sled asserts where it reads what it cannot have written.
        let saved = catch_unwind(AssertUnwindSafe(|| self.save()))
            .unwrap_or_else(|panic| Err(StoreFault::Damaged(words(&*panic))));
        let is_saved = saved.is_ok();
        match saved {
            Ok(()) => self.say(None),
            Err(fault) => self.recover(fault),
        }
        is_saved
    }

    fn save(&mut self) -> Result<(), StoreFault> {
        let tree =
            self.store.views().ok_or_else(|| StoreFault::Store("it is closed".to_owned()))?;
        loop {
            self.store.check_room(0)?;
            match self.due(layout::unused(&tree)?) {
                Due::Nothing => break,
                Due::Everything(generation) => {
                    let written = self.write_all(&tree, Keys(generation));
                    written.inspect_err(|_| self.start_over())?;
                }
                Due::Changes(generation, at, changes) => {
                    self.write(&tree, generation, at, changes)?;
                    break;
                }
            }
        }
        self.sweep(&tree)
    }

    fn due(&self, unused: u32) -> Due {
        let due = self.shared.change(|tables| match tables.saved_in {
            None => {
                tables.save_in(unused);
                Due::Everything(unused)
            }
            Some(_) if self.saved == Some(tables.at) => Due::Nothing,
            Some(generation) => Due::Changes(generation, tables.at, tables.take_changes()),
        });
        due.unwrap_or(Due::Nothing)
    }

    /// Abandons the present generation: everything is written again.
    fn start_over(&self) {
        self.shared.change(|tables| tables.saved_in = None);
    }

    /// Writes all views in the order of their keys. They count only once what changed meanwhile and
    /// the checkpoint were written after them.
    fn write_all(&mut self, tree: &Tree, keys: Keys) -> Result<(), StoreFault> {
        self.is_littered = true;
        self.saved = None;
        for kind in Kind::ALL {
            let mut last = None;
            loop {
                let piece = self.shared.read(|tables| -> Vec<_> {
                    let views = tables.table(kind).after(last).take(PIECE);
                    views.map(|(id, bytes)| (id, Arc::clone(bytes))).collect()
                });
                let piece = piece.unwrap_or_default();
                let Some((id, _)) = piece.last() else { break };
                last = Some(*id);
                self.store.check_room(piece.iter().map(|(_, bytes)| bytes.len()).sum())?;
                for (id, bytes) in piece {
                    let key = keys.stream(RecordPart::View, StreamId::new(kind, id));
                    tree.insert(key, &*bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what changed and then the checkpoint. After a crash between the two, views are ahead
    /// of it, and each view says by how much.
    fn write(
        &mut self,
        tree: &Tree,
        generation: u32,
        at: Checkpoint,
        changes: Changes,
    ) -> Result<(), StoreFault> {
        let bytes = changes.values().flatten().map(|bytes| bytes.len());
        if let Err(full) = self.store.check_room(bytes.sum()) {
            self.shared.change(|tables| tables.give_back(changes));
            return Err(full);
        }
        for ((part, stream), bytes) in changes {
            let key = Keys(generation).stream(part, stream);
            match bytes {
                Some(bytes) => tree.insert(key, &*bytes)?,
                None => tree.remove(key)?,
            };
        }
        layout::seal(tree, generation, &at)?;
        self.saved = Some(at);
        self.shared.saved.store(at.position.get(), Ordering::Relaxed);
        Ok(())
    }

    /// Removes former generations, unless the service is stopping.
    fn sweep(&mut self, tree: &Tree) -> Result<(), StoreFault> {
        let live = self.shared.read(|tables| tables.saved_in);
        let Ok(Some(live)) = live else { return Ok(()) };
        while self.is_littered && self.ended.try_recv() != Err(TryRecvError::Disconnected) {
            self.store.check_room(0)?;
            self.is_littered = layout::sweep(tree, live, PIECE)?;
        }
        Ok(())
    }

    /// Makes the store usable again.
    fn recover(&mut self, fault: StoreFault) {
        let (reason, damage) = match fault {
            StoreFault::Full(reason) => return self.say(Some(reason)),
            StoreFault::Damaged(reason) => (reason.clone(), Some(reason)),
            StoreFault::Store(reason) => (reason, None),
            StoreFault::Log(error) => (error.to_string(), None),
        };
        self.say(Some(reason));
        self.start_over();
        if let Err(error) = self.store.reopen(damage.as_deref()) {
            self.say(Some(error.to_string()));
        }
    }

    /// Reports what is wrong, if anything; to the log only when it is new.
    fn say(&self, words: Option<String>) {
        self.shared.say(|health| {
            match (&health.unsaved, &words) {
                (None, Some(reason)) => {
                    tracing::error!(reason, "views are not saved; trying again")
                }
                (Some(_), None) => tracing::info!("views are saved again"),
                _ => {}
            }
            health.unsaved = words;
        });
    }
}
