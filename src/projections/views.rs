//! The generation that is read and the one that is built beside it, while both follow the log.
//!
//! Pages are read, applied and written, and what is written is published (rules P1, P2 and P4).
//! From nothing is the same: then there is none to be read yet. Not here: when, and what happens
//! after a failure (`conductor`).

use std::sync::PoisonError;

use sled::Tree;

use super::conductor::Fault;
use super::generation::{Generation, sweep};
use super::reader::{Condition, Live, Shared};
use super::store::{self, Store};
use crate::events::log::{EventLog, ReadError};
use crate::ids::Position;

/// Events that are read at once, at most.
const PAGE: usize = 512;

/// Events that are applied between two looks at the orders: a fifth of a second.
const EVENTS: usize = 65_536;

/// Rows that one batch of the generation that is read writes. A row has about 10 keys that change,
/// of 10 us each, and nobody reads meanwhile: 13 ms.
const ROWS_READ: usize = 128;

/// Rows that a generation that is built writes together: as many as fit into 100 MB with all their
/// keys. The more, the more events of one object become one row.
const ROWS_BUILT: usize = 16_384;

/// Keys of a generation that is built, that are written between two looks at
/// what is new for those who read: 40 ms.
const KEYS_BESIDE: usize = 4096;

/// Keys of former generations that are removed at once: 5 ms.
const SWEEP: usize = 512;

/// The generations of one session.
pub(super) struct Views<'a> {
    shared: &'a Shared,
    store: &'a Store,
    tree: Tree,
    /// The one that is read; none while it is built from nothing.
    live: Option<Generation>,
    /// The one that takes its place when it has caught up. A crash leaves litter of it.
    building: Option<Generation>,
    is_littered: bool,
}

impl<'a> Views<'a> {
    /// Takes up what is there, if it is of this log; otherwise begins with nothing.
    pub fn open(shared: &'a Shared, store: &'a Store, tree: Tree) -> Result<Self, Fault> {
        let log = &*shared.log;
        let mut views = Self { shared, store, tree, live: None, building: None, is_littered: true };
        if let Some(number) = store::live(&views.tree)? {
            let mut found = Generation::open(&views.tree, number)?;
            if found.is_of(log)? {
                if found.unpark(&views.tree, log)? {
                    found.write(&views.tree)?;
                }
                views.live = Some(found);
                return Ok(views);
            }
            tracing::error!("the read models are of another log; they are built anew");
        }
        views.start_building()?;
        Ok(views)
    }

    /// Does a piece of what there is to do; false when there is nothing.
    pub fn step(&mut self, end: Position) -> Result<bool, Fault> {
        let log = &*self.shared.log;
        let is_behind = self.live.as_ref().is_none_or(|live| live.written.position < end);
        if is_behind || self.building.is_some() || self.is_littered {
            self.store.check_room().map_err(Fault::Full)?;
        }
        let mut busy = false;
        if let Some(live) = &mut self.live {
            if is_behind {
                follow(live, &self.tree, log, end, ROWS_READ)?;
                live.write(&self.tree)?;
                busy = true;
            }
            self.publish();
        }
        if self.building.is_some() {
            self.build(end)?;
            busy = true;
        } else if self.is_littered {
            let live = self.live.as_ref().map(|live| live.keys.generation);
            self.is_littered = sweep(&self.tree, live, SWEEP)? > 0;
            busy = true;
        }
        Ok(busy)
    }

    /// Begins to build all views anew.
    pub fn start_building(&mut self) -> Result<(), Fault> {
        let number = store::unused(&self.tree)?;
        self.building = Some(Generation::open(&self.tree, number)?);
        self.is_littered = true;
        tracing::info!(generation = number, "all views are built anew");
        Ok(())
    }

    /// Gets on with the new generation; puts it in the place of the old one when it is as far.
    fn build(&mut self, end: Position) -> Result<(), Fault> {
        let Some(building) = &mut self.building else { return Ok(()) };
        let goal = self.live.as_ref().map_or(end, |live| live.written.position);
        if building.go_on_writing(&self.tree, KEYS_BESIDE)? {
            follow(building, &self.tree, &*self.shared.log, end, ROWS_BUILT)?;
            if building.position() >= goal || building.dirty() >= ROWS_BUILT {
                building.begin_to_write(&self.tree)?;
                building.go_on_writing(&self.tree, KEYS_BESIDE)?;
            }
        }
        let at = building.position();
        let is_done = building.written.position >= goal;
        if is_done {
            store::set_live(&self.tree, building.keys.generation)?;
            self.live = self.building.take();
            self.publish();
        }
        self.condition(|condition| condition.rebuilding = (!is_done).then_some(at));
        Ok(())
    }

    /// Lets queries see what is written. After a failure only when it is no less than before.
    fn publish(&self) {
        let Some(Generation { keys, written, .. }) = self.live.as_ref() else { return };
        let at = written.position;
        if at < *self.shared.position.borrow() {
            return;
        }
        let mut live = self.shared.live.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = live.as_ref().is_none_or(|live| live.keys != *keys);
        if is_new {
            *live = Some(Live { tree: self.tree.clone(), keys: *keys });
        }
        drop(live);
        self.condition(|condition| {
            if condition.unhealthy.take().is_some() {
                tracing::info!(position = at.0, "the read models follow the log again");
            }
        });
        self.shared.position.send_if_modified(|position| {
            let is_news = is_new || *position != at;
            *position = at;
            is_news
        });
    }

    fn condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.shared.condition.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Applies what the log has up to `end`, until so many rows changed or it is time to look up.
fn follow(
    generation: &mut Generation,
    tree: &Tree,
    log: &dyn EventLog,
    end: Position,
    rows: usize,
) -> Result<(), Fault> {
    let mut events = 0;
    while generation.position() < end && generation.dirty() < rows && events < EVENTS {
        let page = log.read(generation.position(), PAGE.min(rows))?;
        if page.is_empty() {
            let words = format!("nothing after position {} of {end}", generation.position());
            return Err(Fault::Log(ReadError::Io(words)));
        }
        events += page.len();
        for event in &page {
            generation.apply(tree, log, event)?;
        }
    }
    Ok(())
}
