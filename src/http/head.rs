//! The limits for the head of a request, on its connection.
//!
//! hyper has one time limit for a connection without a request and for a half-sent head. The first
//! must be long, or clients meet connections that are being closed; the second short, or a few of
//! them take all places. Not here: how long each is (`listener`), how large a head may be
//! (`head_limits`), bodies (`edge/request`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connections::ConnectionPlace;
use super::deadline::Deadline;
use super::head_limits::{HeadCount, TooLargeHead};

/// How long a client whose head was too large may go on sending. A connection that is closed before
/// all was read is reset, and the answer may be lost on its way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What is read at once of what nobody wants.
const DRAINED_BYTES: usize = 8 << 10;

/// Whether a connection waits for the head of a request, and what was wrong with its last one.
/// Cheap to clone.
#[derive(Clone)]
pub struct Head {
    state: Arc<HeadState>,
    limit: Duration,
}

struct HeadState {
    is_awaited: AtomicBool,
    too_large: OnceLock<TooLargeHead>,
}

impl Head {
    /// Of a new connection, which waits for its first one.
    pub fn new(limit: Duration) -> Self {
        let state = HeadState { is_awaited: AtomicBool::new(true), too_large: OnceLock::new() };
        Self { state: Arc::new(state), limit }
    }

    /// Why it was ended early. It is the connection's last one.
    pub fn too_large(&self) -> Option<TooLargeHead> {
        self.state.too_large.get().copied()
    }

    /// Says that one is complete.
    pub fn is_here(&self) {
        self.state.is_awaited.store(false, Ordering::Relaxed);
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
        self.head.state.is_awaited.store(true, Ordering::Relaxed);
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

/// A connection that fails when a head takes too long, and ends one that is too large. It holds its
/// place among the connections until it is closed, also after an upgrade.
pub struct Limited<IO> {
    io: IO,
    head: Head,
    /// When the head that has begun must be complete, or the client must have gone.
    deadline: Deadline,
    count: HeadCount,
    /// What is still to be read of the end of a head that was too large.
    ending: &'static [u8],
    is_shut_down: bool,
    _place: ConnectionPlace,
}

impl<IO> Limited<IO> {
    /// A connection whose first head must be complete by then.
    pub fn new(io: IO, head: Head, until: Instant, place: ConnectionPlace) -> Self {
        let (deadline, count) = (Deadline::at(until), HeadCount::default());
        Self { io, head, deadline, count, ending: b"", is_shut_down: false, _place: place }
    }

    /// Counts what has just been read of a head, from `before` on in the buffer.
    fn count(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        // The last one was answered. What came of this one before that, where a client does not
        // wait for answers, was not counted, and is left to hyper's limits.
        if self.count.is_over() {
            self.count = HeadCount::default();
        }
        let piece = buffer.filled().get(before..).unwrap_or_default();
        let Some(cut) = self.count.take(piece) else { return };
        buffer.set_filled(before + cut.kept);
        self.ending = cut.ending;
        self.head.state.too_large.get_or_init(|| cut.why);
        self.end(buffer);
    }

    /// Ends the head, as far as there is room in the buffer.
    fn end(&mut self, buffer: &mut ReadBuf<'_>) {
        let fits = self.ending.len().min(buffer.remaining());
        let (now, later) = self.ending.split_at(fits);
        buffer.put_slice(now);
        self.ending = later;
    }
}

impl<IO: AsyncRead + Unpin> Limited<IO> {
    /// Reads what a client still sends, until it has gone or for long enough.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.begin(DRAIN_TIMEOUT);
        loop {
            let mut unwanted = [0; DRAINED_BYTES];
            let mut unwanted = ReadBuf::new(&mut unwanted);
            // Before each piece: there may be no end to them.
            if self.deadline.poll_too_late(cx).is_ready() {
                return Poll::Ready(());
            }
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut unwanted));
            if read.is_err() || unwanted.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Limited<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ending.is_empty() {
            this.end(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.head.too_large().is_some() {
            // Nothing more of this client is a request: it is answered, and the connection closed.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buffer);
        if !this.head.state.is_awaited.load(Ordering::Relaxed) {
            this.deadline.end();
            return polled;
        }
        if polled.is_pending() {
            return this.deadline.poll_too_late(cx).map(Err);
        }
        // Not moved on by the bytes that follow: they may come one by one.
        this.deadline.begin(this.head.limit);
        this.count(buffer, before);
        polled
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Limited<IO> {
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
        if self.head.too_large().is_none() {
            return Pin::new(&mut self.io).poll_shutdown(cx);
        }
        if !self.is_shut_down {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.is_shut_down = true;
            self.deadline.end();
        }
        self.poll_drain(cx).map(Ok)
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
