//! What is sent until it is recorded: outcomes of work, what an engine was seen to do, and commands
//! whose answer was lost.
//!
//! Not here: what came of work (`agent/worker`, `actors/cascade`).

use std::time::Duration;

use tokio::time::Instant;

use super::{AuditRecord, Bus, CommandError, CommandMessage, CommandReply, Origin, ServiceCommand};
use crate::backends::{Outcome, Work, WorkResult};

/// Between two tries to record an outcome: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a command is sent again whose answer is lost.
const ANSWER: Duration = Duration::from_secs(30);

/// Reports an outcome. Returns when it is recorded, or when it can never be.
///
/// An outcome that is lost with its sender is no harm: the work stays open, and is looked up at the
/// backend when it is offered again.
pub async fn report(bus: &dyn Bus, work: &Work, result: WorkResult) {
    let outcome = Outcome { work_id: work.id, attempt: work.attempt, result };
    let origin = Origin { causation: Some(work.id), ..Origin::service("worker", &work.request_id) };
    let command = ServiceCommand::Outcome(outcome);
    record(bus, CommandMessage::service(work.stream, command, origin)).await;
}

/// Sends a command of the service itself until it is recorded or refused.
pub async fn record(bus: &dyn Bus, message: CommandMessage) {
    let (mut delay, longest) = RETRY;
    loop {
        match bus.command(message.clone()).await {
            Ok(_) => return,
            Err(
                error @ (CommandError::Refused(_)
                | CommandError::Forbidden(_)
                | CommandError::Internal(_)),
            ) => {
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

/// Sends a user's command; again, with the same id, while its answer is lost (rule B4).
///
/// # Errors
/// What the object says, or that there is no answer in time.
pub async fn ask(bus: &dyn Bus, mut message: CommandMessage) -> Result<CommandReply, CommandError> {
    let (mut delay, longest) = RETRY;
    let end = Instant::now() + ANSWER;
    loop {
        match bus.command(message.clone()).await {
            Err(CommandError::NoAnswer(reason)) if Instant::now() >= end => {
                return Err(CommandError::OutcomeUnknown(reason));
            }
            Err(CommandError::NoAnswer(_)) => {
                message.repeated = true;
                tokio::time::sleep(delay).await;
                delay = longest.min(delay * 2);
            }
            answer => return answer,
        }
    }
}

/// Has something recorded; again while the answer is lost.
///
/// # Errors
/// When it is not recorded in time, or cannot be.
pub async fn audit(bus: &dyn Bus, record: AuditRecord) -> Result<(), CommandError> {
    let (mut delay, longest) = RETRY;
    let end = Instant::now() + ANSWER;
    loop {
        match bus.audit(record.clone()).await {
            Err(CommandError::NoAnswer(_)) if Instant::now() < end => {
                tokio::time::sleep(delay).await;
                delay = longest.min(delay * 2);
            }
            answer => return answer.map(drop),
        }
    }
}
