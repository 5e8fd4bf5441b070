//! The key that seals a project's secret values, and erasing it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::command::blocking;
use super::edge::request::{Call, Ident};
use super::edge::state::AppState;
use super::error::ApiError;
use super::respond;
use crate::ids::ProjectId;
use crate::secrets::{Secrets, SecretsError};

/// The keys of a project.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    /// At most one: values are sealed with it from now on too.
    keys: Vec<SealingKey>,
}

/// A key, by what it is called; the key itself is shown to nobody.
#[derive(Debug, Serialize, ToSchema)]
pub struct SealingKey {
    /// `0d4bb5a3c1f0e6d7`; sealed values say it.
    id: String,
}

/// Values as they may be recorded.
pub async fn sealed(
    state: &AppState,
    call: &Call,
    mut values: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    // Most have none, and need no other thread.
    if values.is_empty() {
        return Ok(values);
    }
    asked(state, call, move |secrets, project| secrets.seal(project, &mut values).map(|()| values))
        .await
}

/// `GET /v1/keys`
pub async fn list(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let id = asked(&state, &call, |secrets, project| secrets.key_id(project)).await?;
    let keys = Keys { keys: id.into_iter().map(|id| SealingKey { id }).collect() };
    Ok(respond::json(StatusCode::OK, &keys))
}

/// `DELETE /v1/keys/{ident}`
///
/// It is erased first and recorded then: an erasure that is on record has happened.
pub async fn erase(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&[])?;
    let id = ident.clone();
    if !asked(&state, &call, move |secrets, project| secrets.erase(project, &id)).await? {
        return Err(ApiError::NotFound("Key", ident));
    }
    state.audit.key_erased(&call.ctx, ident).await?;
    let position = *state.log.head().borrow();
    Ok(respond::at(StatusCode::NO_CONTENT.into_response(), position))
}

/// Asks something of the keys, which are files, for the project of a request.
async fn asked<T: Send + 'static>(
    state: &AppState,
    call: &Call,
    ask: impl FnOnce(&Secrets, &ProjectId) -> Result<T, SecretsError> + Send + 'static,
) -> Result<T, ApiError> {
    let (secrets, project) = (state.secrets.clone(), call.ctx.project.clone());
    Ok(blocking(move || ask(&secrets, &project)).await??)
}
