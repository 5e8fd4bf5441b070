//! Sending commands to objects, and waiting for their outcomes.
//!
//! Not here: the form of responses (`respond`, one file a noun), the status of refusals (`error`).

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::respond;
use super::shape::{self, Shown};
use crate::bus::{
    CommandError, CommandMessage, CommandReply, NounCommand, Origin, Refusal, ReplyTo, delivery,
};
use crate::events::codec::{self, payload_json};
use crate::events::{Mark, Recorded};
use crate::ids::{EventId, ObjectId, Position, ProjectId, Revision, StreamId, WorkId};
use crate::projections::query::QueryError;
use crate::projections::{View, as_of};

/// How long an answer waits for the views to show what was just recorded; they are milliseconds
/// behind unless they are being rebuilt, and then the log itself is read.
const VIEW_WAIT: Duration = Duration::from_secs(2);

/// Events that are read at once in search of an outcome.
const PAGE: usize = 256;

/// The outcome of a command's work.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// Done; the exit code where a command was executed.
    Done(Option<i64>),
    /// The backend refused; its words.
    Failed(String),
    /// The outcome is unknown; the reason.
    Unknown(String),
    /// The object went before it was this work's turn.
    Gone,
    /// Not yet.
    Waiting,
}

/// Asks an object to change.
pub async fn send<C: NounCommand>(
    state: &AppState,
    ctx: &Origin,
    stream: StreamId,
    command: &C,
) -> Result<CommandReply, ApiError> {
    send_for(state, ctx, stream, command, None).await
}

/// Asks an object to change, and for the output of what it executes.
pub async fn send_for<C: NounCommand>(
    state: &AppState,
    ctx: &Origin,
    stream: StreamId,
    command: &C,
    reply_to: Option<ReplyTo>,
) -> Result<CommandReply, ApiError> {
    debug_assert_eq!(stream.kind, C::KIND, "a command of another noun");
    if let Some(reason) = state.low_space.borrow().clone() {
        return Err(ApiError::LowSpace(reason));
    }
    let mut message = CommandMessage::new(stream.id, command, ctx.clone())?;
    message.reply_to = reply_to;
    let answer = delivery::ask(state.bus.as_ref(), message).await;
    if let Err(error) = &answer {
        let command =
            serde_json::to_value(command).map_err(|error| ApiError::Internal(error.to_string()))?;
        state.audit.refused(ctx, stream, &command, error).await;
    }
    Ok(answer?)
}

/// A refusal that is found before the object is asked: recorded as its own would be.
pub async fn refuse(
    state: &AppState,
    call: &Call,
    stream: StreamId,
    asked: &str,
    reason: String,
) -> ApiError {
    refuse_as(state, call, stream, asked, Refusal::Conflict { reason }).await
}

/// As [`refuse`], for a reason that has a refusal of its own.
pub async fn refuse_as(
    state: &AppState,
    call: &Call,
    stream: StreamId,
    asked: &str,
    refusal: Refusal,
) -> ApiError {
    let error = CommandError::Refused(refusal);
    state.audit.refused(&call.ctx, stream, &Value::from(asked), &error).await;
    ApiError::Command(error)
}

/// The answer to the same request with the same `Idempotency-Key` before, if there was one. To be
/// asked before anything that depends on how things are now (rule L6).
pub async fn earlier(state: &AppState, call: &Call) -> Result<Option<CommandReply>, ApiError> {
    let Some(id) = &call.ctx.command_id else { return Ok(None) };
    let Some(seen) = state.log.command(id)? else { return Ok(None) };
    let message = CommandMessage::again(seen.stream, call.ctx.clone());
    let answer = delivery::ask(state.bus.as_ref(), message).await;
    if let Err(error) = &answer {
        state.audit.refused(&call.ctx, seen.stream, &Value::Null, error).await;
    }
    Ok(Some(answer?))
}

/// Asks an object that is there to change, once: the earlier answer where there was one, else the
/// command that follows from the object as it is found.
pub async fn ask<V, C, F>(
    state: &AppState,
    call: &Call,
    find: impl FnOnce() -> Result<V, ApiError> + Send,
    command: impl FnOnce(V) -> F + Send,
) -> Result<CommandReply, ApiError>
where
    V: View,
    C: NounCommand,
    F: Future<Output = Result<C, ApiError>> + Send,
{
    if let Some(reply) = earlier(state, call).await? {
        return Ok(reply);
    }
    let view = find()?;
    let stream = StreamId::new(V::KIND, view.head().uuid);
    send(state, &call.ctx, stream, &command(view).await?).await
}

