//! How a page of a list is found without looking at the whole list.
//!
//! One filter in the order of creation is one walk over the filter's index. Several filters walk
//! the rarest and look the others up. A filter with another order either walks that order and looks
//! the filters up, or collects what the filter holds and sorts it, whichever touches fewer keys.
//! So a page costs at most about the square root of (page size times objects), unless filter and
//! order are correlated; then it costs what the rarest filter holds.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::View;
use super::keys::{self, Field};
use super::past;
use super::query::{ListQuery, QueryError};
use super::reader::{Reader, object};
use crate::events::codec::decode;
use crate::ids::{ObjectId, Position, ProjectId};

/// One page of a list.
pub(super) fn page<V: View>(
    reader: &Reader<'_>,
    project: &ProjectId,
    query: &ListQuery,
) -> Result<Vec<V>, QueryError> {
    let sort_key = query.sort_key.as_deref().unwrap_or("id");
    let sort = Field::sort::<V>(sort_key)
        .ok_or_else(|| QueryError::UnknownSortKey(sort_key.to_owned()))?;
    let mut filters = Vec::new();
    for (name, value) in &query.filters {
        let field =
            Field::named::<V>(name).ok_or_else(|| QueryError::UnknownFilter(name.clone()))?;
        filters.push((field, field.value::<V>(value)));
    }
    let after = query.marker.map(|id| marker::<V>(reader, project, sort, id)).transpose()?;
    let mut conditions = Vec::new();
    for (field, value) in filters {
        // A value that no object can have.
        let Some(value) = value else { return Ok(Vec::new()) };
        let index = reader.keys.value::<V>(project, field, &value);
        let count = if field.is_counted() { reader.number(&keys::count_of(&index))? } else { 1 };
        conditions.push(Condition { field, value, index, count });
    }
    conditions.sort_by_key(|condition| condition.count);
    let listing = Listing { reader, project, sort, conditions, after, query };
    listing.page()
}

/// Where the page before ended: the value of the field by which the list is sorted, and the order
/// of creation.
struct After {
    value: Vec<u8>,
    created: Position,
}

/// The marker may have been deleted since: whoever deletes page by page still gets on.
fn marker<V: View>(
    reader: &Reader<'_>,
    project: &ProjectId,
    sort: Field,
    id: ObjectId,
) -> Result<After, QueryError> {
    let bytes = reader.view::<V>(id)?;
    let view = match bytes.and_then(|bytes| decode::<V>(&bytes).ok()) {
        Some(view) => Some(view),
        None => past::last_of::<V>(&*reader.shared.log, id, Position(u64::MAX))
            .map_err(|error| QueryError::Store(error.to_string()))?,
    };
    let view = view.filter(|view| view.head().project == *project);
    let view = view.ok_or(QueryError::UnknownMarker)?;
    Ok(After { value: sort.of(&view), created: view.head().created_position })
}

/// A filter.
struct Condition {
    field: Field,
    value: Vec<u8>,
    /// What its index keys begin with.
    index: Vec<u8>,
    /// How many objects it holds.
    count: u64,
}

struct Listing<'a> {
    reader: &'a Reader<'a>,
    project: &'a ProjectId,
    sort: Field,
    /// The rarest first.
    conditions: Vec<Condition>,
    after: Option<After>,
    query: &'a ListQuery,
}

