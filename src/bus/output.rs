//! Output of containers and commands on its way to who reads it: by credit, so that a slow reader
//! slows its own source and nothing else (rule B5).
//!
//! The reader grants so many pieces in all, and more as it takes them; the source sends no more
//! than that. Both count, so a piece or a grant that is lost, repeated or late does no harm that is
//! not seen. Not here: how the pieces travel (`local`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Bus;
use super::message::{LogRequest, ReplyTo};
use super::wire::messages;
use crate::backends::{BackendError, OutputFrame};

/// Pieces that a reader has room for, at most 64 KiB each: 1 MiB, which is in memory where it does
/// not read.
pub const WINDOW: u64 = 16;

/// Pieces that are taken before more are granted: few grants, and the source never waits for one
/// while the reader keeps up.
const GRANT_EVERY: u64 = WINDOW / 4;

/// A reader that hears nothing grants again what it granted: the grant may have been lost.
const GRANT_AGAIN: Duration = Duration::from_secs(1);

/// A piece that comes so long after a later one is lost.
const LOST: Duration = Duration::from_secs(5);

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it goes.
    pub reply_to: ReplyTo,
    /// Its place, from 0.
    pub number: u64,
    /// What it is.
    pub part: PieceContent,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceContent {
    /// Some of the output.
    Frame(OutputFrame),
    /// There is no more; why, if it is not because all of it was sent.
    End(Option<BackendError>),
}

/// A reader's leave to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Whose.
    pub reply_to: ReplyTo,
    /// How many pieces may be sent, counted from the first.
    pub pieces: u64,
}

messages! {
    Piece = "piece";
    Credit = "credit";
}

/// Nobody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the output")]
pub struct Unread;

/// The key has a reader already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply key is taken")]
pub struct KeyTaken;

/// The output of a container or a command, in pieces.
pub type Frames = BoxStream<'static, Result<OutputFrame, BackendError>>;

/// The output that will be sent to a key, which nobody else has. To be called before it is asked
/// for; ends when the source does.
///
/// # Errors
/// When the key has a reader already.
pub fn frames(bus: &Arc<dyn Bus>, reply_to: ReplyTo) -> Result<Frames, KeyTaken> {
    let pieces = bus.pieces(reply_to)?;
    let key = Held { bus: bus.clone(), reply_to };
    let reader =
        FrameReader { key, pieces, early: BTreeMap::new(), next: 0, granted: 0, ended: false };
    let frames = stream::unfold(reader, |mut reader| async move {
        let frame = reader.next().await?;
        Some((frame, reader))
    });
    Ok(frames.fuse().boxed())
}

/// The output of a container, sent to a new key.
///
/// # Errors
/// What the node says, or that it cannot be asked.
pub async fn logs(bus: &Arc<dyn Bus>, request: LogRequest) -> Result<Frames, BackendError> {
    let frames = frames(bus, request.reply_to);
    let frames = frames.map_err(|error| BackendError::Failed(error.to_string()))?;
    bus.logs(request).await?;
    Ok(frames)
}

/// A key with its reader, who gives it back.
struct Held {
    bus: Arc<dyn Bus>,
    reply_to: ReplyTo,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bus.forget(self.reply_to);
    }
}

struct FrameReader {
    key: Held,
    pieces: mpsc::Receiver<Piece>,
    /// What came before what comes before it: never more than was granted.
    early: BTreeMap<u64, PieceContent>,
    next: u64,
    granted: u64,
    ended: bool,
}

impl FrameReader {
    async fn next(&mut self) -> Option<Result<OutputFrame, BackendError>> {
        if self.ended {
            return None;
        }
        let mut silent = Duration::ZERO;
        loop {
            if let Some(part) = self.early.remove(&self.next) {
                self.next += 1;
                return self.take(part);
            }
            if self.next + WINDOW >= self.granted + GRANT_EVERY || !silent.is_zero() {
                self.grant().await;
            }
            match timeout(GRANT_AGAIN, self.pieces.recv()).await {
                Ok(Some(piece)) if piece.number >= self.next => {
                    self.early.insert(piece.number, piece.part);
                }
                Ok(Some(_)) => {}
                Ok(None) => return self.cut(),
                Err(_) => {
                    silent += GRANT_AGAIN;
                    if silent >= LOST && !self.early.is_empty() {
                        return self.cut();
                    }
                }
            }
        }
    }

