//! Executing a command in a container: output and exit code in one response, or the output while it
//! comes.
//!
//! Not here: how it ended and what it wrote, asked for later (`execution`).

use std::fmt::Display;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::collected::{Collected, MAX_OUTPUT_BYTES};
use super::{Executes, execution, raw};
use crate::backends::BackendError;
use crate::bus::{CommandReply, Frames, ReplyTo, output};
use crate::clock;
use crate::http::command::{self, Settled};
use crate::http::edge::request::{Call, Ident};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::input::container;
use crate::http::text::shown;
use crate::http::{node, read, respond};

/// How long the rest of the output may take once the exit code is known.
const DRAIN: Duration = Duration::from_secs(5);

/// What came out of a command.
#[derive(Debug, Serialize, ToSchema)]
pub struct Executed {
    /// Standard output and standard error as they came; bytes that are not UTF-8 are replaced.
    pub output: String,
    /// The command's exit code; null while it still runs.
    pub exit_code: Option<i64>,
}

/// `PUT /v1/{collection}/{ident}/execute?command=`
pub async fn execute<V: Executes>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&[&["command", "stream"], V::ARGUMENTS].concat())?;
    let command = words(&call)?;
    if (call.flag("stream")? || raw::is_accepted(&headers)) && !call.wait.is_zero() {
        return streamed::<V>(&state, &call, &ident, command).await;
    }
    // Before the command is sent: it is not executed where there is no room for what it says.
    let mut output = Collected::new(&state.own().places, &call.ctx.project, too_much)?;
    let (reply, frames) = match command::earlier(&state, &call).await? {
        Some(reply) => (reply, Some(earlier_output::<V>(&state, &call, &reply).await?)),
        None => start::<V>(&state, &call, &ident, command).await?,
    };
    let Some(mut frames) = frames else {
        let accepted = Executed { output: String::new(), exit_code: None };
        let response = respond::json(StatusCode::ACCEPTED, &accepted);
        return Ok(respond::at(execution::named(response, reply.work), reply.position));
    };
    let outcome = {
        let settle = command::settle::<V>(&state, &call, &reply);
        tokio::pin!(settle);
        loop {
            tokio::select! {
                outcome = &mut settle => break outcome?,
                more = take(&mut frames, &mut output) => {
                    if !more? {
                        break settle.await?;
                    }
                }
            }
        }
    };
    let (status, exit_code) = match outcome {
        Settled::Done(exit_code) => (StatusCode::OK, exit_code),
        Settled::Waiting => (StatusCode::ACCEPTED, None),
        other => return Err(command::failure(&reply, other)),
    };
    // None comes where the same request was sent twice at once, and this one was the later one.
    if status == StatusCode::OK {
        let rest = async {
            while take(&mut frames, &mut output).await? {}
            Ok::<(), ApiError>(())
        };
        match timeout(DRAIN, rest).await {
            Ok(taken) => taken?,
            Err(_) => return Err(incomplete("its end did not arrive")),
        }
    }
    // A response that has neither output nor an end hands nothing out.
    if status == StatusCode::OK || !output.is_empty() {
        state.audit.execute_output(&call.ctx, reply.stream).await?;
    }
    let response = output.answer(status, |output| Executed { output, exit_code });
    let response = response.map_err(lost)?;
    Ok(respond::at(execution::named(response, reply.work), reply.position))
}

/// The answer that has the output while it comes, for as long as the command runs.
async fn streamed<V: Executes>(
    state: &AppState,
    call: &Call,
    ident: &str,
    command: Vec<String>,
) -> Result<Response, ApiError> {
    // Before the command is sent, as above.
    let place = state.own().places.take_followed_log(&call.ctx.project)?;
    let (reply, frames) = match command::earlier(state, call).await? {
        Some(reply) => (reply, Some(earlier_output::<V>(state, call, &reply).await?)),
        None => start::<V>(state, call, ident, command).await?,
    };
    let frames = frames.unwrap_or_else(|| stream::empty().boxed());
    let response = raw::answer(state, call, reply.stream, frames, place);
    Ok(respond::at(execution::named(response, reply.work), reply.position))
}

