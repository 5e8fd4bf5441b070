//! One noun's views in memory, as bytes, with their indexes: by id, by every list field, by bay,
//! and those that wait for work. A container takes about 300 bytes for its view and as many in
//! the indexes.
//!
//! Not here: what is in the bytes, and when they change (`fold`).

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use super::View;
use super::field::{ListField, Value};
use super::index::GroupIndex;
use super::parallel::LONG;
use crate::events::codec::decode;
use crate::ids::{ObjectId, Position, ProjectId};

/// The index keys of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    id: ObjectId,
    project: ProjectId,
    created: Position,
    /// One per field, in the order of [`ListField::all`].
    values: Vec<Value>,
    bay: Option<ObjectId>,
    waits: bool,
}

impl IndexEntry {
    pub fn of<V: View>(view: &V) -> Self {
        let head = view.head();
        Self {
            id: head.uuid,
            project: head.project.clone(),
            created: head.created_position,
            values: ListField::all::<V>().map(|field| field.of(view)).collect(),
            bay: view.bay(),
            waits: !view.tasks().is_empty(),
        }
    }

    pub fn created(&self) -> Position {
        self.created
    }
}

/// The index keys of many objects, until [`Table::index_all`] builds indexes from all of them at
/// once: several times as fast as one object at a time.
#[derive(Default)]
pub(super) struct Columns {
    projects: BTreeMap<ProjectId, ProjectColumns>,
    waiting: Vec<ObjectId>,
}

/// Those of one project.
#[derive(Default)]
struct ProjectColumns {
    /// One column per field, in the order of [`ListField::all`].
    fields: Vec<Vec<OrderKey>>,
    members: Vec<(ObjectId, ObjectId)>,
}

impl Columns {
    fn append(&mut self, other: Self) {
        for (project, columns) in other.projects {
            let mine = self.projects.entry(project).or_default();
            mine.fields.resize_with(columns.fields.len(), Vec::new);
            let fields = mine.fields.iter_mut().zip(columns.fields);
            fields.for_each(|(mine, column)| mine.extend(column));
            mine.members.extend(columns.members);
        }
        self.waiting.extend(other.waiting);
    }

    fn add(&mut self, entry: IndexEntry) {
        let columns = self.projects.entry(entry.project).or_default();
        columns.fields.resize_with(entry.values.len(), Vec::new);
        for (column, value) in columns.fields.iter_mut().zip(entry.values) {
            column.push((value, entry.created));
        }
        columns.members.extend(entry.bay.map(|bay| (bay, entry.id)));
        self.waiting.extend(entry.waits.then_some(entry.id));
    }
}

/// Encoded views of a noun with their index keys.
#[derive(Default)]
pub(super) struct Packed {
    views: Vec<(ObjectId, Position, Arc<[u8]>)>,
    columns: Columns,
}

impl Packed {
    pub fn add<V: View>(&mut self, view: &V, bytes: Arc<[u8]>) {
        let entry = IndexEntry::of(view);
        self.views.push((entry.id, entry.created, bytes));
        self.columns.add(entry);
    }

    pub fn append(&mut self, other: Self) {
        self.views.extend(other.views);
        self.columns.append(other.columns);
    }
}

/// A place in the order of a field: a value, and for equal values the order of creation.
pub(super) type OrderKey = (Value, Position);

/// The index of a field: value to objects, in the order of creation.
pub(super) type Order = GroupIndex<Value, Position>;

/// For projects without objects.
static EMPTY: Order = Order::EMPTY;

/// Builds the index of each column, in parallel if they are long.
fn orders(columns: Vec<Vec<OrderKey>>) -> Vec<Order> {
    if columns.first().is_none_or(|column| column.len() < LONG) {
        return columns.into_iter().map(Order::from_iter).collect();
    }
    thread::scope(|scope| {
        let each = columns.into_iter().map(|column| scope.spawn(|| Order::from_iter(column)));
        let threads: Vec<_> = each.collect();
        let done = threads.into_iter().map(|it| it.join().unwrap_or_else(|it| resume_unwind(it)));
        done.collect()
    })
}

/// The indexes of one project's objects.
#[derive(Default)]
struct ProjectIndexes {
    /// One index per field, in the order of [`ListField::all`].
    orders: Vec<Order>,
    /// Objects by the bay that they are members of.
    members: GroupIndex<ObjectId, ObjectId>,
}

/// All objects of one noun.
#[derive(Default)]
pub(super) struct Table {
    ids: BTreeMap<ObjectId, Position>,
    /// By position of creation, which is what the indexes refer to.
    rows: BTreeMap<Position, Arc<[u8]>>,
    projects: BTreeMap<ProjectId, ProjectIndexes>,
    waiting: BTreeSet<ObjectId>,
}

impl Table {
    pub fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// A view by id.
    pub fn get(&self, id: ObjectId) -> Option<&Arc<[u8]>> {
        self.row(*self.ids.get(&id)?)
    }

    /// A view by its position of creation.
    pub fn row(&self, created: Position) -> Option<&Arc<[u8]>> {
        self.rows.get(&created)
    }

