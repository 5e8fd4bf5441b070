//! Lists: pages, sorting and filters, checked as the 2015 API checks them.

use axum::http::StatusCode;
use axum::response::Response;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::respond;
use super::shape::{self, Representation, Rows, Shown};
use super::text::{canonical_uuid, shown};
use super::{list_past, read};
use crate::ids::Position;
use crate::projections::field_table::SortAs;
use crate::projections::query::{ListPage, ListQuery, PAGE_BYTES};
use crate::replay::{ReplayError, Source};

/// Most objects of a page, and how many there are where none is asked for: `max_limit` of 2015.
const MAX_LIMIT: usize = 1000;

/// The end of the path of a list with all fields.
const DETAIL: &str = "detail";

/// Arguments of every list, besides the fields that it filters by.
const PAGING: [&str; 5] = ["at", "limit", "marker", "sort_key", "sort_dir"];

/// Answers with a page of a project's objects. `filters` come besides those in the query, which
/// may also have the arguments in `extra`.
pub async fn page<V: Shown>(
    state: &AppState,
    call: &Call,
    rows: Rows,
    extra: &[&str],
    filters: Vec<(String, String)>,
) -> Result<Response, ApiError> {
    let known: Vec<&str> = PAGING.iter().chain(V::FIELDS).chain(extra).copied().collect();
    call.only(&known)?;
    let asked = query::<V>(call, filters)?;
    let when = call.argument("at").map(|at| read::when("at", at)).transpose()?;
    let is_present = when.is_none();
    let mut query = asked.clone();
    let first = if when.is_none() { first::<V>(state, call, &mut query)? } else { None };
    // In the order of creation a page with one filter costs what its rows do; others may have to
    // look at many rows for it.
    let (page, at) = if let Some(when) = when {
        let (project, asked) = (call.ctx.project.clone(), query.clone());
        let past = move |source: Source| {
            let at = when.anywhere(&source)?;
            let page = list_past::page::<V>(source.log(), at, &project, &asked);
            Ok::<_, ReplayError>((page, Some(at)))
        };
        read::question(state, call, past).await??
    } else if query.sort_key.is_none() && query.filters.len() <= 1 {
        (state.reads.list_within::<V>(&call.ctx.project, &query, PAGE_BYTES), None)
    } else {
        let (reads, project, asked) =
            (state.reads.clone(), call.ctx.project.clone(), query.clone());
        let scan =
            read::scan(state, call, move |_| reads.list_within::<V>(&project, &asked, PAGE_BYTES));
        (scan.await?, None)
    };
    let marker = call.argument("marker").unwrap_or_default();
    let page = page.map_err(|error| ApiError::query(V::KIND, marker, error))?;
    let ListPage { mut views, is_full } = page;
    if is_present {
        views.iter_mut().for_each(|view| state.underway.tell(view));
    }
    views.splice(0..0, first);
    let last = views.last().filter(|_| is_full || query.limit == 0);
    let next = last.map(|last| {
        let last = last.head().uuid.to_string();
        next::<V>(call, rows, &asked, &last, extra, at)
    });
    let collection = V::KIND.collection();
    let items = views.iter().map(|view| Representation { view, host: &call.host, rows }).collect();
    let named = named::<V>(state, call, rows)?;
    Ok(respond::json(StatusCode::OK, &Page { collection, items, next, named }))
}

/// The fields of the object whose name is that of the list with all fields, which a client that
/// shows the object gets as well: the two requests are the same.
fn named<V: Shown>(
    state: &AppState,
    call: &Call,
    rows: Rows,
) -> Result<Map<String, Value>, ApiError> {
    if rows != Rows::Detail || !call.is_plain() {
        return Ok(Map::new());
    }
    let Ok(mut view) = state.reads.find::<V>(&call.ctx.project, DETAIL) else {
        return Ok(Map::new());
    };
    state.underway.tell(&mut view);
    let object = Representation { view: &view, host: &call.host, rows };
    match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => Ok(fields),
        other => Err(ApiError::Internal(format!("not an object: {other:?}"))),
    }
}

