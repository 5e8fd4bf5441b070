//! Applies the log to the live views, and to a rebuild beside them.
//!
//! A page of events is read and folded, and the result becomes visible to all queries at once
//! (rules P1, P2 and P4). A first build is a rebuild without live views.
//! Not here: when to run, and what happens after a failure (`conductor`).

use super::fold::Fold;
use super::state::ReadModelState;
use super::tables::Tables;
use crate::events::log::{Each, EventLog, ReadError};
use crate::ids::Position;

/// Events read at once, at most. Applying the result takes a millisecond, during which queries
/// are locked out.
const PAGE: usize = 512;

/// Events folded into a rebuild between two updates of the live views: 5 ms.
const EVENTS_BESIDE: usize = 4096;

/// The same without live views, between two checks of the orders: a tenth of a second.
const EVENTS_ALONE: usize = 65_536;

/// Decoded views that a rebuild holds, at about 1 KB each, as long as few views are decoded again
/// after they were encoded.
const FEWEST_UNPACKED: usize = 8192;

/// If more than one view in this many was encoded before, [`MOST_UNPACKED`] applies from then on.
const AGAIN: usize = 32;

/// The same where events of many objects alternate, so that almost every event would decode and
/// encode a view: 130 MB during the rebuild.
const MOST_UNPACKED: usize = 131_072;

/// A rebuild: encoded views, and decoded ones that are newer.
struct Building {
    tables: Tables,
    fold: Fold,
    position: Position,
    /// The number of decoded views at which they are encoded.
    unpacked: usize,
}

impl Default for Building {
    fn default() -> Self {
        let (tables, fold) = Default::default();
        Self { tables, fold, position: Position(0), unpacked: FEWEST_UNPACKED }
    }
}

/// Updates the live views and builds new ones.
pub(super) struct ViewUpdater<'a> {
    shared: &'a ReadModelState,
    /// Replaces the live views once it has caught up with them.
    building: Option<Building>,
}

impl<'a> ViewUpdater<'a> {
    /// Continues with the live views; without any, starts to build them.
    pub fn new(shared: &'a ReadModelState) -> Self {
        let mut views = Self { shared, building: None };
        if !shared.is_open() {
            views.start_building();
        }
        views
    }

    /// Starts to rebuild all views.
    pub fn start_building(&mut self) {
        tracing::info!("all views are rebuilt");
        self.building = Some(Building::default());
    }

    /// Does one piece of work; false if there is none.
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

    /// Applies a page to the live views.
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

    /// Continues the rebuild; swaps it with the live views when it has caught up.
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
        shared.say(|health| health.rebuilding = Some(at));
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
        shared.say(|health| health.rebuilding = None);
        // Dropping it takes long; no query may wait for that.
        drop(former);
        Ok(())
    }

    /// Clears the error of the log before the new position is published.
    fn reads(&self) {
        self.shared.say(|health| {
            if health.unhealthy.take().is_some() {
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
                        // Little is lost, and encoding all views at once uses two threads.
                        *self = Self::default();
                    }
                    self.unpacked = MOST_UNPACKED;
                }
            }
        }
        Ok(())
    }
}

/// Visits the events after a position up to `end`, at most `most`; there is at least one.
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
