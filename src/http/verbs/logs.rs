//! A container's output so far, or as it arrives.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, future, stream};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use utoipa::ToSchema;

use super::Executes;
use super::collected::{Collected, MAX_OUTPUT_BYTES};
use crate::backends::{BackendError, LogQuery, OutputFrame, OutputStream};
use crate::bus::{Frames, LogRequest, ReplyTo, output};
use crate::clock;
use crate::http::edge::auth::Grant;
use crate::http::edge::places::Place;
use crate::http::edge::policy::Right;
use crate::http::edge::request::{Call, Ident};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::read;
use crate::http::text::number;

/// What a container wrote.
#[derive(Debug, Serialize, ToSchema)]
pub struct Logs {
    /// Standard output and standard error as they came; bytes that are not UTF-8 are replaced.
    output: String,
}

const ARGUMENTS: &[&str] = &["tail", "since", "until", "timestamps", "follow", "stdout", "stderr"];

/// `GET /v1/{collection}/{ident}/logs`
pub async fn logs<V: Executes>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&[ARGUMENTS, V::ARGUMENTS].concat())?;
    let query = query(&call)?;
    let wanted = wanted(&call)?;
    let view = read::find::<V>(&state, &call, &ident)?;
    let query = LogQuery { container: view.container(&call)?, ..query };
    state.audit.logs(&call.ctx, view.stream()).await?;
    if query.follow {
        let place = state.own().places.take_followed_log(&call.ctx.project)?;
        let frames = frames(&state, &view, query, wanted).await?;
        let grant = state.auth.grant(&call.caller, &[Right::Logs]);
        return Ok(followed(frames, place, state.stopping.clone(), grant));
    }
    let mut collected = Collected::new(&state.own().places, &call.ctx.project, too_much)?;
    let mut frames = frames(&state, &view, query, wanted).await?;
    while let Some(frame) = frames.next().await {
        collected.add(&frame.map_err(|error| refusal(&view, error))?.data)?;
    }
    collected.answer(StatusCode::OK, |output| Logs { output })
}

/// The refusal of more than one answer holds.
fn too_much() -> ApiError {
    ApiError::TooMuchOutput(format!(
        "The output exceeds {MAX_OUTPUT_BYTES} bytes, or twice as many as JSON; limit it with \
         tail= or since=, or stream it with follow=1."
    ))
}

/// The output that is wanted, as it comes.
async fn frames<V: Executes>(
    state: &AppState,
    view: &V,
    query: LogQuery,
    wanted: WantedOutputs,
) -> Result<Frames, ApiError> {
    let (node_id, stream) = (view.node_id(), view.stream());
    let reply_to = ReplyTo(clock::new_uuid());
    let request = LogRequest { node_id, stream, execution: None, query, reply_to };
    let frames = output::logs(&state.bus, request).await.map_err(|error| refusal(view, error))?;
    let frames = frames.filter(move |frame| {
        future::ready(frame.as_ref().map_or(true, |frame: &OutputFrame| wanted.has(frame.stream)))
    });
    Ok(frames.boxed())
}

/// Why there is no output. Where the engine has no container to ask, the record says why.
fn refusal<V: Executes>(view: &V, error: BackendError) -> ApiError {
    if !matches!(error, BackendError::Missing(_)) {
        return error.into();
    }
    let name = view.field("name").unwrap_or_else(|| view.head().uuid.to_string());
    let why = view.field("status_reason").map(|why| format!(": {why}")).unwrap_or_default();
    let (noun, status) = (V::KIND.title(), view.field("status").unwrap_or_default());
    ApiError::Conflict(format!(
        "{noun} {name} has no output: there is nothing of it on the engine. It is {status}{why}"
    ))
}

/// The output as it comes, until the container or the service ends it, or its reader may not
/// follow any longer; then the last line says so.
fn followed(
    frames: impl Stream<Item = Result<OutputFrame, BackendError>> + Send + 'static,
    place: Place,
    mut stopping: watch::Receiver<bool>,
    mut grant: Grant,
) -> Response {
    let (shut_out, mut words) = oneshot::channel();
    let over = async move {
        tokio::select! {
            // Without a sender there is nobody left who could stop it.
            _ = stopping.wait_for(|stopping| *stopping) => {}
            words = grant.lost() => drop(shut_out.send(words)),
        }
    };
    let pieces = frames.map(move |frame| {
        let _held = &place;
        frame.map(|frame| frame.data)
    });
    let last = stream::once(async move {
        let words = words.try_recv().map_or_else(
            |_| String::new(),
            |words| format!("\nmagnum: no longer followed: {words}\n"),
        );
        Ok(Bytes::from(words))
    });
    let body = Body::from_stream(pieces.take_until(Box::pin(over)).chain(last));
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::OK, plain, body).into_response()
}

fn query(call: &Call) -> Result<LogQuery, ApiError> {
    let tail = match call.argument("tail") {
        None | Some("all") => None,
        Some(text) => Some(number("tail", text)?),
    };
    Ok(LogQuery {
        tail,
        since: call.time("since")?,
        until: call.time("until")?,
        timestamps: call.flag("timestamps")?,
        follow: call.flag("follow")?,
        container: None,
    })
}

/// Which outputs are asked for.
#[derive(Clone, Copy)]
struct WantedOutputs {
    stdout: bool,
    stderr: bool,
}

impl WantedOutputs {
    const fn has(self, stream: OutputStream) -> bool {
        match stream {
            OutputStream::Stdout => self.stdout,
            OutputStream::Stderr => self.stderr,
        }
    }
}

/// Both, unless `stdout=` or `stderr=` names one or rules one out.
fn wanted(call: &Call) -> Result<WantedOutputs, ApiError> {
    let flag = |name: &str| call.argument(name).map(|_| call.flag(name)).transpose();
    Ok(match (flag("stdout")?, flag("stderr")?) {
        (Some(stdout), Some(stderr)) => WantedOutputs { stdout, stderr },
        (Some(stdout), None) => WantedOutputs { stdout, stderr: !stdout },
        (None, Some(stderr)) => WantedOutputs { stdout: !stderr, stderr },
        (None, None) => WantedOutputs { stdout: true, stderr: true },
    })
}
