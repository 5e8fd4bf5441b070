//! Says what came of work to the object that asked for it, until that is recorded.
//!
//! Not here: what came of it (`worker`, `cascade`).

use std::time::Duration;

use crate::backends::{Outcome, Work, WorkResult};
use crate::bus::{Bus, CommandError, CommandMessage, Ctx};
use crate::clock;

/// Between two tries to record an outcome: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Reports an outcome. Returns when it is recorded, or when it can never be.
///
/// An outcome that is lost on the way is no harm: the work stays open, and is looked up at the
/// backend after a restart.
pub async fn report(bus: &dyn Bus, work: &Work, result: WorkResult) {
    let outcome = Outcome { work_id: work.id, attempt: work.attempt, result };
    let mut ctx = Ctx::service(clock::now(), "worker", &work.request_id);
    ctx.causation = Some(work.id);
    let command = serde_json::json!({ "outcome": outcome });
    record(bus, CommandMessage { stream: work.stream, command, ctx }).await;
}

/// Sends a command of the service itself until it is recorded or refused.
pub async fn record(bus: &dyn Bus, message: CommandMessage) {
    let (mut delay, longest) = RETRY;
    loop {
        match bus.command(message.clone()).await {
            Ok(_) => return,
            Err(error @ (CommandError::Refused(_) | CommandError::Internal(_))) => {
                tracing::warn!(stream = %message.stream, %error, "not recorded");
                return;
            }
            Err(error) => {
                tracing::debug!(stream = %message.stream, %error, "not recorded yet");
                tokio::time::sleep(delay).await;
                delay = longest.min(delay * 2);
            }
        }
    }
}
