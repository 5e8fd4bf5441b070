//! The generation that is read and the one that is built beside it, while both follow the log.
//!
//! Pages are read, applied and written batch by batch, and what is written is published (rules P1,
//! P2 and P4). Not here: when, and what happens after a failure (`conductor`).

use std::sync::PoisonError;

use sled::Tree;

use super::conductor::Fault;
use super::generation::{Generation, sweep};
use super::reader::{Condition, Live, Shared};
use super::store::Generations;
use crate::events::log::{EventLog, ReadError};
use crate::ids::Position;

/// Events that are read at once.
const PAGE: usize = 512;

/// Rows that one batch writes while queries are answered. Sled lets nobody read while it applies a
/// batch; a row has about 20 keys of 2 us each, so this is 10 ms.
const ROWS_SERVING: usize = 256;

/// Rows that one batch writes before anybody is answered: fewer, larger batches, as many events of
/// one object become one row.
const ROWS_STARTING: usize = 4096;

/// Events that one batch holds at most, so that the checkpoint gets on where few objects have many.
const EVENTS_A_BATCH: usize = 65_536;

/// Keys of a former generation that are removed at once, between pages.
const SWEEP: usize = 1024;

/// The generations of one session.
pub(super) struct Views<'a> {
    shared: &'a Shared,
    tree: Tree,
    live: Generation,
    building: Option<Generation>,
    /// Whether keys of former generations may be left.
    is_littered: bool,
}

impl<'a> Views<'a> {
    /// Takes up what is there, if it is of this log; otherwise begins with nothing.
    pub fn open(shared: &'a Shared, tree: Tree) -> Result<Self, Fault> {
        let log = &*shared.log;
        let mut found = None;
        let mut building = None;
        if let Some(generations) = Generations::read(&tree)? {
            found = Some(Generation::open(&tree, generations.live)?);
            building = generations.building;
        }
        let (live, building) = match found {
            Some(mut live) if live.is_of(log)? => {
                live.unpark(&tree, log)?;
                let building =
                    building.map(|number| Generation::open(&tree, number)).transpose()?;
                (live, building)
            }
            found => {
                if found.is_some() {
                    tracing::error!("the read models are of another log; they are built anew");
                }
                let live = Generations::unused(&tree)?;
                Generations { live, building: None }.write(&tree)?;
                (Generation::open(&tree, live)?, None)
            }
        };
        Ok(Self { shared, tree, live, building, is_littered: true })
    }

    /// Does a piece of what there is to do; false when there is nothing.
    pub fn step(&mut self, end: Position) -> Result<bool, Fault> {
        let mut busy = false;
        let is_serving = self.is_published();
        if self.live.written.position < end {
            let rows = if is_serving { ROWS_SERVING } else { ROWS_STARTING };
            follow(&mut self.live, &self.tree, &*self.shared.log, end, rows)?;
            busy = true;
        }
        self.publish();
        if let Some(building) = &mut self.building {
            follow(building, &self.tree, &*self.shared.log, end, ROWS_SERVING)?;
            let at = building.written.position;
            self.condition(|condition| condition.rebuilding = Some(at));
            if at >= self.live.written.position {
                self.swap()?;
            }
            busy = true;
        } else if is_serving && self.is_littered {
            self.is_littered = sweep(&self.tree, &[self.live.keys.generation], SWEEP)? > 0;
            busy = true;
        }
        Ok(busy)
    }

    fn is_published(&self) -> bool {
        let live = self.shared.live.read().unwrap_or_else(PoisonError::into_inner);
        live.is_some() && *self.shared.position.borrow() >= self.shared.start_head
    }

    /// Lets queries see what is written. After a failure only when it is no less than before.
    fn publish(&self) {
        let at = self.live.written.position;
        if at < *self.shared.position.borrow() {
            return;
        }
        let keys = self.live.keys;
        let mut live = self.shared.live.write().unwrap_or_else(PoisonError::into_inner);
        let first = live.is_none();
        if live.as_ref().is_none_or(|live| live.keys != keys) {
            *live = Some(Live { tree: self.tree.clone(), keys });
        }
        drop(live);
        self.condition(|condition| {
            if condition.unhealthy.take().is_some() {
                tracing::info!(position = at.0, "the read models follow the log again");
            }
        });
        self.shared.position.send_if_modified(|position| {
            let moved = *position != at;
            *position = at;
            moved || first
        });
    }

    fn condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.shared.condition.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn start_building(&mut self) -> Result<(), Fault> {
        let number = Generations::unused(&self.tree)?;
        let live = self.live.keys.generation;
        Generations { live, building: Some(number) }.write(&self.tree)?;
        self.building = Some(Generation::open(&self.tree, number)?);
        self.is_littered = true;
        tracing::info!(generation = number, "all views are built anew beside those that are read");
        Ok(())
    }

    /// Puts the new generation in the place of the old one, whose keys go bit by bit.
    fn swap(&mut self) -> Result<(), Fault> {
        let Some(building) = self.building.take() else { return Ok(()) };
        let live = building.keys.generation;
        Generations { live, building: None }.write(&self.tree)?;
        self.live = building;
        self.publish();
        self.condition(|condition| condition.rebuilding = None);
        self.is_littered = true;
        tracing::info!(generation = live, "the views that were built anew are read now");
        Ok(())
    }
}

/// Applies what the log has up to `end`, but no more than a batch, and writes it.
fn follow(
    generation: &mut Generation,
    tree: &Tree,
    log: &dyn EventLog,
    end: Position,
    rows: usize,
) -> Result<(), Fault> {
    let mut events = 0;
    while generation.position() < end && generation.dirty() < rows && events < EVENTS_A_BATCH {
        let page = log.read(generation.position(), PAGE)?;
        if page.is_empty() {
            let words = format!("nothing after position {} of {end}", generation.position());
            return Err(Fault::Log(ReadError::Io(words)));
        }
        events += page.len();
        for event in &page {
            generation.apply(tree, log, event)?;
        }
    }
    generation.write(tree)
}
