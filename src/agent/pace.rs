//! How often it is said how far work is.
//!
//! Not here: what is said (`node`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two words about how far work is, where an engine has several a second: as often as those
/// who wait look.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is said how far an attempt is: when that was last.
#[derive(Default)]
pub struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Whether it is time for it; not again soon.
    pub fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= NEWS_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn however_often_there_is_news_it_is_passed_on_once_a_second() {
        let pace = Pace::default();
        let mut passed = 0;
        for _ in 0..100 {
            passed += u32::from(pace.is_due());
            advance(NEWS_INTERVAL / 20).await;
        }
        assert_eq!(passed, 5);
    }
}
