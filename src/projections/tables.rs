//! All views in memory with their checkpoint (rule P2), and the changes that are not saved yet.
//!
//! Not here: events (`fold`), sled (`layout`).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::View;
use super::as_of::{self, AsOfError};
use super::each::{Each, PerNoun};
use super::parallel::in_halves;
use super::query::Parked;
use super::table::{IndexEntry, Packed, Table};
use crate::events::codec::{decode, encode};
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Kind, ObjectId, Position, StreamId, StreamKind};
use crate::{each_noun, with_noun};

/// The last event in the views, with the hash of the log's chain there, which identifies the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub position: Position,
    pub hash: [u8; 32],
}

impl Checkpoint {
    /// Whether the log contains this event (failure 54).
    pub fn is_of(self, log: &dyn EventLog) -> Result<bool, ReadError> {
        let Self { position, hash } = self;
        if position == Position(0) {
            return Ok(true);
        }
        let last = log.read(position.before(), 1)?;
        Ok(last.first().is_some_and(|event| event.position == position && event.hash == hash))
    }
}

/// The kinds of records that are saved for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum RecordPart {
    Parked = b'p',
    View = b'v',
}

/// Unsaved changes; `None` removes the record. In the order of the keys in sled.
pub(super) type Changes = BTreeMap<(RecordPart, StreamId), Option<Arc<[u8]>>>;

/// A changed view.
pub(super) struct Change {
    pub kind: Kind,
    pub id: ObjectId,
    pub before: Option<IndexEntry>,
    /// `None` if the object is gone.
    pub after: Option<(IndexEntry, Arc<[u8]>)>,
}

impl Change {
    pub fn of<V: View>(id: ObjectId, before: Option<IndexEntry>, view: Option<&V>) -> Self {
        let after = view.map(|view| (IndexEntry::of(view), encode(view).into()));
        Self { kind: V::KIND, id, before, after }
    }
}

struct EachTable;

impl PerNoun for EachTable {
    type Of<V: View> = Table;
}

/// All views.
#[derive(Default)]
pub(super) struct Tables {
    pub at: Checkpoint,
    tables: Each<EachTable>,
    parked: BTreeMap<StreamId, Parked>,
    /// The generation that they are saved in, if any.
    pub saved_in: Option<u32>,
    /// What is not saved there yet.
    changes: Changes,
}

impl Tables {
    /// Empty tables as of a checkpoint, to be filled from a saved generation.
    pub fn empty(at: Checkpoint, generation: u32) -> Self {
        Self { at, saved_in: Some(generation), ..Self::default() }
    }

    pub fn table(&self, kind: Kind) -> &Table {
        with_noun!(kind, view V => self.tables.of::<V>())
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        with_noun!(kind, view V => self.tables.of_mut::<V>())
    }

    /// Whether there are no views.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many views there are.
    pub fn len(&self) -> usize {
        Kind::ALL.into_iter().map(|kind| self.table(kind).len() as usize).sum()
    }

    pub fn parked(&self) -> &BTreeMap<StreamId, Parked> {
        &self.parked
    }

    /// Changes a view and its index entries.
    pub fn change(&mut self, change: Change) {
        let Change { kind, id, before, after } = change;
        let (entry, row) = after.map_or((None, None), |(entry, bytes)| {
            let created = entry.created();
            (Some(entry), Some((created, bytes)))
        });
        let bytes = row.as_ref().map(|(_, bytes)| Arc::clone(bytes));
        self.changes.insert((RecordPart::View, StreamId::new(kind, id)), bytes);
        let table = self.table_mut(kind);
        table.put(id, row);
        table.index(before, entry);
    }

    /// Advances to a checkpoint, if there is one, and parks streams (rule P3).
    pub fn reach(&mut self, at: Option<Checkpoint>, parked: impl IntoIterator<Item = Parked>) {
        for parked in parked {
            self.changes.insert((RecordPart::Parked, parked.stream), Some(encode(&parked).into()));
            self.parked.insert(parked.stream, parked);
        }
        self.at = at.unwrap_or(self.at);
    }

    /// Sets a view without index entries; [`Tables::index`] must follow.
    pub fn put(&mut self, kind: Kind, id: ObjectId, row: Option<(Position, Arc<[u8]>)>) {
        self.table_mut(kind).put(id, row);
    }

