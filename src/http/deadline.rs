//! A time limit that is met where a connection is polled.
//!
//! Not here: what is limited (`head`, `progress`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// When something must have happened, if it is waited for. The timer is there only once somebody
/// has to be woken.
#[derive(Default)]
pub struct Deadline {
    until: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// For what is waited for already.
    pub const fn at(until: Instant) -> Self {
        Self { until: Some(until), timer: None }
    }

    /// From now on it is waited for. What was waited for before is not given longer.
    pub fn begin(&mut self, limit: Duration) {
        self.until.get_or_insert_with(|| Instant::now() + limit);
    }

    /// It has happened.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// Ready once it is too late.
    pub fn poll_too_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(until) = self.until else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}
