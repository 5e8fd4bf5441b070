//! The time limit for the head of a request.
//!
//! hyper has one limit for a connection without a request and for a half-sent head. The first must
//! be long, or clients meet connections that are being closed; the second short, or a few of them
//! take all places. Not here: how long each is (`listener`), bodies (`edge/request`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connections::ConnectionPlace;
use super::deadline::Deadline;

/// Whether a connection waits for the head of a request. Cheap to clone.
#[derive(Clone)]
pub struct Head {
    is_awaited: Arc<AtomicBool>,
    limit: Duration,
}

impl Head {
    /// Of a new connection, which waits for its first one.
    pub fn new(limit: Duration) -> Self {
        Self { is_awaited: Arc::new(AtomicBool::new(true)), limit }
    }

    /// Says that one is complete.
    pub fn is_here(&self) {
        self.is_awaited.store(false, Ordering::Relaxed);
    }
}

/// An answer; when it is out, the next head is awaited.
pub struct AnswerBody {
    body: Body,
    head: Head,
}

impl AnswerBody {
    /// The body of an answer.
    pub const fn new(body: Body, head: Head) -> Self {
        Self { body, head }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.head.is_awaited.store(true, Ordering::Relaxed);
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that fails when a head takes too long. It holds its place among the connections
/// until it is closed, also after an upgrade.
pub struct Limited<IO> {
    io: IO,
    head: Head,
    /// When the head that has begun must be complete.
    deadline: Deadline,
    _place: ConnectionPlace,
}

impl<IO> Limited<IO> {
    /// A connection whose first head must be complete by then.
    pub const fn new(io: IO, head: Head, until: Instant, place: ConnectionPlace) -> Self {
        Self { io, head, deadline: Deadline::at(until), _place: place }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Limited<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.io).poll_read(cx, buffer);
        if !this.head.is_awaited.load(Ordering::Relaxed) {
            this.deadline.end();
            return polled;
        }
        if polled.is_pending() {
            return this.deadline.poll_too_late(cx).map(Err);
        }
        // Not moved on by the bytes that follow: they may come one by one.
        this.deadline.begin(this.head.limit);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Limited<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::http::connections::Connections;

    const LIMIT: Duration = Duration::from_secs(10);
    const LONGER: Duration = Duration::from_secs(11);

    fn connection() -> (DuplexStream, Limited<DuplexStream>, Head) {
        let (client, io) = duplex(64);
        let place = Connections::new(vec![]).turn_away().unwrap();
        let head = Head::new(LIMIT);
        (client, Limited::new(io, head.clone(), Instant::now() + LIMIT, place), head)
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_head_must_come_soon() {
        let (_client, mut io, _) = connection();
        let read = timeout(LONGER, io.read_u8()).await.expect("the limit goes first");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_do_not_move_the_limit() {
        let (mut client, mut io, _) = connection();
        for second in 0..20 {
            client.write_u8(b'x').await.unwrap();
            io.read_u8().await.unwrap();
            if let Ok(read) = timeout(Duration::from_secs(1), io.read_u8()).await {
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
                assert!(second >= 8, "{second}");
                return;
            }
        }
        panic!("it may go on for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_there_is_no_limit_until_the_next_one_begins() {
        let (mut client, mut io, head) = connection();
        client.write_u8(b'x').await.unwrap();
        io.read_u8().await.unwrap();
        head.is_here();
        // A request takes as long as it takes.
        assert!(timeout(LONGER, io.read_u8()).await.is_err());
        drop(AnswerBody::new(Body::empty(), head));
        assert!(timeout(LONGER, io.read_u8()).await.is_err());
        client.write_u8(b'x').await.unwrap();
        io.read_u8().await.unwrap();
        advance(LIMIT / 2).await;
        let read = timeout(LIMIT, io.read_u8()).await.expect("the limit goes first");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