/// The object that is there without being recorded, where a page has it: at its begin, before all
/// others in every order. The rest of the page has one object less.
fn first<V: Shown>(
    state: &AppState,
    call: &Call,
    query: &mut ListQuery,
) -> Result<Option<V>, ApiError> {
    let Some(view) = V::unrecorded(state, &call.ctx.project)? else { return Ok(None) };
    if let Some(marker) = query.marker {
        query.marker = Some(marker).filter(|marker| *marker != view.head().uuid);
        return Ok(None);
    }
    let fits = |(name, value): &(String, String)| view.field(name).as_ref() == Some(value);
    if !query.filters.iter().all(fits) {
        return Ok(None);
    }
    query.limit -= 1;
    Ok(Some(view))
}

/// `{"bays": [...], "next": "http://…"}`
struct Page<T> {
    collection: &'static str,
    items: Vec<T>,
    next: Option<String>,
    named: Map<String, Value>,
}

impl<T: Serialize> Serialize for Page<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut page = serializer.serialize_map(None)?;
        page.serialize_entry(self.collection, &self.items)?;
        if let Some(next) = &self.next {
            page.serialize_entry("next", next)?;
        }
        for (field, value) in &self.named {
            page.serialize_entry(field, value)?;
        }
        page.end()
    }
}

fn query<V: Shown>(call: &Call, mut filters: Vec<(String, String)>) -> Result<ListQuery, ApiError> {
    let given = call.arguments(V::FIELDS);
    given.iter().try_for_each(|(name, value)| check_filter::<V>(name, value))?;
    filters.extend(given);
    let limit = match call.argument("limit") {
        None => MAX_LIMIT,
        Some(text) => limit(text)?,
    };
    let descending = match call.argument("sort_dir") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            let other = shown(other);
            return Err(ApiError::BadRequest(format!(
                "Invalid sort direction: {other}. Acceptable values are 'asc' or 'desc'"
            )));
        }
    };
    let marker = match call.argument("marker") {
        None => None,
        Some(text) => Some(canonical_uuid(text).ok_or_else(|| {
            let text = shown(text);
            ApiError::BadRequest(format!("Expected a uuid but received {text}."))
        })?),
    };
    let sort_key = call.argument("sort_key").map(str::to_owned);
    Ok(ListQuery { filters, sort_key, descending, limit, marker })
}

/// Refuses what no object can have in a field: nobody who asks for it means an empty list.
fn check_filter<V: Shown>(name: &str, value: &str) -> Result<(), ApiError> {
    let Some(field) = V::TABLE.iter().find(|field| field.name == name) else { return Ok(()) };
    if field.filter == Some(SortAs::Number) && value.parse::<u64>().is_err() {
        return Err(ApiError::field(name, shown(value), "Use a whole number."));
    }
    match shape::one_of(field) {
        Some(names) if !names.iter().any(|known| known == value) => {
            let words = format!("Use one of {}.", names.join(", "));
            Err(ApiError::field(name, shown(value), &words))
        }
        _ => Ok(()),
    }
}

/// How many objects are asked for, at most [`MAX_LIMIT`].
pub fn limit(text: &str) -> Result<usize, ApiError> {
    match text.parse::<i128>() {
        Ok(limit) if limit <= 0 => Err(ApiError::BadRequest("Limit must be positive".to_owned())),
        Ok(limit) => Ok(usize::try_from(limit).map_or(MAX_LIMIT, |limit| limit.min(MAX_LIMIT))),
        Err(_) => Err(ApiError::field("limit", shown(text), "Use a whole number.")),
    }
}

/// The address of the page after this one.
fn next<V: Shown>(
    call: &Call,
    rows: Rows,
    query: &ListQuery,
    last: &str,
    extra: &[&str],
    at: Option<Position>,
) -> String {
    let mut arguments = form_urlencoded::Serializer::new(String::new());
    arguments
        .append_pair("sort_key", query.sort_key.as_deref().unwrap_or("id"))
        .append_pair("sort_dir", if query.descending { "desc" } else { "asc" })
        .append_pair("limit", &query.limit.to_string());
    for (key, value) in call.arguments(V::FIELDS).into_iter().chain(call.arguments(extra)) {
        arguments.append_pair(&key, &value);
    }
    if let Some(at) = at {
        // The pages of one list are of one moment.
        arguments.append_pair("at", &at.to_string());
    }
    let arguments = arguments.append_pair("marker", last).finish();
    let detail = if rows == Rows::Detail { "/detail" } else { "" };
    format!("{}/v1/{}{detail}?{arguments}", call.host, V::KIND.collection())
}