impl Listing<'_> {
    fn page<V: View>(&self) -> Result<Vec<V>, QueryError> {
        let Some(rarest) = self.conditions.first() else {
            return Ok(self.walk(None, u64::MAX)?.unwrap_or_default());
        };
        if self.query.limit == 0 || rarest.count == 0 {
            return Ok(Vec::new());
        }
        // Objects that all have the same value in the field are in the order of creation.
        let has_one_value = |condition: &Condition| condition.field == self.sort;
        if self.sort == Field::CREATED || self.conditions.iter().any(has_one_value) {
            return Ok(self.walk(Some(rarest), u64::MAX)?.unwrap_or_default());
        }
        let all = self.reader.keys.value::<V>(self.project, Field::CREATED, &[]);
        let total = self.reader.number(&keys::count_of(&all))?;
        let limit = self.query.limit as u64;
        // Walking the order meets one match in `total / count` keys, if they are spread evenly.
        // Where they are not, it gives up when collecting would have been done.
        if rarest.count.saturating_mul(rarest.count) > limit.saturating_mul(total)
            && let Some(page) = self.walk(None, rarest.count)?
        {
            return Ok(page);
        }
        self.collect(rarest)
    }

    /// Walks an index from the marker on: the whole order, or the part that a filter holds. None
    /// when more than `most` keys were seen before the page was full.
    fn walk<V: View>(
        &self,
        driver: Option<&Condition>,
        most: u64,
    ) -> Result<Option<Vec<V>>, QueryError> {
        let keys = self.reader.keys;
        let whole = keys.field::<V>(self.project, self.sort);
        let prefix = driver.map_or(whole, |driver| driver.index.clone());
        let after = self.after.as_ref().map(|After { value, created }| match driver {
            Some(driver) => keys::at(&driver.index, *created),
            None => keys::at(&keys.value::<V>(self.project, self.sort, value), *created),
        });
        let mut page = Vec::new();
        let mut seen = 0;
        let mut walk = Walk::new(self.reader, &prefix, after, self.query.descending);
        while page.len() < self.query.limit {
            if seen >= most {
                return Ok(None);
            }
            let Some((key, id)) = walk.next()? else { break };
            seen += 1;
            page.extend(self.row(driver, &key, &id)?);
        }
        Ok(Some(page))
    }

    /// Sorts what the rarest filter holds, with no more rows in memory than the page has.
    fn collect<V: View>(&self, rarest: &Condition) -> Result<Vec<V>, QueryError> {
        let descending = self.query.descending;
        let mut page = BTreeMap::new();
        let mut walk = Walk::new(self.reader, &rarest.index, None, false);
        while let Some((key, id)) = walk.next()? {
            let Some(view) = self.row::<V>(Some(rarest), &key, &id)? else { continue };
            let place = (self.sort.of(&view), view.head().created_position);
            let is_after = self.after.as_ref().is_none_or(|After { value, created }| {
                let order = place.0.cmp(value).then(place.1.cmp(created));
                if descending { order.is_lt() } else { order.is_gt() }
            });
            if !is_after {
                continue;
            }
            page.insert(place, view);
            if page.len() > self.query.limit {
                if descending {
                    page.pop_first()
                } else {
                    page.pop_last()
                };
            }
        }
        let mut page: Vec<V> = page.into_values().collect();
        if descending {
            page.reverse();
        }
        Ok(page)
    }

    /// The row of an index entry, if all filters hold; none too where it cannot be read, or went
    /// or changed since the index was read.
    fn row<V: View>(
        &self,
        driver: Option<&Condition>,
        key: &[u8],
        id: &[u8],
    ) -> Result<Option<V>, QueryError> {
        let reader = self.reader;
        let (Some((_, created)), Some(id)) = (keys::split(key), object(id)) else {
            reader.broken(key, "its index entry is malformed");
            return Ok(None);
        };
        for condition in &self.conditions {
            if driver.is_some_and(|driver| driver.index == condition.index) {
                continue;
            }
            reader.shared.keys_read.fetch_add(1, Ordering::Relaxed);
            let entry = reader.tree.contains_key(keys::at(&condition.index, created));
            if !reader.stored(entry)? {
                return Ok(None);
            }
        }
        reader.shared.keys_read.fetch_add(1, Ordering::Relaxed);
        let Some(bytes) = reader.view::<V>(id)? else { return Ok(None) };
        match decode::<V>(&bytes) {
            Ok(view) => {
                let holds = |condition: &Condition| condition.field.of(&view) == condition.value;
                Ok(self.conditions.iter().all(holds).then_some(view))
            }
            Err(reason) => {
                reader.broken(key, &reason);
                Ok(None)
            }
        }
    }
}

/// Index entries in one direction.
struct Walk<'a> {
    reader: &'a Reader<'a>,
    entries: sled::Iter,
    descending: bool,
}

impl<'a> Walk<'a> {
    fn new(
        reader: &'a Reader<'a>,
        prefix: &[u8],
        after: Option<Vec<u8>>,
        descending: bool,
    ) -> Self {
        let (from, to) = (prefix.to_vec(), keys::end_of(prefix));
        let range = match after {
            None => from..to,
            Some(after) if descending => from..after,
            // The first key after a key is that key and a zero.
            Some(mut after) => {
                after.push(0);
                after..to
            }
        };
        Self { reader, entries: reader.tree.range(range), descending }
    }

    fn next(&mut self) -> Result<Option<(sled::IVec, sled::IVec)>, QueryError> {
        let entry = if self.descending { self.entries.next_back() } else { self.entries.next() };
        self.reader.shared.keys_read.fetch_add(1, Ordering::Relaxed);
        entry.map(|entry| self.reader.stored(entry)).transpose()
    }
}
