//! One command in a container, running or not: how it ended, and the output that its node keeps.
//!
//! Not here: running one (`execute`), ending one (`executions`).

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::collected::{Collected, MAX_OUTPUT_BYTES};
use super::{Executes, raw};
use crate::backends::{BackendError, LogQuery};
use crate::bus::{Frames, LogRequest, ReplyTo, output};
use crate::clock;
use crate::events::log::{EventLog, ReadError};
use crate::events::{Mark, Verb, codec};
use crate::http::command::{self, Settled};
use crate::http::edge::request::{Call, InnerIdent};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::http::{read, respond};
use crate::ids::{EventId, Revision, StreamId, WorkId};

/// The id of the command in a response, for asking again how it ended and what it wrote.
const EXECUTION: HeaderName = HeaderName::from_static("x-magnum-execution");

/// Between two looks whether the node has taken up a command that was just recorded: it takes
/// milliseconds.
const START_POLL: Duration = Duration::from_millis(20);

/// How long a command may wait for its node before its output cannot be followed.
const START_WAIT: Duration = Duration::from_secs(30);

/// Events that are read at once in search of the request for a command.
const PAGE: usize = 256;

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionStatus {
    /// It has not started yet.
    Waiting,
    /// It has not ended yet.
    Running,
    /// It ended with an exit code.
    Done,
    /// It was not executed.
    Failed,
    /// It may have been executed; its exit code is not known.
    Unknown,
}

/// A command that was executed in a container, or is to be.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionState {
    /// Its id: `X-Magnum-Execution` of the response that started it.
    #[schema(value_type = String, format = Uuid)]
    id: EventId,
    /// How far it is.
    status: ExecutionStatus,
    /// Its exit code; null until it has ended.
    exit_code: Option<i64>,
    /// What it waits for, or why it has no exit code.
    reason: Option<String>,
}

/// What a command wrote, as far as it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionOutput {
    /// Standard output and standard error as they came; bytes that are not UTF-8 are replaced.
    output: String,
    /// The command's exit code; null while it still runs.
    exit_code: Option<i64>,
    /// How far the command is.
    status: ExecutionStatus,
    /// Why some of the output is missing; null if none is.
    incomplete: Option<String>,
}

/// Says which command a response is about.
#[must_use]
pub fn named(mut response: Response, id: Option<WorkId>) -> Response {
    let value = id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok());
    if let Some(value) = value {
        response.headers_mut().insert(EXECUTION, value);
    }
    response
}

/// `GET /v1/{collection}/{ident}/executions/{id}`
pub async fn show<V: Executes>(
    State(state): State<AppState>,
    InnerIdent(ident, id): InnerIdent,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(V::ARGUMENTS)?;
    let view = read::find::<V>(&state, &call, &ident)?;
    let execution = find(&state, &call, &view, &id).await?;
    Ok(respond::json(StatusCode::OK, &execution))
}

/// `GET /v1/{collection}/{ident}/executions/{id}/output`
pub async fn output<V: Executes>(
    State(state): State<AppState>,
    InnerIdent(ident, id): InnerIdent,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&[&["stream"], V::ARGUMENTS].concat())?;
    let view = read::find::<V>(&state, &call, &ident)?;
    let ExecutionState { id, status, exit_code, .. } = find(&state, &call, &view, &id).await?;
    let object = view.stream();
    if call.flag("stream")? || raw::is_accepted(&headers) {
        let place = state.own().places.take_followed_log(&call.ctx.project)?;
        let frames = kept(&state, &call, &view, id, START_WAIT).await?;
        return Ok(named(raw::answer(&state, &call, object, frames, place), Some(id)));
    }
    let mut output = Collected::new(&state.own().places, &call.ctx.project, too_much)?;
    let mut incomplete = None;
    match ask(&state, &view, id, false).await {
        Ok(mut frames) => {
            while let Some(frame) = frames.next().await {
                match frame {
                    Ok(frame) => output.add(&frame.data)?,
                    Err(error) => incomplete = Some(error.to_string()),
                }
            }
        }
        // The node is about to take it up.
        Err(BackendError::Missing(_)) if exit_code.is_none() && view.runs(id) => {}
        Err(error) => return Err(refused(error)),
    }
    if !output.is_empty() {
        state.audit.execute_output(&call.ctx, object).await?;
    }
    let body = |output| ExecutionOutput { output, exit_code, status, incomplete };
    Ok(named(output.answer(StatusCode::OK, body)?, Some(id)))
}

