//! A batch of events: each object's view is decoded once, folded, and encoded once.
//!
//! Not here: where events come from (`update`).

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::Arc;

use super::View;
use super::as_of;
use super::each::{Each, PerNoun};
use super::parallel::in_halves;
use super::query::Parked;
use super::table::{IndexEntry, Packed};
use super::tables::{Change, Checkpoint, Tables};
use crate::events::EventRef;
use crate::events::codec::{decode, encode};
use crate::events::log::{EventLog, ReadError};
use crate::ids::{ObjectId, Position, StreamId, StreamKind};
use crate::{each_noun, with_noun};

/// A view while it is folded.
struct FoldedRow<V> {
    /// Its index keys before the fold; `None` while the table is unindexed.
    before: Option<IndexEntry>,
    view: Option<V>,
}

/// Boxed: views are large, and a growing map moves its values.
type Rows<V> = HashMap<ObjectId, Box<FoldedRow<V>>>;

struct EachRows;

impl PerNoun for EachRows {
    type Of<V: View> = Rows<V>;
}

/// Folded views that are not in the tables yet.
#[derive(Default)]
pub(super) struct Fold {
    at: Option<Checkpoint>,
    rows: Each<EachRows>,
    parked: HashMap<StreamId, Parked>,
    /// Whether the tables are indexed, so that old index keys have to be known.
    is_indexed: bool,
}

impl Fold {
    /// For tables that queries read.
    pub fn indexed() -> Self {
        Self { is_indexed: true, ..Self::default() }
    }

    /// How many views changed.
    pub fn len(&self) -> usize {
        let mut count = 0;
        each_noun!(view V => count += self.rows.of::<V>().len());
        count
    }

    /// Applies an event; one that cannot be applied parks its stream (rule P3).
    pub fn apply(
        &mut self,
        tables: &Tables,
        log: &dyn EventLog,
        event: &EventRef<'_>,
    ) -> Result<(), ReadError> {
        let stream = event.stream;
        if !tables.parked().contains_key(&stream) && !self.parked.contains_key(&stream) {
            let is_indexed = self.is_indexed;
            let applied = match stream.kind {
                StreamKind::Object(kind) => with_noun!(kind, view V => {
                    apply::<V>(self.rows.of_mut::<V>(), is_indexed, tables, log, event)
                })?,
                StreamKind::Audit => Ok(()),
            };
            if let Err(reason) = applied {
                let position = event.position;
                tracing::error!(%stream, %position, reason, "a stream is parked; all others \
                    continue");
                self.parked.insert(stream, Parked { stream, position, reason });
            }
        }
        self.at = Some(Checkpoint { position: event.position, hash: *event.hash });
        Ok(())
    }

    /// The resulting changes. The tables must be unchanged since [`Fold::apply`].
    pub fn finish(mut self) -> Folded {
        let mut changes = Vec::with_capacity(self.len());
        each_noun!(view V => finish(self.rows.take::<V>(), &mut changes));
        Folded { at: self.at, changes, parked: self.parked.into_values().collect() }
    }

    /// Puts the result into empty tables and indexes them.
    pub fn fill(mut self, tables: &mut Tables) {
        each_noun!(view V => fill(self.rows.take::<V>(), tables));
        tables.reach(self.at, self.parked.into_values());
    }

    /// Puts the result into tables that are not indexed.
    pub fn put(mut self, tables: &mut Tables) {
        each_noun!(view V => put(self.rows.take::<V>(), tables));
        tables.reach(self.at, self.parked.into_values());
    }
}

/// What a batch of events changes.
pub(super) struct Folded {
    at: Option<Checkpoint>,
    changes: Vec<Change>,
    parked: Vec<Parked>,
}

impl Folded {
    /// Changes the tables. Kept short: readers are locked out meanwhile.
    pub fn put(self, tables: &mut Tables) {
        self.changes.into_iter().for_each(|change| tables.change(change));
        tables.reach(self.at, self.parked);
    }
}

fn apply<V: View>(
    rows: &mut Rows<V>,
    is_indexed: bool,
    tables: &Tables,
    log: &dyn EventLog,
    event: &EventRef<'_>,
) -> Result<Result<(), String>, ReadError> {
    let id = event.stream.id;
    let row = match rows.entry(id) {
        Occupied(row) => row.into_mut(),
        Vacant(row) => {
            let bytes = tables.table(V::KIND).get(id);
            // What is in memory was encoded or decoded before.
            let view = bytes.and_then(|bytes| decode::<V>(bytes).ok());
            let before = view.as_ref().filter(|_| is_indexed).map(IndexEntry::of);
            row.insert(Box::new(FoldedRow { before, view }))
        }
    };
    // A saved view may be ahead of the checkpoint.
    if row.view.as_ref().is_some_and(|view| view.head().position >= event.position) {
        return Ok(Ok(()));
    }
    let applied = as_of::applied(&mut row.view, event);
    if applied.is_err() {
        row.view = as_of::before(log, event)?;
    }
    Ok(applied)
}

fn finish<V: View>(rows: Rows<V>, changes: &mut Vec<Change>) {
    let folded = rows.into_iter();
    changes.extend(folded.map(|(id, row)| Change::of(id, row.before, row.view.as_ref())));
}

fn fill<V: View>(rows: Rows<V>, tables: &mut Tables) {
    let [mut packed, others] = in_halves(rows.into_values().collect(), |rows| {
        let mut packed = Packed::default();
        let views = rows.into_iter().filter_map(|row| row.view);
        views.for_each(|view| packed.add(&view, encode(&view).into()));
        packed
    });
    packed.append(others);
    tables.fill(V::KIND, packed);
}

fn put<V: View>(rows: Rows<V>, tables: &mut Tables) {
    for (id, row) in rows {
        let bytes = |view: &V| -> (Position, Arc<[u8]>) {
            (view.head().created_position, encode(view).into())
        };
        tables.put(V::KIND, id, row.view.as_ref().map(bytes));
    }
}