    fn take(&mut self, part: PieceContent) -> Option<Result<OutputFrame, BackendError>> {
        match part {
            PieceContent::Frame(frame) => Some(Ok(frame)),
            PieceContent::End(why) => {
                self.ended = true;
                why.map(Err)
            }
        }
    }

    /// The rest does not come.
    fn cut(&mut self) -> Option<Result<OutputFrame, BackendError>> {
        self.ended = true;
        let reason = "some of the output was lost on the way".to_owned();
        Some(Err(BackendError::Failed(reason)))
    }

    async fn grant(&mut self) {
        self.granted = self.next + WINDOW;
        let credit = Credit { reply_to: self.key.reply_to, pieces: self.granted };
        self.key.bus.credit(credit).await;
    }
}

/// The source's end: sends what a reader has granted.
pub struct Outlet {
    bus: Arc<dyn Bus>,
    reply_to: ReplyTo,
    /// What the reader has granted.
    granted: watch::Receiver<u64>,
    sent: u64,
    /// Whether a frame was left out.
    is_cut: bool,
}

impl Outlet {
    /// The way to the reader of a key.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn new(bus: Arc<dyn Bus>, reply_to: ReplyTo) -> Result<Self, Unread> {
        let granted = bus.granted(reply_to).ok_or(Unread)?;
        Ok(Self { bus, reply_to, granted, sent: 0, is_cut: false })
    }

    /// Whether nobody reads it any more.
    pub fn is_unread(&self) -> bool {
        self.granted.has_changed().is_err()
    }

    /// Returns once nobody reads it any more.
    pub fn unread(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut granted = self.granted.clone();
        async move { while granted.changed().await.is_ok() {} }
    }

    /// Sends a frame as soon as the reader has room for it.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub async fn send(&mut self, frame: OutputFrame) -> Result<(), Unread> {
        self.send_unless(frame, std::future::pending()).await
    }

    /// Sends a frame as soon as the reader has room for it, unless it is to wait for that no
    /// longer: then the output is cut, and its end says so.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub async fn send_unless(
        &mut self,
        frame: OutputFrame,
        hurries: impl Future<Output = ()>,
    ) -> Result<(), Unread> {
        if self.is_cut {
            return if self.is_unread() { Err(Unread) } else { Ok(()) };
        }
        // So it stays if this is dropped half-way.
        self.is_cut = true;
        tokio::select! {
            biased;
            room = self.room() => room?,
            () = hurries => return Ok(()),
        }
        self.push(PieceContent::Frame(frame)).await;
        self.is_cut = false;
        Ok(())
    }

    /// Says that there is no more, and why. One that nobody reads needs no end.
    pub async fn end(mut self, why: Option<BackendError>) {
        if self.room().await.is_ok() {
            let cut = || {
                let reason = "some of the output was not read before the command had to end";
                BackendError::Failed(reason.to_owned())
            };
            self.push(PieceContent::End(why.or_else(|| self.is_cut.then(cut)))).await;
        }
    }

    /// Sends all of it, until nobody reads it any more.
    pub async fn pump(
        mut self,
        mut frames: impl Stream<Item = Result<OutputFrame, BackendError>> + Unpin,
    ) {
        let unread = self.unread();
        tokio::pin!(unread);
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                () = &mut unread => return,
            };
            match frame {
                Some(Ok(frame)) => {
                    if self.send(frame).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => return self.end(Some(error)).await,
                None => return self.end(None).await,
            }
        }
    }

    /// Waits until the reader has room for a piece.
    async fn room(&mut self) -> Result<(), Unread> {
        let number = self.sent;
        self.granted.wait_for(|granted| *granted > number).await.map_err(|_| Unread)?;
        Ok(())
    }

    async fn push(&mut self, part: PieceContent) {
        let number = self.sent;
        self.sent += 1;
        self.bus.piece(Piece { reply_to: self.reply_to, number, part }).await;
    }
}