/// Whether the views show what was recorded up to a position, after a short wait.
pub async fn is_seen(state: &AppState, position: Position) -> bool {
    state.reads.wait_for(position, VIEW_WAIT).await.is_ok()
}

/// The view of an object once it shows what a command did; its last one where it is gone.
async fn view_after<V: View>(
    state: &AppState,
    project: &ProjectId,
    reply: &CommandReply,
) -> Result<Option<V>, ApiError> {
    view_at(state, project, reply.stream.id, reply.position).await
}

/// The view of an object once it shows what was recorded up to a position; its last one where it
/// is gone.
pub async fn view_at<V: View>(
    state: &AppState,
    project: &ProjectId,
    id: ObjectId,
    position: Position,
) -> Result<Option<V>, ApiError> {
    if is_seen(state, position).await
        && let Some(view) = get(state, project, id)?
    {
        return Ok(Some(view));
    }
    let (log, project) = (state.log.clone(), project.clone());
    let last = move || as_of::last_view(log.as_ref(), &project, id, Position(u64::MAX));
    let last = blocking(last).await?;
    last.map_err(|error| ApiError::Internal(error.to_string()))
}

/// Where a command changed nothing because the same thing is in progress, the work to wait for.
pub async fn joined<V: View>(
    state: &AppState,
    call: &Call,
    mut reply: CommandReply,
    action: &str,
) -> Result<CommandReply, ApiError> {
    if reply.work.is_none() {
        let view = view_after::<V>(state, &call.ctx.project, &reply).await?;
        let same = |view: &V| view.tasks().iter().rfind(|t| t.action == action).map(|t| t.id);
        reply.work = view.as_ref().and_then(same);
    }
    Ok(reply)
}

/// The answer where work is not done: 202 with the object while it goes on, otherwise a refusal.
pub async fn not_done<V: Shown>(
    state: &AppState,
    call: &Call,
    reply: &CommandReply,
    outcome: Settled,
) -> Result<Response, ApiError> {
    match outcome {
        Settled::Waiting => shown::<V>(state, call, reply, StatusCode::ACCEPTED).await,
        outcome => Err(failure(reply, outcome)),
    }
}

/// The refusal that an outcome is, where it is one.
pub fn failure(reply: &CommandReply, outcome: Settled) -> ApiError {
    match outcome {
        Settled::Failed(words) => ApiError::WorkFailed(words),
        Settled::Unknown(words) => ApiError::WorkUnknown(words),
        Settled::Gone | Settled::Done(_) | Settled::Waiting => {
            let StreamId { kind, id } = reply.stream;
            ApiError::Conflict(format!("{} {id} was deleted meanwhile.", kind.title()))
        }
    }
}

/// Waits until the work of a command has an outcome, at most as long as the client wants.
pub async fn settle<V: View>(
    state: &AppState,
    call: &Call,
    reply: &CommandReply,
) -> Result<Settled, ApiError> {
    let Some(work) = reply.work else { return Ok(Settled::Done(None)) };
    let (project, id) = (&call.ctx.project, reply.stream.id);
    let mut stopping = state.stopping.clone();
    let work_ends = state.reads.wait_for_work::<V>(project, id, work, reply.position, call.wait);
    let waited = tokio::select! {
        waited = work_ends => waited,
        // It is recorded, and goes on with the next start.
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(Settled::Waiting),
    };
    let view = match waited {
        Err(QueryError::Behind { .. }) => return Ok(Settled::Waiting),
        view => view.map_err(|error| ApiError::query(V::KIND, "", error))?,
    };
    if view.as_ref().is_some_and(|view| view.tasks().iter().any(|task| task.id == work)) {
        return Ok(Settled::Waiting);
    }
    ended(state, reply.stream, reply.revision, work, view).await
}

