//! A container's output, as stored by the engine.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use bollard::{BollardRequest, Docker};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::super::{BackendError, LogQuery, OutputFrame, OutputStream};
use super::DockerBackend;
use super::connection::within;
use super::error::classify;
use crate::ids::{StreamId, Timestamp};

/// What the client makes of the engine's answer.
type EngineOutput = BoxStream<'static, Result<LogOutput, Error>>;

/// Pieces of output, or the error that ends them.
type Frames = BoxStream<'static, Result<OutputFrame, BackendError>>;

impl DockerBackend {
    /// What a container wrote, and goes on to write where that is asked for.
    pub(super) async fn read_logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<Frames, BackendError> {
        let found = self.find_one(stream, query.container.as_deref()).await?;
        let tail = query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(query.follow)
            .timestamps(query.timestamps)
            .tail(&tail)
            .build();
        let docker = within_times(self.connection.client()?, query.since, query.until);
        let output = docker.logs(&found.observed.engine_id, Some(options));
        // Following, silence is not a fault.
        let limit = (!query.follow).then_some(self.connection.limits.quick);
        Ok(limited(output.boxed(), limit))
    }
}

/// Pieces of output; an error is the last of them.
fn limited(output: EngineOutput, limit: Option<Duration>) -> Frames {
    let next = move |output: Option<EngineOutput>| async move {
        let mut output = output?;
        let piece = async { output.next().await.transpose() };
        let piece = match limit {
            Some(limit) => within(limit, piece).await,
            None => piece.await.map_err(classify),
        };
        let piece = piece.transpose()?;
        let rest = piece.is_ok().then_some(output);
        Some((piece.map(frame), rest))
    };
    stream::unfold(Some(output), next).boxed()
}

/// Asks for output from a time on, and up to one. The client knows whole seconds up to the year
/// 2038 only, the engine nanoseconds, so the request is completed by hand.
fn within_times(docker: Docker, since: Option<Timestamp>, until: Option<Timestamp>) -> Docker {
    let bound = |name: &str, time: Option<Timestamp>| {
        let time = time.filter(|time| time.0 > 0)?;
        let (whole, rest) = (time.0 / 1_000_000, time.0 % 1_000_000);
        Some((format!("{name}=0"), format!("{name}={whole}.{rest:06}")))
    };
    let bounds: Vec<_> = bound("since", since).into_iter().chain(bound("until", until)).collect();
    if bounds.is_empty() {
        return docker;
    }
    docker.with_request_modifier(move |request| completed(request, &bounds))
}

fn completed(mut request: BollardRequest, bounds: &[(String, String)]) -> BollardRequest {
    let uri = bounds
        .iter()
        .fold(request.uri().to_string(), |uri, (unset, wanted)| uri.replace(unset, wanted));
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// A piece of output in our words. The engine mixes both outputs where a terminal is attached.
pub(super) fn frame(piece: LogOutput) -> OutputFrame {
    let stream = match piece {
        LogOutput::StdErr { .. } => OutputStream::Stderr,
        _ => OutputStream::Stdout,
    };
    OutputFrame { stream, data: piece.into_bytes() }
}
