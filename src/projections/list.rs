//! How a page of a list is found without looking at the whole list.
//!
//! One filter in the order of creation is one walk over the filter's index. Several filters walk
//! the rarest and look the others up. A filter with another order either walks that order and looks
//! the filters up, or collects what the filter holds and sorts it, whichever touches fewer keys.
//! So a page costs at most about the square root of (page size times objects), unless filter and
//! order are correlated; then it costs what the rarest filter holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::View;
use super::as_of;
use super::field::{ListField, Value};
use super::query::{ListPage, ListQuery, QueryError};
use super::state::ReadModelState;
use super::table::{OrderKey, Table};
use crate::events::codec::decode;
use crate::ids::{ObjectId, Position, ProjectId};

/// Keys that are looked at together: a tenth of a millisecond, during which nothing changes.
/// Between two of those the list may, and nothing on it is missed or repeated.
const PIECE: usize = 512;

/// One page of a list.
pub(super) fn page<V: View>(
    shared: &ReadModelState,
    project: &ProjectId,
    query: &ListQuery,
    bytes: usize,
) -> Result<ListPage<V>, QueryError> {
    let sort_key = query.sort_key.as_deref().unwrap_or("id");
    let sort = ListField::sort::<V>(sort_key)
        .ok_or_else(|| QueryError::UnknownSortKey(sort_key.to_owned()))?;
    let mut filters = Vec::new();
    for (name, value) in &query.filters {
        let field =
            ListField::named::<V>(name).ok_or_else(|| QueryError::UnknownFilter(name.clone()))?;
        filters.push((field, field.value::<V>(value)));
    }
    let after = query.marker.map(|id| marker::<V>(shared, project, sort, id)).transpose()?;
    let mut conditions = Vec::new();
    for (field, value) in filters {
        // A value that no object can have.
        let Some(value) = value else { return Ok(nothing()) };
        let count =
            shared.read(|tables| tables.table(V::KIND).order(project, field).count(&value))?;
        conditions.push(ListFilter { field, value, count });
    }
    conditions.sort_by_key(|condition| condition.count);
    let total = shared.read(|tables| {
        tables.table(V::KIND).order(project, ListField::CREATED).count(&Value::Nothing)
    })?;
    let listing = Listing { shared, project, sort, conditions, total, after, query, bytes };
    listing.page()
}

/// A page without objects.
const fn nothing<V>() -> ListPage<V> {
    ListPage { views: Vec::new(), is_full: false }
}

/// The place of the marker, which may have been deleted since: deleting page by page works.
fn marker<V: View>(
    shared: &ReadModelState,
    project: &ProjectId,
    sort: ListField,
    id: ObjectId,
) -> Result<OrderKey, QueryError> {
    let bytes = shared.read(|tables| tables.table(V::KIND).get(id).cloned())?;
    let view = match bytes {
        Some(bytes) => decode(&bytes).ok(),
        None => as_of::last_view::<V>(&*shared.log, project, id, Position(u64::MAX))
            .map_err(|error| QueryError::Unreadable(error.to_string()))?,
    };
    let view = view.filter(|view| view.head().project == *project);
    let view = view.ok_or(QueryError::UnknownMarker)?;
    Ok((sort.of(&view), view.head().created_position))
}

/// A filter.
struct ListFilter {
    field: ListField,
    value: Value,
    /// How many objects it holds.
    count: u64,
}

struct Listing<'a> {
    shared: &'a ReadModelState,
    project: &'a ProjectId,
    sort: ListField,
    /// The rarest first.
    conditions: Vec<ListFilter>,
    /// How many objects there are.
    total: u64,
    /// Where the page before ended.
    after: Option<OrderKey>,
    query: &'a ListQuery,
    /// The page ends with the object that reaches this.
    bytes: usize,
}

