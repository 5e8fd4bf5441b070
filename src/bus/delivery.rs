//! What is sent until it is recorded: outcomes of work, what an engine was seen to do, and commands
//! whose answer was lost.
//!
//! Not here: the outcome of work (`agent/node`, `actors/cascade`).

use std::time::Duration;

use tokio::time::Instant;

use super::{
    AuditRecord, Bus, CommandError, CommandMessage, CommandReply, Origin, Place, ServiceCommand,
};
use crate::backends::{Outcome, Work, WorkResult};
use crate::text;

/// Between two tries to record an outcome: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a command is sent again whose answer is lost.
const ANSWER: Duration = Duration::from_secs(30);

/// Tries of a command that the conductor cannot carry out, before it is given up.
const MAX_FAULTS: u32 = 5;

/// Reports an outcome. Returns when it is recorded, or when it can never be.
///
/// An outcome that is lost with its sender is no harm: the work stays open, and is looked up at the
/// backend when it is offered again.
pub async fn report<A: Sync>(bus: &dyn Bus, work: &Work<A>, result: WorkResult) {
    report_at(bus, work, result, None).await;
}

/// Reports an outcome of which, with a place, only the latest counts.
pub async fn report_at<A: Sync>(
    bus: &dyn Bus,
    work: &Work<A>,
    result: WorkResult,
    place: Option<Place>,
) {
    // Of how far it is the next report says more, and the attempt goes on.
    let passes = matches!(result, WorkResult::Waiting { .. } | WorkResult::Progress(_));
    let message = |result| {
        let outcome = Outcome { work_id: work.id, attempt: work.attempt, result };
        let origin =
            Origin { causation: Some(work.id), ..Origin::service("worker", &work.request_id) };
        let command = ServiceCommand::Outcome(outcome);
        CommandMessage::service(work.stream, command, origin).at(place)
    };
    if record(bus, message(bounded(result))).await.is_err() && !passes {
        // What cannot be recorded as it is leaves nothing behind that waits forever.
        let reason = "its outcome could not be recorded".to_owned();
        let _is_recorded = record(bus, message(WorkResult::Unknown { reason })).await;
    }
}

/// A result with texts of bounded length: those of engines and registries have none.
fn bounded(mut result: WorkResult) -> WorkResult {
    let (said, id) = match &mut result {
        WorkResult::Failed { reason }
        | WorkResult::NotStarted { reason, .. }
        | WorkResult::Unknown { reason } => (Some(reason), None),
        WorkResult::Blocked { blocked_on, reason, .. }
        | WorkResult::Waiting { blocked_on, reason } => (Some(reason), Some(blocked_on)),
        WorkResult::Progress(progress) => (Some(&mut progress.message), None),
        WorkResult::Done(done) => (None, done.engine_id.as_mut()),
    };
    for said in said.into_iter().chain(id) {
        *said = text::words(said);
    }
    result
}

/// Sends a command of the service itself until it is recorded or refused. A refusal is an answer:
/// no object refuses the outcome of work that it waits for, so nothing waits for this one.
///
/// # Errors
/// When it cannot be carried out.
pub async fn record(bus: &dyn Bus, message: CommandMessage) -> Result<(), CommandError> {
    let (mut delay, longest) = RETRY;
    let mut faults = 0;
    loop {
        let error = match bus.command(message.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match error {
            CommandError::Refused(_) | CommandError::Forbidden(_) => {
                tracing::warn!(stream = %message.stream, %error, "not recorded");
                return Ok(());
            }
            CommandError::Internal(_) if faults >= MAX_FAULTS => {
                tracing::error!(stream = %message.stream, %error, "cannot be recorded");
                return Err(error);
            }
            CommandError::Internal(_) => faults += 1,
            _ => {}
        }
        tracing::debug!(stream = %message.stream, %error, "not recorded yet");
        tokio::time::sleep(delay).await;
        delay = longest.min(delay * 2);
    }
}

/// Sends a user's command; the same message again while its answer is lost (rule B4).
///
/// # Errors
/// What the object says, or that there is no answer in time.
pub async fn ask(bus: &dyn Bus, message: CommandMessage) -> Result<CommandReply, CommandError> {
    let (mut delay, longest) = RETRY;
    let end = Instant::now() + ANSWER;
    loop {
        match bus.command(message.clone()).await {
            Err(CommandError::NoAnswer(reason)) if Instant::now() >= end => {
                return Err(CommandError::OutcomeUnknown(reason));
            }
            Err(CommandError::NoAnswer(_)) => {
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
