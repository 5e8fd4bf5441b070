//! Lists: pages, sorting and filters, checked as the 2015 API checks them.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::AppState;
use super::command::blocking;
use super::error::ApiError;
use super::request::{Call, canonical_uuid, shown};
use super::respond::{self, Shown};
use crate::projections::query::ListQuery;

/// Most objects of a page, and how many there are where none is asked for: `max_limit` of 2015.
pub const MAX_LIMIT: usize = 1000;

/// Arguments of every list, besides the fields that it filters by.
const PAGING: [&str; 4] = ["limit", "marker", "sort_key", "sort_dir"];

/// Which fields a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A few.
    Summary,
    /// All.
    Detail,
}

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
    let query = query::<V>(call, filters)?;
    let (reads, project, asked) = (state.reads.clone(), call.ctx.project.clone(), query.clone());
    let views = blocking(move || reads.list::<V>(&project, &asked)).await?;
    let marker = call.argument("marker").unwrap_or_default();
    let views = views.map_err(|error| ApiError::query(V::KIND, marker, error))?;
    let mut body = Map::new();
    if views.len() == query.limit
        && let Some(last) = views.last()
    {
        let next = next::<V>(call, rows, &query, &last.head().uuid.to_string(), extra);
        body.insert("next".to_owned(), Value::from(next));
    }
    let items: Result<Vec<_>, _> = views
        .iter()
        .map(|view| match rows {
            Rows::Summary => serde_json::to_value(view.summary(&call.host)),
            Rows::Detail => serde_json::to_value(view.full(&call.host)),
        })
        .collect();
    let items = items.map_err(|error| ApiError::Internal(error.to_string()))?;
    body.insert(V::KIND.collection().to_owned(), json!(items));
    Ok(respond::json(StatusCode::OK, &body))
}

fn query<V: Shown>(call: &Call, mut filters: Vec<(String, String)>) -> Result<ListQuery, ApiError> {
    filters.extend(call.arguments(V::FIELDS));
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
) -> String {
    let mut arguments = form_urlencoded::Serializer::new(String::new());
    arguments
        .append_pair("sort_key", query.sort_key.as_deref().unwrap_or("id"))
        .append_pair("sort_dir", if query.descending { "desc" } else { "asc" })
        .append_pair("limit", &query.limit.to_string());
    for (key, value) in call.arguments(V::FIELDS).into_iter().chain(call.arguments(extra)) {
        arguments.append_pair(&key, &value);
    }
    let arguments = arguments.append_pair("marker", last).finish();
    let detail = if rows == Rows::Detail { "/detail" } else { "" };
    format!("{}/v1/{}{detail}?{arguments}", call.host, V::KIND.collection())
}