impl Listing<'_> {
    fn page<V: View>(&self) -> Result<ListPage<V>, QueryError> {
        let Some(rarest) = self.conditions.first() else {
            return Ok(self.walk(None, u64::MAX)?.unwrap_or_else(nothing));
        };
        if self.query.limit == 0 || rarest.count == 0 {
            return Ok(nothing());
        }
        // Objects that all have the same value in the field are in the order of creation.
        let has_one_value = |condition: &ListFilter| condition.field == self.sort;
        if self.sort == ListField::CREATED || self.conditions.iter().any(has_one_value) {
            return Ok(self.walk(Some(rarest), u64::MAX)?.unwrap_or_else(nothing));
        }
        let limit = self.query.limit as u64;
        // Walking the order meets one match in `total / count` keys, if they are spread evenly.
        // Where they are not, it gives up when collecting would have been done.
        if rarest.count.saturating_mul(rarest.count) > limit.saturating_mul(self.total)
            && let Some(page) = self.walk(None, rarest.count)?
        {
            return Ok(page);
        }
        self.collect(rarest)
    }

    /// Walks from the marker on: the whole order, or the part that a filter holds. None when more
    /// than `most` keys were seen before the page was full.
    fn walk<V: View>(
        &self,
        driver: Option<&ListFilter>,
        most: u64,
    ) -> Result<Option<ListPage<V>>, QueryError> {
        let mut walk = Walk::new(self, driver);
        if let (Some(after), Some(driver)) = (&self.after, driver) {
            walk.place = Some((driver.value.clone(), after.1));
        } else if let Some(after) = &self.after {
            walk.place = Some(after.clone());
        }
        let (mut views, mut bytes) = (Vec::new(), 0);
        while views.len() < self.query.limit && bytes < self.bytes {
            if walk.seen >= most {
                return Ok(None);
            }
            let Some(rows) = walk.next::<V>(self.query.limit - views.len())? else { break };
            let fits = |row: &&Arc<[u8]>| {
                let fits = bytes < self.bytes;
                bytes += row.len();
                fits
            };
            let rows = rows.iter().take_while(fits);
            views.extend(rows.filter_map(|row| decode::<V>(row).ok()));
        }
        let is_full = views.len() == self.query.limit || bytes >= self.bytes;
        Ok(Some(ListPage { views, is_full }))
    }

    /// Sorts what the rarest filter holds, with no more rows in memory than the page has.
    fn collect<V: View>(&self, rarest: &ListFilter) -> Result<ListPage<V>, QueryError> {
        let descending = self.query.descending;
        let is_before = |one: &OrderKey, other: &OrderKey| {
            if descending { one > other } else { one < other }
        };
        let (mut page, mut bytes) = (BTreeMap::new(), 0);
        // The first one that the page has no room for.
        let mut end: Option<OrderKey> = None;
        let mut walk = Walk::new(self, Some(rarest));
        while let Some(rows) = walk.next::<V>(usize::MAX)? {
            for row in &rows {
                let Ok(view) = decode::<V>(row) else { continue };
                let place = (self.sort.of(&view), view.head().created_position);
                let is_wanted = self.after.as_ref().is_none_or(|after| is_before(after, &place))
                    && end.as_ref().is_none_or(|end| is_before(&place, end));
                if !is_wanted {
                    continue;
                }
                bytes += row.len();
                page.insert(place, (view, row.len()));
                while page.len() > self.query.limit || (bytes > self.bytes && page.len() > 1) {
                    let last = if descending { page.pop_first() } else { page.pop_last() };
                    let Some((place, (_, size))) = last else { break };
                    bytes -= size;
                    end = Some(place);
                }
            }
        }
        let is_full = page.len() == self.query.limit || end.is_some();
        let mut views: Vec<V> = page.into_values().map(|(view, _)| view).collect();
        if descending {
            views.reverse();
        }
        Ok(ListPage { views, is_full })
    }

    /// Whether an object meets all filters, and how many keys were looked at for that.
    fn meets(&self, table: &Table, driver: Option<&ListFilter>, created: Position) -> (bool, u64) {
        let others = self.conditions.iter().filter(|condition| {
            driver.is_none_or(|driver| {
                driver.field != condition.field || driver.value != condition.value
            })
        });
        let mut keys = 0;
        for ListFilter { field, value, .. } in others {
            keys += 1;
            if !table.order(self.project, *field).contains(value, created) {
                return (false, keys);
            }
        }
        (true, keys)
    }
}

/// An order that is walked piece by piece.
struct Walk<'a> {
    listing: &'a Listing<'a>,
    /// The filter that holds what is walked.
    driver: Option<&'a ListFilter>,
    /// Where the piece before ended.
    place: Option<OrderKey>,
    seen: u64,
}

impl<'a> Walk<'a> {
    fn new(listing: &'a Listing<'a>, driver: Option<&'a ListFilter>) -> Self {
        // Before and after all that a filter holds.
        let descending = listing.query.descending;
        let end = if descending { Position(u64::MAX) } else { Position(0) };
        let place = driver.map(|driver| (driver.value.clone(), end));
        Self { listing, driver, place, seen: 0 }
    }

    /// The rows of the next piece that meet the filters, at most `wanted`; none at the end.
    fn next<V: View>(&mut self, wanted: usize) -> Result<Option<Vec<Arc<[u8]>>>, QueryError> {
        let Listing { shared, project, sort, query, .. } = *self.listing;
        let (field, value) = self.driver.map_or((sort, None), |it| (it.field, Some(&it.value)));
        let (mut rows, mut seen, mut keys) = (Vec::new(), 0, 0);
        let place = shared.read(|tables| {
            let table = tables.table(V::KIND);
            let mut walk = table.order(project, field).walk(self.place.as_ref(), query.descending);
            let mut last = None;
            while seen < PIECE && rows.len() < wanted {
                let next = walk.next().filter(|next| value.is_none_or(|value| next.0 == value));
                keys += 1;
                let Some((value, created)) = next else { break };
                seen += 1;
                let (is_met, looked_at) = self.listing.meets(table, self.driver, created);
                keys += looked_at;
                if is_met {
                    keys += 1;
                    rows.extend(table.row(created).cloned());
                }
                last = Some((value, created));
            }
            last.map(|(value, created)| (value.clone(), created))
        })?;
        shared.keys_read.fetch_add(keys, Ordering::Relaxed);
        self.seen += seen as u64;
        let Some(place) = place else { return Ok(None) };
        self.place = Some(place);
        Ok(Some(rows))
    }
}