    /// Views in the order of their ids, after one of them.
    pub fn after(&self, id: Option<ObjectId>) -> impl Iterator<Item = (ObjectId, &Arc<[u8]>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = self.ids.range((id.map_or(Unbounded, Excluded), Unbounded));
        range.filter_map(|(id, created)| Some((*id, self.row(*created)?)))
    }

    /// The index of a project's objects by a field.
    pub fn order(&self, project: &ProjectId, field: ListField) -> &Order {
        let indexes = self.projects.get(project);
        indexes.and_then(|indexes| indexes.orders.get(field.index())).unwrap_or(&EMPTY)
    }

    /// A project's objects that are members of a bay, in the order of their ids, after one of them.
    pub fn members<'a>(
        &'a self,
        project: &ProjectId,
        bay: ObjectId,
        after: Option<&'a ObjectId>,
    ) -> impl Iterator<Item = ObjectId> + use<'a> {
        let indexes = self.projects.get(project).into_iter();
        indexes.flat_map(move |indexes| indexes.members.of(&bay, after))
    }

    /// How many objects wait for work.
    pub fn waiting_len(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Objects that wait for work.
    pub fn waiting(&self) -> impl Iterator<Item = ObjectId> {
        self.waiting.iter().copied()
    }

    /// Fills an empty table and indexes it.
    pub fn fill(&mut self, packed: Packed) {
        let Packed { views, columns } = packed;
        self.ids = views.iter().map(|(id, created, _)| (*id, *created)).collect();
        self.rows = views.into_iter().map(|(_, created, bytes)| (created, bytes)).collect();
        self.index_all(columns);
    }

    /// Sets or removes a view, without its index entries: see [`Table::index`].
    pub fn put(&mut self, id: ObjectId, row: Option<(Position, Arc<[u8]>)>) {
        let before = match &row {
            Some((created, _)) => self.ids.insert(id, *created),
            None => self.ids.remove(&id),
        };
        if let Some(before) = before {
            self.rows.remove(&before);
        }
        self.rows.extend(row);
    }

    /// Replaces the index entries of an object.
    pub fn index(&mut self, before: Option<IndexEntry>, after: Option<IndexEntry>) {
        if before == after {
            return;
        }
        let is_same =
            |a: &IndexEntry, b: &IndexEntry| (a.created, &a.project) == (b.created, &b.project);
        match (before, after) {
            (Some(before), Some(after)) if is_same(&before, &after) => self.change(before, after),
            (before, after) => {
                if let Some(before) = before {
                    self.remove(&before);
                }
                if let Some(after) = after {
                    self.insert(after);
                }
            }
        }
    }

    /// The index keys of all views.
    pub fn columns<V: View>(&self) -> Columns {
        let mut columns = Columns::default();
        let views = self.rows.values().filter_map(|bytes| decode::<V>(bytes).ok());
        views.for_each(|view| columns.add(IndexEntry::of(&view)));
        columns
    }

    /// Indexes all views, none of which were indexed before.
    pub fn index_all(&mut self, columns: Columns) {
        let Columns { projects, waiting } = columns;
        let projects = projects.into_iter().map(|(project, columns)| {
            let members = columns.members.into_iter().collect();
            (project, ProjectIndexes { orders: orders(columns.fields), members })
        });
        self.projects = projects.collect();
        self.waiting = waiting.into_iter().collect();
    }

    fn insert(&mut self, entry: IndexEntry) {
        let indexes = self.projects.entry(entry.project).or_default();
        indexes.orders.resize_with(entry.values.len(), Order::default);
        for (order, value) in indexes.orders.iter_mut().zip(entry.values) {
            order.insert(value, entry.created);
        }
        if let Some(bay) = entry.bay {
            indexes.members.insert(bay, entry.id);
        }
        if entry.waits {
            self.waiting.insert(entry.id);
        }
    }

    fn remove(&mut self, entry: &IndexEntry) {
        if let Some(indexes) = self.projects.get_mut(&entry.project) {
            for (order, value) in indexes.orders.iter_mut().zip(&entry.values) {
                order.remove(value, entry.created);
            }
            if let Some(bay) = entry.bay {
                indexes.members.remove(&bay, entry.id);
            }
            if indexes.orders.iter().all(Order::is_empty) {
                self.projects.remove(&entry.project);
            }
        }
        self.waiting.remove(&entry.id);
    }

    /// Changes only the keys that differ; most do not.
    fn change(&mut self, before: IndexEntry, after: IndexEntry) {
        if let Some(indexes) = self.projects.get_mut(&after.project) {
            let values = before.values.into_iter().zip(after.values);
            for (order, (old, new)) in indexes.orders.iter_mut().zip(values) {
                if old != new {
                    order.remove(&old, after.created);
                    order.insert(new, after.created);
                }
            }
            if before.bay != after.bay {
                before.bay.inspect(|bay| indexes.members.remove(bay, after.id));
                after.bay.inspect(|bay| indexes.members.insert(*bay, after.id));
            }
        }
        if after.waits {
            self.waiting.insert(after.id);
        } else {
            self.waiting.remove(&after.id);
        }
    }
}