/// The answer to a POST: the new object, 202 while its work goes on, with what was ignored.
pub async fn created<V: Shown>(
    state: &AppState,
    call: &Call,
    reply: &CommandReply,
    outcome: &Settled,
    warnings: &[String],
) -> Result<Response, ApiError> {
    let status =
        if *outcome == Settled::Waiting { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let response = shown_with::<V>(state, call, reply, status, warnings).await?;
    Ok(respond::located(response, call, V::KIND, reply.stream.id))
}

/// The object after a command.
pub async fn shown<V: Shown>(
    state: &AppState,
    call: &Call,
    reply: &CommandReply,
    status: StatusCode,
) -> Result<Response, ApiError> {
    shown_with::<V>(state, call, reply, status, &[]).await
}

async fn shown_with<V: Shown>(
    state: &AppState,
    call: &Call,
    reply: &CommandReply,
    status: StatusCode,
    warnings: &[String],
) -> Result<Response, ApiError> {
    match view_after::<V>(state, &call.ctx.project, reply).await? {
        Some(mut view) => {
            state.underway.tell(&mut view);
            Ok(respond::at(shape::answer(status, call, &view, warnings), reply.position))
        }
        None => Err(ApiError::not_found(V::KIND, reply.stream.id.to_string())),
    }
}

/// Nothing to say but that it is done.
pub fn no_content(reply: &CommandReply) -> Response {
    use axum::response::IntoResponse;
    respond::at(StatusCode::NO_CONTENT.into_response(), reply.position)
}

/// Reads what may take long on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    crate::blocking::run(read).await.map_err(ApiError::Internal)
}

/// An object of a project by its id; `None` if the project has none.
pub fn get<V: View>(
    state: &AppState,
    project: &ProjectId,
    id: ObjectId,
) -> Result<Option<V>, ApiError> {
    state.reads.get::<V>(project, id).map_err(|error| ApiError::query(V::KIND, "", error))
}

/// The outcome of work that no object waits for any more, asked for at a revision of its object or
/// later.
pub async fn ended<V: View>(
    state: &AppState,
    stream: StreamId,
    from: Revision,
    work: WorkId,
    view: Option<V>,
) -> Result<Settled, ApiError> {
    let known = view.as_ref().and_then(|view| view.outcomes().iter().find(|o| o.work_id == work));
    if let Some(outcome) = known {
        let Some(words) = outcome.failure.clone() else {
            return Ok(Settled::Done(outcome.exit_code));
        };
        let event = state.log.read(outcome.position.before(), 1)?.pop();
        let is_unknown = event.is_some_and(|event| is_unknown(&event, work));
        return Ok(if is_unknown { Settled::Unknown(words) } else { Settled::Failed(words) });
    }
    let log = state.log.clone();
    let found = blocking(move || search(log.as_ref(), stream, from, work)).await??;
    Ok(match (found, view) {
        (Some(outcome), _) => outcome,
        // What a repeated command names may be an event that asked for no work.
        (None, Some(_)) => Settled::Done(None),
        (None, None) => Settled::Gone,
    })
}

/// Whether an event says that the outcome of this work is unknown. Work that was queued behind it
/// is not: it was cancelled by the same event.
fn is_unknown(event: &Recorded, work: WorkId) -> bool {
    let name = event.event_type.as_str();
    let data = || payload_json(event.stream.kind, name, event.version, &event.payload);
    codec::mark(name) == Some(Mark::Unknown)
        && data().is_ok_and(|data| names(data.get("work_id"), work))
}

/// The outcome of work in the log, for those the view no longer remembers.
fn search(
    log: &dyn crate::events::log::EventLog,
    stream: StreamId,
    mut from: Revision,
    work: EventId,
) -> Result<Option<Settled>, ApiError> {
    loop {
        let page = log.read_stream(stream, from, PAGE)?;
        for event in &page {
            let name = event.event_type.as_str();
            let Some(mark) = codec::mark(name) else { continue };
            let data = payload_json(stream.kind, name, event.version, &event.payload)?;
            let reason = data.get("reason").and_then(Value::as_str).unwrap_or_default();
            if mark.ends_work() && names(data.get("work_id"), work) {
                return Ok(Some(match mark {
                    Mark::Failed => Settled::Failed(reason.to_owned()),
                    Mark::Unknown => Settled::Unknown(reason.to_owned()),
                    _ => Settled::Done(data.get("exit_code").and_then(Value::as_i64)),
                }));
            }
            let cancelled = data.get("cancelled").and_then(Value::as_array);
            if cancelled.is_some_and(|ids| ids.iter().any(|id| names(Some(id), work))) {
                return Ok(Some(Settled::Failed(format!("cancelled by {name}: {reason}"))));
            }
        }
        match page.last() {
            Some(last) => from = last.revision.next(),
            None => return Ok(None),
        }
    }
}

/// Whether a field of an event names this work.
fn names(field: Option<&Value>, work: EventId) -> bool {
    field.and_then(Value::as_str) == Some(&work.to_string())
}
