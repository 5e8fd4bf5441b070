//! The commands that run in a container, and ending one of them.
//!
//! Not here: running one (`execute`).

use std::future;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Executes;
use crate::http::command::{self, Settled};
use crate::http::edge::request::{Call, Ident, InnerIdent};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::http::{read, respond};
use crate::ids::{EventId, Timestamp};

/// The commands that run in a container.
#[derive(Debug, Serialize, ToSchema)]
pub struct Executions {
    /// The oldest first.
    executions: Vec<Execution>,
}

/// A command that runs in a container, or waits until it can.
#[derive(Debug, Serialize, ToSchema)]
pub struct Execution {
    /// What ends it: `DELETE /v1/containers/{ident}/executions/{id}`.
    #[schema(value_type = String, format = Uuid)]
    id: EventId,
    /// The command and its arguments.
    command: Vec<String>,
    /// When it was asked for.
    requested_at: Option<Timestamp>,
    /// What it waits for; `null` once it runs.
    blocked_on: Option<String>,
    /// Since when it has waited.
    blocked_since: Option<Timestamp>,
}

/// `GET /v1/{collection}/{ident}/executions`
pub async fn list<V: Executes>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(V::ARGUMENTS)?;
    let view = read::find::<V>(&state, &call, &ident)?;
    let row = |execution: &crate::projections::container::Execution| {
        let task = view.tasks().iter().find(|task| task.id == execution.id);
        Execution {
            id: execution.id,
            command: execution.command.clone(),
            requested_at: task.map(|task| task.requested_at),
            blocked_on: task.and_then(|task| task.blocked_on.clone()),
            blocked_since: task.and_then(|task| task.blocked_since),
        }
    };
    let executions = view.executions().iter().map(row).collect();
    Ok(respond::json(StatusCode::OK, &Executions { executions }))
}

/// `DELETE /v1/{collection}/{ident}/executions/{id}`
pub async fn end<V: Executes>(
    State(state): State<AppState>,
    InnerIdent(ident, id): InnerIdent,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(V::ARGUMENTS)?;
    let not_found = || ApiError::NotFound("Execution", shown(&id));
    let execution_id = EventId(id.parse().map_err(|_| not_found())?);
    let find = || read::find::<V>(&state, &call, &ident);
    let command = V::end_execution(execution_id);
    let asks = |_: V| future::ready(Ok(command));
    let reply = command::ask(&state, &call, find, asks).await?;
    match command::settle::<V>(&state, &call, &reply).await? {
        Settled::Done(_) | Settled::Gone => Ok(command::no_content(&reply)),
        outcome => command::not_done::<V>(&state, &call, &reply, outcome).await,
    }
}
