//! Output of a command as bytes, while it comes: the multiplexed stream of the Docker Engine API.
//!
//! Each frame is a header of eight bytes and its data. The header is the output (1: stdout, 2:
//! stderr, 3: the service itself), three zeros, and the length as four bytes, the highest first. A
//! frame of the service is the last one, and says in words why the output is not complete. Not
//! here: the exit code, which `GET /v1/containers/{ident}/executions/{id}` has once the stream has
//! ended.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, BytesMut};
use futures_util::{StreamExt, stream};

use crate::backends::OutputStream;
use crate::bus::{Frames, Origin};
use crate::http::edge::audit::Audit;
use crate::http::edge::places::Place;
use crate::http::edge::policy::Right;
use crate::http::edge::request::Call;
use crate::http::edge::state::AppState;
use crate::ids::StreamId;

/// The content type, as the Docker Engine API has it.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Whether a request names the content type among those that it takes.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(','));
    types.any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == MULTIPLEXED))
}

/// What the service itself says.
const SERVICE: u8 = 3;

/// Output on its way to a client.
struct Raw {
    frames: Frames,
    /// Resolves when the client is to be sent no more; why.
    over: Pin<Box<dyn Future<Output = String> + Send>>,
    /// What is recorded before the first byte is handed out.
    audit: Option<(Audit, Origin, StreamId)>,
    _place: Place,
}

/// The answer that has the output of a container's command while it comes. It takes its place until
/// it ends.
pub fn answer(
    state: &AppState,
    call: &Call,
    container: StreamId,
    frames: Frames,
    place: Place,
) -> Response {
    let mut stopping = state.stopping.clone();
    let mut grant = state.auth.grant(&call.caller, &[Right::Execute]);
    let over = async move {
        tokio::select! {
            // Without a sender there is nobody left who could stop it.
            _ = stopping.wait_for(|stopping| *stopping) => "the service stops".to_owned(),
            words = grant.lost() => words.to_owned(),
        }
    };
    let audit = Some((state.audit.clone(), call.ctx.clone(), container));
    let raw = Raw { frames, over: Box::pin(over), audit, _place: place };
    let body = Body::from_stream(stream::unfold(Some(raw), Raw::next));
    let content_type = HeaderValue::from_static(MULTIPLEXED);
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

impl Raw {
    async fn next(raw: Option<Self>) -> Option<(Result<Bytes, Infallible>, Option<Self>)> {
        let mut raw = raw?;
        let last = |words: String| Some((Ok(framed(SERVICE, words.as_bytes())), None));
        let frame = tokio::select! {
            biased;
            words = &mut raw.over => return last(words),
            frame = raw.frames.next() => frame?,
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return last(error.to_string()),
        };
        if let Some((audit, ctx, container)) = raw.audit.take()
            && let Err(error) = audit.execute_output(&ctx, container).await
        {
            return last(error.to_string());
        }
        let number = match frame.stream {
            OutputStream::Stdout => 1,
            OutputStream::Stderr => 2,
        };
        Some((Ok(framed(number, &frame.data)), Some(raw)))
    }
}

fn framed(number: u8, data: &[u8]) -> Bytes {
    // Frames have 64 KiB at most, and the words of errors less.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut bytes = BytesMut::with_capacity(8 + data.len());
    bytes.put_slice(&[number, 0, 0, 0]);
    bytes.put_u32(length);
    bytes.put_slice(data);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::framed;

    #[test]
    fn a_frame_is_as_the_engine_api_has_it() {
        assert_eq!(&framed(2, b"oh")[..], b"\x02\0\0\0\0\0\0\x02oh");
        assert_eq!(&framed(1, &[7; 0x1_02_03])[..8], b"\x01\0\0\0\0\x01\x02\x03");
    }
}
