//! The access log: a line for each request once its response was sent, or was given up.
//!
//! Never in it: queries and headers, which may hold secrets. Not here: whether there is one
//! (`service`).

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Method;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

use super::caller::Caller;

/// What is known of a request before its response.
pub struct Access {
    /// Since when it is here.
    pub started: Instant,
    /// Its method.
    pub method: Method,
    /// Its path, in the one form that each has.
    pub path: String,
    /// Who asked, if they were admitted.
    pub caller: Option<Caller>,
    /// What all lines of the request are in.
    pub span: Span,
}

/// The body of a response whose request is logged when it ends.
struct Logged {
    body: Body,
    status: u16,
    bytes: u64,
    access: Access,
}

impl Access {
    /// Has the request logged when the body of its response ends.
    pub fn log(self, response: Response) -> Response {
        let status = response.status().as_u16();
        response.map(|body| Body::new(Logged { body, status, bytes: 0, access: self }))
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let Access { started, method, path, caller, span } = &self.access;
        let (project, user) = caller
            .as_ref()
            .map_or(("-", "-"), |caller| (caller.project.0.as_str(), caller.user.as_str()));
        span.in_scope(|| {
            tracing::info!(
                target: "magnum::access",
                %method,
                path,
                status = self.status,
                ms = started.elapsed().as_millis() as u64,
                bytes = self.bytes,
                project,
                user,
                "request"
            );
        });
    }
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
