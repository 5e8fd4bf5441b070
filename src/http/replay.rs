//! The debugger over REST: questions about one object and about all, answered from the log.
//!
//! Not here: the answers (`replay`).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::edge::request::{Call, Ident};
use super::edge::state::AppState;
use super::error::ApiError;
use super::text::shown;
use super::{read, respond};
use serde::Serialize;

use crate::projections::View;
use crate::replay::among::Among;
use crate::replay::find::{How, find as find_moments};
use crate::replay::verify;
use crate::replay::{Question, ReplayError, Source, When, name, system, trace};

/// `GET /v1/{collection}/{ident}/{verb}`, also about what was deleted, by its uuid
pub async fn about<V: View>(
    state: AppState,
    Ident(ident): Ident,
    call: Call,
    verb: &'static str,
    arguments: &[&str],
) -> Result<Response, ApiError> {
    call.only(arguments)?;
    let question = Question::read(verb, |name| call.argument(name)).map_err(|bad| {
        let value = call.argument(bad.name).unwrap_or_default();
        ApiError::field(bad.name, shown(value), bad.why)
    })?;
    let Some(question) = question else { return Err(ApiError::NoSuchPath(verb.to_owned())) };
    let stream = read::stream::<V>(&state, &call, &ident).await.map_err(|error| match error {
        ApiError::NotFound(..) => ApiError::Missing(name::not_found(V::KIND, &ident)),
        error => error,
    })?;
    told(&state, &call, move |source| question.answer(&source, stream)).await
}

/// `GET /v1/replay/find`
pub async fn find(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&["condition", "among", "first", "monotone"])?;
    let Some(condition) = call.argument("condition").map(str::to_owned) else {
        let reason = "Specify a condition, such as status == \"Error\".";
        return Err(ApiError::field("condition", "", reason));
    };
    let among = call.argument("among").unwrap_or_default().to_owned();
    let how = How { first: call.flag("first")?, monotone: call.flag("monotone")? };
    let look =
        move |source: Source| find_moments(&source, &condition, Among::read(&source, &among)?, how);
    told(&state, &call, look).await
}

/// `GET /v1/replay/diff`
pub async fn diff(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&["from", "to"])?;
    let when = |name| call.argument(name).map(|text| read::when(name, text)).transpose();
    let from = when("from")?.unwrap_or(When::Position(state.log.archived()));
    let to = when("to")?.unwrap_or(When::Latest);
    told(&state, &call, move |source| system::diff(&source, from, to)).await
}

/// `GET /v1/replay/verify`
pub async fn verify(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    // The read models are of all projects, and what is told of a difference is a fault of ours.
    let kept = state.kept.clone();
    told(&state, &call, move |source| verify::verify(&source.whole(), &kept)).await
}

/// `GET /v1/trace/{request_id}`
pub async fn trace(
    State(state): State<AppState>,
    Ident(request_id): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&[])?;
    told(&state, &call, move |source| trace::trace(&source, &request_id)).await
}

/// Answers with what reading the log, which may take long, comes to.
async fn told<T: Serialize + Send + 'static>(
    state: &AppState,
    call: &Call,
    ask: impl FnOnce(Source) -> Result<T, ReplayError> + Send + 'static,
) -> Result<Response, ApiError> {
    let answer = read::question(state, call, ask).await??;
    Ok(respond::json(StatusCode::OK, &answer))
}