/// The refusal of more than one answer holds.
fn too_much() -> ApiError {
    ApiError::TooMuchOutput(format!(
        "The output exceeds {MAX_OUTPUT_BYTES} bytes, or twice as many as JSON; get it as bytes \
         with stream=1."
    ))
}

/// What a command has written so far, from the start, and what it still writes. Waits so long for
/// its node to take it up.
///
/// # Errors
/// When it is not kept, or its node cannot be asked.
pub async fn kept<V: Executes>(
    state: &AppState,
    call: &Call,
    view: &V,
    id: WorkId,
    wait: Duration,
) -> Result<Frames, ApiError> {
    let until = Instant::now() + wait;
    loop {
        let project = &call.ctx.project;
        let now = command::get::<V>(state, project, view.head().uuid)?;
        let may_begin = now.is_some_and(|view| view.runs(id));
        match ask(state, view, id, true).await {
            Err(BackendError::Missing(_)) if may_begin && Instant::now() < until => {
                sleep(START_POLL).await;
            }
            frames => return frames.map_err(refused),
        }
    }
}

fn refused(error: BackendError) -> ApiError {
    match error {
        BackendError::Missing(_) => ApiError::Missing(
            "The output of this command is not kept any more: a node keeps it for an hour after \
             the command's end, as long as there is room, and not over its own restart."
                .to_owned(),
        ),
        error => ApiError::Engine(error),
    }
}

async fn ask<V: Executes>(
    state: &AppState,
    view: &V,
    id: WorkId,
    follow: bool,
) -> Result<Frames, BackendError> {
    let request = LogRequest {
        node_id: view.node_id(),
        stream: view.stream(),
        execution: Some(id),
        query: LogQuery { follow, ..LogQuery::default() },
        reply_to: ReplyTo(clock::new_uuid()),
    };
    output::logs(&state.bus, request).await
}

/// A command of an object by the text of its id.
async fn find<V: Executes>(
    state: &AppState,
    call: &Call,
    view: &V,
    text: &str,
) -> Result<ExecutionState, ApiError> {
    let not_found = || ApiError::NotFound("Execution", shown(text));
    let id = EventId(text.parse().map_err(|_| not_found())?);
    if view.runs(id) {
        let task = view.tasks().iter().find(|task| task.id == id);
        let blocked = task.filter(|task| task.blocked_on.is_some());
        let status =
            if blocked.is_some() { ExecutionStatus::Waiting } else { ExecutionStatus::Running };
        let reason = blocked.and_then(|task| task.reason.clone());
        return Ok(ExecutionState { id, status, exit_code: None, reason });
    }
    let object = view.stream();
    let executed = Verb::Execute.name();
    let is_known = |view: &V| {
        view.outcomes().iter().any(|outcome| outcome.work_id == id && outcome.action == executed)
    };
    let asked_at = if is_known(view) {
        Revision(0)
    } else {
        let place = state.own().places.take_scan(&call.ctx.project).await?;
        let asked_at = move |log: &dyn EventLog| requested_at(log, object, id);
        read::scan_at(place, state, asked_at).await??.ok_or_else(not_found)?
    };
    if view.head().revision < asked_at {
        let status = ExecutionStatus::Running;
        return Ok(ExecutionState { id, status, exit_code: None, reason: None });
    }
    let settled = command::ended(state, object, asked_at, id, Some(view.clone())).await?;
    let (status, exit_code, reason) = match settled {
        Settled::Done(exit_code) => (ExecutionStatus::Done, exit_code, None),
        Settled::Failed(words) => (ExecutionStatus::Failed, None, Some(words)),
        Settled::Unknown(words) => (ExecutionStatus::Unknown, None, Some(words)),
        Settled::Gone | Settled::Waiting => (ExecutionStatus::Running, None, None),
    };
    Ok(ExecutionState { id, status, exit_code, reason })
}

/// The revision at which a command was asked for.
fn requested_at(
    log: &dyn EventLog,
    object: StreamId,
    id: EventId,
) -> Result<Option<Revision>, ReadError> {
    let asks_to_execute = Mark::Asks(Verb::Execute);
    let mut from = Revision(0);
    loop {
        let page = log.read_stream(object, from, PAGE)?;
        let asks = |event: &&crate::events::Recorded| {
            event.id == id && codec::mark(event.event_type.as_str()) == Some(asks_to_execute)
        };
        if let Some(event) = page.iter().find(asks) {
            return Ok(Some(event.revision));
        }
        match page.last() {
            Some(last) => from = last.revision.next(),
            None => return Ok(None),
        }
    }
}
