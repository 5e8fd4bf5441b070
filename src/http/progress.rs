//! The time limit for a client that takes nothing of what it is sent.
//!
//! What it does not take fills the buffers between here and there; then its connection waits, with
//! all that an answer holds: memory, a place among the streams, the right to follow that a revoked
//! token gave. As little as a byte in time is enough: who reads slowly is not cut off (rule S3).
//! Below TLS, which writes by itself as well. Not here: the limits for what it sends (`head`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::Deadline;
/// A connection that fails when nothing can be written for too long. A socket has nothing to flush.
pub struct Progressing<IO> {
    io: IO,
    limit: Duration,
    /// When what waits to be written must have got on.
    deadline: Deadline,
}

impl<IO> Progressing<IO> {
    /// A connection on which a write may wait for so long.
    pub fn new(io: IO, limit: Duration) -> Self {
        Self { io, limit, deadline: Deadline::default() }
    }

    /// The result of an attempt to write; a failure once they were in vain for too long.
    fn limited(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.deadline.end();
            return polled;
        }
        self.deadline.begin(self.limit);
        self.deadline.poll_too_late(cx).map(Err)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Progressing<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Progressing<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.limited(cx, polled)
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
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.limited(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, io) = duplex(64);
        let mut io = Progressing::new(io, LIMIT);
        let written = timeout(2 * LIMIT, io.write_all(&[0; 65])).await;
        let error = written.expect("the limit goes first").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_little_is_not() {
        let (mut client, io) = duplex(64);
        let mut io = Progressing::new(io, LIMIT);
        let reading = tokio::spawn(async move {
            for _ in 0..20 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                client.read_u8().await.unwrap();
            }
            client
        });
        io.write_all(&[0; 64 + 20]).await.unwrap();
        // Nor is one that has nothing to take for a while.
        let mut client = reading.await.unwrap();
        sleep(2 * LIMIT).await;
        client.read_exact(&mut [0; 64]).await.unwrap();
        io.write_all(&[0; 64]).await.unwrap();
        assert!(timeout(LIMIT / 2, io.write_u8(0)).await.is_err(), "it may wait");
    }
}
