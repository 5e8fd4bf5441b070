//! A bus that loses, repeats, delays and reorders every kind of message, as a seed says: the same
//! seed and the same messages come to the same. For tests of everything above it.
//!
//! It keeps what any bus keeps: a sender hears that there was no answer. Not here: a process that
//! dies, which takes its messages along.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::output::{Credit, KeyTaken, Piece};
use super::{
    AuditRecord, AuditReply, Bus, CommandError, CommandMessage, CommandReply, Comparison, Hello,
    Inventory, LogRequest, Noted, Offer, OutputErasure, ReplyTo, Strays, Taken, Underway,
};
use crate::backends::BackendError;

/// How long a sender waits for an answer that does not come.
const NO_ANSWER: Duration = Duration::from_secs(2);

/// What happens to messages, in parts of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    /// It does not arrive.
    pub lost: u32,
    /// It arrives, and its answer does not.
    pub answer_lost: u32,
    /// It arrives a second time, later.
    pub twice: u32,
    /// It is late, and others overtake it.
    pub late: u32,
    /// How late at most, in milliseconds.
    pub late_ms: u64,
}

/// What happens next, from a seed.
#[derive(Debug)]
pub struct Trouble {
    odds: Odds,
    state: Mutex<u64>,
}

/// What happens to one message.
#[derive(Clone, Copy, Debug)]
struct Fate {
    wait: Duration,
    arrives: bool,
    is_answered: bool,
    again: Option<Duration>,
}

impl Trouble {
    /// As `odds` say, from a seed.
    pub const fn new(odds: Odds, seed: u64) -> Self {
        // Of zero nothing else would come.
        Self { odds, state: Mutex::new(seed ^ 0x9e37_79b9_7f4a_7c15) }
    }

    /// The next number (xorshift64*).
    fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = (*state).max(1);
        value ^= value >> 12;
        value ^= value << 25;
        value ^= value >> 27;
        *state = value;
        value.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn happens(&self, odds: u32) -> bool {
        self.next() % 1000 < u64::from(odds)
    }

    fn late(&self) -> Duration {
        Duration::from_millis(self.next().checked_rem(self.odds.late_ms).unwrap_or(0) + 1)
    }

    fn fate(&self) -> Fate {
        let Odds { lost, answer_lost, twice, late, .. } = self.odds;
        Fate {
            wait: if self.happens(late) { self.late() } else { Duration::ZERO },
            arrives: !self.happens(lost),
            is_answered: !self.happens(answer_lost),
            again: self.happens(twice).then(|| self.late()),
        }
    }
}

/// A bus with trouble.
pub struct Lossy {
    inner: Arc<dyn Bus>,
    trouble: Arc<Trouble>,
}

impl Lossy {
    /// Has trouble on the way to a bus.
    pub fn around(inner: Arc<dyn Bus>, trouble: Arc<Trouble>) -> Arc<dyn Bus> {
        Arc::new(Self { inner, trouble })
    }

    /// Sends something that is answered.
    async fn carry<M, T, E, F>(
        &self,
        message: M,
        lost: impl Fn(String) -> E,
        send: impl Fn(Arc<dyn Bus>, M) -> F + Send + Sync + 'static,
    ) -> Result<T, E>
    where
        M: Clone + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let fate = self.trouble.fate();
        if !fate.wait.is_zero() {
            sleep(fate.wait).await;
        }
        if !fate.arrives {
            sleep(NO_ANSWER).await;
            return Err(lost("the message was lost".to_owned()));
        }
        let answer = send(self.inner.clone(), message.clone()).await;
        if let Some(later) = fate.again {
            let bus = self.inner.clone();
            tokio::spawn(async move {
                sleep(later).await;
                // Nobody waits for this answer.
                drop(send(bus, message).await);
            });
        }
        if !fate.is_answered {
            sleep(NO_ANSWER).await;
            return Err(lost("the answer was lost".to_owned()));
        }
        answer
    }

    /// Sends something that is not answered.
    fn throw<F: Future<Output = ()> + Send + 'static>(
        &self,
        send: impl Fn(Arc<dyn Bus>) -> F + Send + 'static,
    ) {
        let (fate, bus) = (self.trouble.fate(), self.inner.clone());
        tokio::spawn(async move {
            sleep(fate.wait).await;
            if fate.arrives {
                send(bus.clone()).await;
            }
            if let Some(later) = fate.again {
                sleep(later).await;
                send(bus).await;
            }
        });
    }
}

#[async_trait]
impl Bus for Lossy {
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError> {
        let send = |bus: Arc<dyn Bus>, message| async move { bus.command(message).await };
        self.carry(message, CommandError::NoAnswer, send).await
    }

    async fn audit(&self, record: AuditRecord) -> Result<AuditReply, CommandError> {
        let send = |bus: Arc<dyn Bus>, record| async move { bus.audit(record).await };
        self.carry(record, CommandError::NoAnswer, send).await
    }

    async fn hello(&self, hello: Hello) -> Result<Noted, CommandError> {
        let send = |bus: Arc<dyn Bus>, hello| async move { bus.hello(hello).await };
        self.carry(hello, CommandError::NoAnswer, send).await
    }

    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError> {
        let send = |bus: Arc<dyn Bus>, inventory| async move { bus.inventory(inventory).await };
        self.carry(inventory, CommandError::NoAnswer, send).await
    }

    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError> {
        let send = |bus: Arc<dyn Bus>, strays| async move { bus.strays(strays).await };
        self.carry(strays, CommandError::NoAnswer, send).await
    }

    async fn underway(&self, news: Underway) {
        self.throw(move |bus| {
            let news = news.clone();
            async move { bus.underway(news).await }
        });
    }

    async fn work(&self, offer: Offer) -> Result<Taken, BackendError> {
        let send = |bus: Arc<dyn Bus>, offer| async move { bus.work(offer).await };
        self.carry(offer, BackendError::Unavailable, send).await
    }

    async fn logs(&self, request: LogRequest) -> Result<Taken, BackendError> {
        let send = |bus: Arc<dyn Bus>, request| async move { bus.logs(request).await };
        self.carry(request, BackendError::Unavailable, send).await
    }

    async fn erase_output(&self, erasure: OutputErasure) -> Result<Taken, BackendError> {
        let send = |bus: Arc<dyn Bus>, erasure| async move { bus.erase_output(erasure).await };
        self.carry(erasure, BackendError::Unavailable, send).await
    }

    fn pieces(&self, reply_to: ReplyTo) -> Result<mpsc::Receiver<Piece>, KeyTaken> {
        self.inner.pieces(reply_to)
    }

    async fn credit(&self, credit: Credit) {
        self.throw(move |bus| async move { bus.credit(credit).await });
    }

    fn forget(&self, reply_to: ReplyTo) {
        self.inner.forget(reply_to);
    }

    fn granted(&self, reply_to: ReplyTo) -> Option<watch::Receiver<u64>> {
        self.inner.granted(reply_to)
    }

    async fn piece(&self, piece: Piece) {
        self.throw(move |bus| {
            let piece = piece.clone();
            async move { bus.piece(piece).await }
        });
    }
}