/// The output of a command that was asked for by an earlier request with the same key; none where
/// it is not kept any more.
async fn earlier_output<V: Executes>(
    state: &AppState,
    call: &Call,
    reply: &CommandReply,
) -> Result<Frames, ApiError> {
    let view = command::get::<V>(state, &call.ctx.project, reply.stream.id)?;
    let (Some(view), Some(id)) = (view, reply.work) else { return Ok(stream::empty().boxed()) };
    match execution::kept(state, call, &view, id, call.wait).await {
        Err(ApiError::Missing(_)) => Ok(stream::empty().boxed()),
        frames => frames,
    }
}

/// Asks for the command; its output comes in the frames, if it is waited for.
async fn start<V: Executes>(
    state: &AppState,
    call: &Call,
    ident: &str,
    command: Vec<String>,
) -> Result<(CommandReply, Option<Frames>), ApiError> {
    let view = read::find::<V>(state, call, ident)?;
    if let Some(reason) = node::unavailable(state, view.node_id())? {
        // It would fail, and nothing would repeat it.
        return Err(ApiError::Engine(BackendError::Unavailable(reason)));
    }
    let object = view.stream();
    let command = view.execute(call, command)?;
    if call.wait.is_zero() {
        // It is executed all the same, also if it ends before there is an answer.
        let reply = command::send(state, &call.ctx, object, &command).await?;
        return Ok((reply, None));
    }
    // Before the command is sent, so that nothing is missed.
    let reply_to = ReplyTo(clock::new_uuid());
    let frames = output::frames(&state.bus, reply_to);
    let frames = frames.map_err(|error| ApiError::Internal(error.to_string()))?;
    let reply = command::send_for(state, &call.ctx, object, &command, Some(reply_to)).await?;
    Ok((reply, Some(frames)))
}

/// Adds the next piece of output; whether there was one.
async fn take(frames: &mut Frames, output: &mut Collected) -> Result<bool, ApiError> {
    let Some(frame) = frames.next().await else { return Ok(false) };
    let frame = frame.map_err(incomplete)?;
    output.add(&frame.data).map_err(lost)?;
    Ok(true)
}

/// The refusal of more than one answer holds.
fn too_much() -> ApiError {
    ApiError::TooMuchOutput(format!(
        "The command is running, but its output exceeds {MAX_OUTPUT_BYTES} bytes, or twice as many \
         as JSON; redirect it to a file in the container."
    ))
}

/// The same refusal where the command has been started: trying again would start it again.
fn lost(error: ApiError) -> ApiError {
    let started =
        |words| format!("The command was started, but its output cannot be shown. {words}");
    match error {
        ApiError::TooMany(words) => ApiError::TooMuchOutput(started(words)),
        ApiError::Overloaded(words) => ApiError::TooMuchOutput(started(words)),
        error => error,
    }
}

/// Not all of the output is there: to show the rest as if it were all would not be true.
fn incomplete(reason: impl Display) -> ApiError {
    ApiError::Engine(BackendError::Failed(format!(
        "The output of the command is incomplete: {reason}. How the command ended is in the \
         object's history."
    )))
}

/// The command and its arguments: a line in the query, or `command` in the body, which has no limit
/// as tight as a query's, and may be a list of words.
fn words(call: &Call) -> Result<Vec<String>, ApiError> {
    let given = match (call.argument("command"), call.has_body()) {
        (Some(line), false) => Value::from(line),
        (None, true) => in_body(call)?,
        (Some(_), true) => {
            let words = "The command is given twice, in the query and in the body.";
            return Err(ApiError::BadRequest(words.to_owned()));
        }
        (None, false) => return Err(missing()),
    };
    let text = || shown(&given.as_str().map_or_else(|| given.to_string(), str::to_owned));
    let words =
        container::words(&given).map_err(|reason| ApiError::field("command", text(), reason))?;
    if words.first().is_none_or(String::is_empty) {
        return Err(ApiError::field("command", text(), "The command is empty."));
    }
    Ok(words)
}

/// The command in a body, which has nothing else.
fn in_body(call: &Call) -> Result<Value, ApiError> {
    let mut fields = call.fields()?;
    let command = fields.remove("command").ok_or_else(missing)?;
    match fields.keys().next() {
        None => Ok(command),
        Some(other) => {
            Err(ApiError::field(other, "", "The body takes a command and nothing else."))
        }
    }
}

fn missing() -> ApiError {
    ApiError::BadRequest("Missing argument: \"command\"".to_owned())
}
