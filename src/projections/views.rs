//! The views that are read and those that are built beside them, while both follow the log.
//!
//! Pages are read and folded, and what they come to is put in the place of what was there, at once
//! for all who read (rules P1, P2 and P4). From nothing is the same, but that there is none to be
//! read yet.
//! Not here: when, and what happens after a failure (`conductor`).

use super::fold::Fold;
use super::shared::Shared;
use super::tables::Tables;
use crate::events::log::{Each, EventLog, ReadError};
use crate::ids::Position;

/// Events that are read at once, at most. To put what they come to in its place takes a
/// millisecond, during which nobody reads.
const PAGE: usize = 512;

/// Events that are folded for the views that are built, between two looks at what is new for those
/// that are read: 5 ms.
const EVENTS_BESIDE: usize = 4096;

/// The same while nobody reads, between two looks at the orders: a tenth of a second.
const EVENTS_ALONE: usize = 65_536;

/// Views that are unpacked at once while they are built, at about 1 KB each, as long as few of them
/// come again after they were packed. The allocator keeps what they took.
const FEWEST_UNPACKED: usize = 8192;

/// One in so many views that come again, after few were unpacked, and many will.
const AGAIN: usize = 32;

/// The same where objects take turns, so that each of their events would pack and unpack a view and
/// most of the time went into the allocator: 130 MB for as long as that takes.
const MOST_UNPACKED: usize = 131_072;

/// Views that are built, and events that are not in them yet.
struct Building {
    tables: Tables,
    fold: Fold,
    position: Position,
    /// Views that are unpacked at once.
    unpacked: usize,
}

impl Default for Building {
    fn default() -> Self {
        let (tables, fold) = Default::default();
        Self { tables, fold, position: Position(0), unpacked: FEWEST_UNPACKED }
    }
}

/// What follows the log.
pub(super) struct Views<'a> {
    shared: &'a Shared,
    /// What takes the place of the views that are read when it has caught up with them.
    building: Option<Building>,
}

impl<'a> Views<'a> {
    /// Over what is read already, or over nothing.
    pub fn new(shared: &'a Shared) -> Self {
        let mut views = Self { shared, building: None };
        if !shared.is_open() {
            views.start_building();
        }
        views
    }

    /// Begins to build all views anew.
    pub fn start_building(&mut self) {
        tracing::info!("all views are built anew");
        self.building = Some(Building::default());
    }

    /// Does a piece of what there is to do; false when there is nothing.
    pub fn step(&mut self, end: Position) -> Result<bool, ReadError> {
        let is_behind = self.shared.is_open() && *self.shared.position.borrow() < end;
        if is_behind {
            self.follow(end)?;
        }
        let is_building = self.building.is_some();
        if is_building {
            self.build(end)?;
        }
        if !is_behind && !is_building {
            self.reads();
        }
        Ok(is_behind || is_building)
    }

    /// Applies a page to the views that are read.
    fn follow(&self, end: Position) -> Result<(), ReadError> {
        let shared = self.shared;
        let log = &*shared.log;
        let after = *shared.position.borrow();
        let fold = shared.read(|tables| {
            let mut fold = Fold::indexed();
            scan(log, after, end, PAGE, &mut |event| fold.apply(tables, log, event))?;
            Ok::<_, ReadError>(fold)
        });
        let Ok(fold) = fold else { return Ok(()) };
        let folded = fold?.finish();
        self.reads();
        let at = shared.change(|tables| {
            folded.put(tables);
            tables.at.position
        });
        shared.publish(at);
        Ok(())
    }

    /// Gets on with the new views; puts them in the place of the old ones when they are as far.
    fn build(&mut self, end: Position) -> Result<(), ReadError> {
        let shared = self.shared;
        let Some(building) = &mut self.building else { return Ok(()) };
        let (goal, most) = if shared.is_open() {
            (*shared.position.borrow(), EVENTS_BESIDE)
        } else {
            (end, EVENTS_ALONE)
        };
        if let Err(error) = building.follow(&*shared.log, goal, most) {
            // It may be in the middle of an event.
            *building = Building::default();
            return Err(error);
        }
        let at = building.position;
        self.reads();
        shared.say(|condition| condition.rebuilding = Some(at));
        if at < goal {
            return Ok(());
        }
        let Building { mut tables, fold, .. } = self.building.take().unwrap_or_default();
        if tables.is_empty() {
            fold.fill(&mut tables);
        } else {
            fold.put(&mut tables);
            tables.index();
        }
        let former = shared.replace(Some(tables));
        shared.say(|condition| condition.rebuilding = None);
        // It takes long enough that nobody should wait for it.
        drop(former);
        Ok(())
    }

    /// Says that the log can be read, before anybody is told how far.
    fn reads(&self) {
        self.shared.say(|condition| {
            if condition.unhealthy.take().is_some() {
                tracing::info!("the read models follow the log again");
            }
        });
    }
}

impl Building {
    /// Applies up to `most` events, none of them after `goal`.
    fn follow(&mut self, log: &dyn EventLog, goal: Position, most: usize) -> Result<(), ReadError> {
        let mut events = 0;
        while self.position < goal && events < most {
            let Self { tables, fold, position, .. } = self;
            events += scan(log, *position, goal, PAGE, &mut |event| {
                fold.apply(tables, log, event)?;
                *position = event.position;
                Ok(())
            })?;
            if self.fold.len() >= self.unpacked {
                let fold = std::mem::take(&mut self.fold);
                let (before, folded) = (self.tables.len(), fold.len());
                fold.put(&mut self.tables);
                let come_again = self.tables.len() < before + folded - folded / AGAIN;
                if come_again && self.unpacked < MOST_UNPACKED {
                    if self.position.get() < MOST_UNPACKED as u64 {
                        // Little is lost, and all views at once are packed on two threads.
                        *self = Self::default();
                    }
                    self.unpacked = MOST_UNPACKED;
                }
            }
        }
        Ok(())
    }
}

/// Hands over events after a position up to another one, at most so many; there is one at least.
fn scan(
    log: &dyn EventLog,
    after: Position,
    end: Position,
    most: usize,
    each: &mut Each<'_>,
) -> Result<usize, ReadError> {
    let behind = end.get().saturating_sub(after.get());
    let most = usize::try_from(behind).map_or(most, |behind| behind.min(most));
    match log.scan(after, most, each)? {
        0 => Err(ReadError::Io(format!("nothing after position {after} of {end}"))),
        events => Ok(events),
    }
}
