//! What was, and why, over REST: questions about one object, answered from the log.
//!
//! Not here: what the answers are (`replay`).

use axum::http::StatusCode;
use axum::response::Response;

use super::command::blocking;
use super::error::ApiError;
use super::request::{Call, Ident, shown};
use super::{AppState, read, respond};
use crate::projections::View;
use crate::replay::{Question, name};

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
    let source = read::source(&state, &call);
    let answer = blocking(move || question.answer(&source, stream)).await??;
    Ok(respond::json(StatusCode::OK, &answer))
}