    /// Fills the empty table of a noun and indexes it.
    pub fn fill(&mut self, kind: Kind, packed: Packed) {
        self.table_mut(kind).fill(packed);
    }

    /// Indexes all views.
    pub fn index(&mut self) {
        each_noun!(view V => {
            let table = self.tables.of_mut::<V>();
            table.index_all(table.columns::<V>());
        });
    }

    /// Drains the unsaved changes.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Returns changes that could not be saved.
    pub fn give_back(&mut self, changes: Changes) {
        for (of, bytes) in changes {
            self.changes.entry(of).or_insert(bytes);
        }
    }

    /// Starts a new generation: all views will be written, and everything else becomes a change.
    pub fn save_in(&mut self, generation: u32) {
        self.saved_in = Some(generation);
        let parked = self.parked.values();
        let parked = parked.map(|it| ((RecordPart::Parked, it.stream), Some(encode(it).into())));
        self.changes = parked.collect();
    }

    /// Loads the saved views of a noun. Those that cannot be decoded are folded from the log
    /// (failure 56); returns how many.
    pub fn take_up<V: View>(
        &mut self,
        log: &dyn EventLog,
        saved: Vec<(ObjectId, Arc<[u8]>)>,
    ) -> Result<u64, ReadError> {
        let [(mut packed, mut broken), (others, also_broken)] = in_halves(saved, read::<V>);
        packed.append(others);
        broken.extend(also_broken);
        for (id, reason) in &broken {
            let stream = StreamId::new(V::KIND, *id);
            tracing::error!(%stream, reason, "a view cannot be read; it is folded from the log");
            let view = match as_of::any_view::<V>(log, *id, self.at.position) {
                Ok(view) => view,
                Err(AsOfError::Decode(_)) => None,
                Err(AsOfError::Read(error)) => return Err(error),
            };
            let bytes: Option<Arc<[u8]>> = view.as_ref().map(|view| encode(view).into());
            self.changes.insert((RecordPart::View, stream), bytes.clone());
            view.iter().zip(bytes).for_each(|(view, bytes)| packed.add(view, bytes));
        }
        self.fill(V::KIND, packed);
        Ok(broken.len() as u64)
    }

    /// Loads a parked stream and tries it again: this build may be able to apply what the previous
    /// one could not.
    pub fn unpark(&mut self, log: &dyn EventLog, parked: Parked) -> Result<(), ReadError> {
        let stream = parked.stream;
        self.parked.insert(stream, parked);
        let change = match stream.kind {
            StreamKind::Object(kind) => {
                with_noun!(kind, view V => self.folded_again::<V>(log, stream.id))?
            }
            StreamKind::Audit => None,
        };
        let Some(change) = change else {
            tracing::warn!(%stream, "a stream is still parked");
            return Ok(());
        };
        tracing::info!(%stream, "a stream is no longer parked");
        self.parked.remove(&stream);
        self.changes.insert((RecordPart::Parked, stream), None);
        self.change(change);
        Ok(())
    }

    /// What folding a parked object up to the checkpoint changes; `None` if that is still not
    /// possible.
    fn folded_again<V: View>(
        &self,
        log: &dyn EventLog,
        id: ObjectId,
    ) -> Result<Option<Change>, ReadError> {
        let fold = || as_of::any_view::<V>(log, id, self.at.position);
        match catch_unwind(AssertUnwindSafe(fold)) {
            Ok(Ok(view)) => Ok(Some(Change::of(id, self.entry::<V>(id), view.as_ref()))),
            Ok(Err(AsOfError::Read(error))) => Err(error),
            Ok(Err(AsOfError::Decode(_))) | Err(_) => Ok(None),
        }
    }

    fn entry<V: View>(&self, id: ObjectId) -> Option<IndexEntry> {
        let view = decode::<V>(self.table(V::KIND).get(id)?).ok()?;
        Some(IndexEntry::of(&view))
    }
}

/// Saved views, and why each of the others cannot be decoded.
fn read<V: View>(saved: Vec<(ObjectId, Arc<[u8]>)>) -> (Packed, Vec<(ObjectId, String)>) {
    let (mut packed, mut broken) = (Packed::default(), Vec::new());
    for (id, bytes) in saved {
        match decode::<V>(&bytes) {
            Ok(view) => packed.add(&view, bytes),
            Err(reason) => broken.push((id, reason)),
        }
    }
    (packed, broken)
}
