//! Lists as of a position: all objects folded from the log up to it, and a page of them.
//!
//! Order and filters are those of current lists (`projections/list`), which use indexes.

use std::cmp::Ordering;

use crate::events::codec::encode;
use crate::events::log::EventLog;
use crate::ids::{Position, ProjectId};
use crate::projections::View;
use crate::projections::as_of::SystemState;
use crate::projections::query::{ListPage, ListQuery, PAGE_BYTES, QueryError};
use crate::text::composed;

/// A page of a project's objects as they were right after the event at a position.
///
/// # Errors
/// See [`QueryError`].
pub fn page<V: View>(
    log: &dyn EventLog,
    at: Position,
    project: &ProjectId,
    query: &ListQuery,
) -> Result<ListPage<V>, QueryError> {
    let key = query.sort_key.as_deref().unwrap_or("id");
    if !["id", "created_at", "updated_at"].contains(&key) && !V::FIELDS.contains(&key) {
        return Err(QueryError::UnknownSortKey(key.to_owned()));
    }
    if let Some((name, _)) = query.filters.iter().find(|(name, _)| !V::FIELDS.contains(&&**name)) {
        return Err(QueryError::UnknownFilter(name.clone()));
    }
    let system =
        SystemState::as_of(log, at).map_err(|error| QueryError::Unreadable(error.to_string()))?;
    let is_wanted = |view: &&V| {
        let holds = |(name, value): &(String, String)| {
            view.field(name).is_some_and(|its| composed(&its) == composed(value))
        };
        view.head().project == *project && query.filters.iter().all(holds)
    };
    let mut views: Vec<&V> = system.views.of::<V>().values().filter(is_wanted).collect();
    views.sort_by(|one, other| compare(*one, *other, key));
    if query.descending {
        views.reverse();
    }
    let after = match query.marker {
        None => 0,
        Some(marker) => {
            let place = views.iter().position(|view| view.head().uuid == marker);
            place.ok_or(QueryError::UnknownMarker)? + 1
        }
    };
    let mut bytes = 0;
    let fits = |view: &&V| {
        let fits = bytes < PAGE_BYTES;
        bytes += encode(*view).len();
        fits
    };
    let views = views.into_iter().skip(after).take(query.limit).take_while(fits);
    let views: Vec<V> = views.cloned().collect();
    let is_full = views.len() == query.limit || bytes >= PAGE_BYTES;
    Ok(ListPage { views, is_full })
}

/// Objects by a field, and by creation where that is the same; what is not set comes first.
fn compare<V: View>(one: &V, other: &V, key: &str) -> Ordering {
    let by_key = match key {
        "id" | "created_at" => Ordering::Equal,
        "updated_at" => one.head().updated_at.cmp(&other.head().updated_at),
        name if V::NUMBERS.contains(&name) => {
            let number = |view: &V| view.field(name).and_then(|text| text.parse::<u64>().ok());
            number(one).cmp(&number(other))
        }
        name => {
            let text = |view: &V| view.field(name).map(|text| composed(&text).into_owned());
            text(one).cmp(&text(other))
        }
    };
    by_key.then_with(|| one.head().created_position.cmp(&other.head().created_position))
}
