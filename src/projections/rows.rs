//! The rows of one noun in one generation: views that events change, and what is written of them.
//!
//! Events of one object that come close together change its row in memory and are written once.
//! Not here: when that is (`generation`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use sled::Tree;

use super::keys::{self, Field, Keys, Tag};
use super::past::{self, PastError};
use super::{View, conductor::Fault};
use crate::events::Recorded;
use crate::events::codec::{decode, encode};
use crate::events::log::EventLog;
use crate::ids::{ObjectId, Position, StreamId};

/// What rows are read from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub tree: &'a Tree,
    pub log: &'a dyn EventLog,
    pub keys: Keys,
    /// Up to where the tree is written.
    pub written: Position,
}

/// Records that are written, none where one goes. In order, which sled likes best.
pub(super) type Records = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What is written: records, and by how much counts change.
pub(super) struct Writes {
    pub keys: Keys,
    pub records: Records,
    pub counts: HashMap<Vec<u8>, i64>,
}

impl Writes {
    fn put(&mut self, key: Vec<u8>, value: &[u8]) {
        self.records.insert(key, Some(value.to_vec()));
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.records.insert(key, None);
    }

    fn count(&mut self, key: Vec<u8>, by: i64) {
        *self.counts.entry(key).or_default() += by;
    }
}

/// The keys that a view is found by.
#[derive(Clone, Default, PartialEq, Eq)]
struct Indexed {
    /// One key a field, in the order of [`Field::all`].
    fields: Vec<Vec<u8>>,
    /// Keys that are there or not: waits for work, member of a bay.
    marks: Vec<Vec<u8>>,
}

impl Indexed {
    fn of<V: View>(keys: Keys, view: &V) -> Self {
        let stream = StreamId::new(V::KIND, view.head().uuid);
        let mut marks = Vec::new();
        if !view.tasks().is_empty() {
            marks.push(keys.stream(Tag::Outstanding, stream));
        }
        if let Some(bay) = view.bay() {
            let mut key = keys.members(bay);
            key.extend(stream.id.0.as_bytes());
            marks.push(key);
        }
        Self { fields: Field::all::<V>().map(|field| keys.entry(view, field)).collect(), marks }
    }
}

struct Row<V> {
    view: Option<V>,
    /// The keys that are written for it; none where it is not.
    indexed: Option<Indexed>,
    is_dirty: bool,
}

/// The rows of one noun that are in memory. Those that are not are read when an event needs them.
pub(super) struct Rows<V> {
    rows: HashMap<ObjectId, Row<V>>,
    dirty: Vec<ObjectId>,
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self { rows: HashMap::new(), dirty: Vec::new() }
    }
}

impl<V: View> Rows<V> {
    /// Applies an event. The inner error says why it cannot be: then the row is as before.
    pub fn apply(
        &mut self,
        from: Source<'_>,
        event: &Recorded,
    ) -> Result<Result<(), String>, Fault> {
        let id = event.stream.id;
        let row = match self.rows.entry(id) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(row) => row.insert(load(from, id)?),
        };
        let before = row.view.take();
        // A panic in a fold is as much the event's own trouble as bytes that cannot be read.
        let applied = catch_unwind(AssertUnwindSafe(|| V::apply(before, event)));
        let reason = match applied {
            Ok(Ok(view)) => {
                row.view = view;
                if !row.is_dirty {
                    row.is_dirty = true;
                    self.dirty.push(id);
                }
                return Ok(Ok(()));
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("applying it panicked: {}", super::store::words(&*panic)),
        };
        row.view = refold(from, id, Position(event.position.0.saturating_sub(1)))?;
        Ok(Err(reason))
    }

    /// Puts a view there, whatever was there: what a stream folds to that is parked no longer.
    pub fn put(&mut self, from: Source<'_>, id: ObjectId, view: Option<V>) -> Result<(), Fault> {
        let mut row = load::<V>(from, id)?;
        row.view = view;
        row.is_dirty = true;
        self.rows.insert(id, row);
        self.dirty.push(id);
        Ok(())
    }

    /// Rows that changed since they were last written.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Adds all that changed to what is written, and forgets rows beyond `keep`.
    pub fn write(&mut self, writes: &mut Writes, keep: usize) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            row.is_dirty = false;
            let key = writes.keys.stream(Tag::View, StreamId::new(V::KIND, id));
            let after = row.view.as_ref().map(|view| Indexed::of(writes.keys, view));
            writes.records.insert(key, row.view.as_ref().map(encode));
            index::<V>(writes, id, row.indexed.as_ref(), after.as_ref());
            row.indexed = after;
        }
        if self.rows.len() > keep {
            self.rows.clear();
        }
    }
}

fn index<V: View>(
    writes: &mut Writes,
    id: ObjectId,
    before: Option<&Indexed>,
    after: Option<&Indexed>,
) {
    let exists = i64::from(after.is_some()) - i64::from(before.is_some());
    if exists != 0 {
        writes.count(writes.keys.kind_count(V::KIND), exists);
    }
    for (number, field) in Field::all::<V>().enumerate() {
        let key = |of: Option<&Indexed>| of.and_then(|of| of.fields.get(number)).cloned();
        let (old, new) = (key(before), key(after));
        if old == new {
            continue;
        }
        for (key, by) in [(old, -1), (new, 1)] {
            let Some(key) = key else { continue };
            if let Some((value, _)) = keys::split(&key).filter(|_| field.is_counted()) {
                writes.count(keys::count_of(value), by);
            }
            if by > 0 {
                writes.put(key, id.0.as_bytes());
            } else {
                writes.remove(key);
            }
        }
    }
    let marks = |of: Option<&Indexed>| of.map(|of| of.marks.clone()).unwrap_or_default();
    let (old, new) = (marks(before), marks(after));
    for key in old.iter().filter(|key| !new.contains(key)) {
        writes.remove(key.clone());
    }
    for key in new.iter().filter(|key| !old.contains(key)) {
        writes.put(key.clone(), &[]);
    }
}

/// Reads a row. One that cannot be read is folded anew from the log.
fn load<V: View>(from: Source<'_>, id: ObjectId) -> Result<Row<V>, Fault> {
    let stream = StreamId::new(V::KIND, id);
    let bytes = from.tree.get(from.keys.stream(Tag::View, stream))?;
    let view = match bytes.map(|bytes| decode::<V>(&bytes)) {
        None => None,
        Some(Ok(view)) => Some(view),
        Some(Err(error)) => {
            tracing::error!(%stream, %error, "a view cannot be read; it is made again");
            refold(from, id, from.written)?
        }
    };
    let indexed = view.as_ref().map(|view| Indexed::of(from.keys, view));
    Ok(Row { view, indexed, is_dirty: false })
}

/// A view from the log alone; none where its events cannot be read, which parks its stream.
fn refold<V: View>(from: Source<'_>, id: ObjectId, at: Position) -> Result<Option<V>, Fault> {
    match past::as_of(from.log, id, at) {
        Ok(view) => Ok(view),
        Err(PastError::Decode(_)) => Ok(None),
        Err(PastError::Read(error)) => Err(error.into()),
    }
}
