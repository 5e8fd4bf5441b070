//! One attempt at an action, and its outcome.
//!
//! Not here: what can be done (`action`), when it is (`actors`), retries (`agent`).

use serde::{Deserialize, Serialize};

use super::action::{Action, Operation};
use super::observed::RunState;
use crate::events::container::RecreateStep;
use crate::events::run::{Run, RunEnd};
use crate::ids::{ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// One attempt at something that an event asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work<A = Action> {
    /// The event that asked for it; the idempotency key at the backend (rule W2).
    pub id: WorkId,
    /// Which attempt this is, from 1. From 2 on an earlier one may have done it.
    pub attempt: u32,
    /// Not to be tried before; at once where there is none.
    pub not_before: Option<Timestamp>,
    /// When nothing stood before it any more.
    pub due_at: Option<Timestamp>,
    /// The object: a container or a bay.
    pub stream: StreamId,
    /// Its tenant.
    pub project: ProjectId,
    /// The node that does it.
    pub node_id: ObjectId,
    /// The request that it came from, for tracing.
    pub request_id: String,
    /// What to do.
    pub action: A,
}

impl<A> Work<A> {
    /// The same work with another action.
    pub fn with<B>(self, action: B) -> Work<B> {
        let Self { id, attempt, not_before, due_at, stream, project, node_id, request_id, .. } =
            self;
        Work { id, attempt, not_before, due_at, stream, project, node_id, request_id, action }
    }
}

impl Work {
    /// Whether nothing is left to do for a container that is found like this.
    ///
    /// A process that started after it was the work's turn, by the service's clock, was started by
    /// an attempt whose answer was lost, even if it has ended since.
    /// A container in its restart back-off counts as started to the engine, but not as ended.
    pub(super) fn is_settled(&self, state: RunState, started_at: Option<Timestamp>) -> bool {
        let Action::Do(operation) = &self.action else { return false };
        let begun = self.attempt > 1 && self.due_at.is_some() && started_at > self.due_at;
        match operation {
            // What is left to do is up to each of its containers.
            Operation::StartPod => false,
            Operation::Start => begun || matches!(state, RunState::Running | RunState::Restarting),
            Operation::Stop { .. } | Operation::Kill { .. } => state.has_ended(),
            Operation::Reboot { .. } => begun,
            Operation::Pause => state == RunState::Paused,
            Operation::Unpause => state != RunState::Paused,
        }
    }
}

/// What came of one attempt. It names its work, so a late or repeated one is harmless (rule W4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The work.
    pub work_id: WorkId,
    /// Which attempt.
    pub attempt: u32,
    /// What came of it.
    pub result: WorkResult,
}

/// What came of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkResult {
    /// Done, now or by an earlier attempt.
    Done(Done),
    /// Refused for good, or out of attempts.
    Failed {
        /// The backend's words.
        reason: String,
    },
    /// A start that was refused for good, because the container's program cannot be run.
    NotStarted {
        /// The backend's words.
        reason: String,
        /// The exit code that the engine gives it.
        exit_code: i64,
    },
    /// The outcome cannot be established.
    Unknown {
        /// Why.
        reason: String,
    },
    /// Not now; tried again.
    Blocked {
        /// What it waits for.
        blocked_on: String,
        /// The backend's words.
        reason: String,
        /// When it is tried next at the latest.
        #[serde(flatten)]
        retry: Retry,
    },
    /// Not begun yet: it waits for a place, and begins as soon as there is one.
    Waiting {
        /// What it waits for.
        blocked_on: String,
        /// In words.
        reason: String,
    },
    /// Still at it.
    Progress(Progress),
}

/// When blocked work is tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// So long after it is recorded: the clock is that of whoever decides (rule B6).
    #[serde(rename = "retry_after_ms")]
    After(u64),
    /// Then, by the clock of the agent, as earlier builds recorded it.
    #[serde(rename = "retry_at")]
    At(Timestamp),
}

impl Retry {
    /// The time, for a decision that is taken now.
    pub const fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(delay_ms) => now.plus_ms(delay_ms),
            Self::At(time) => time,
        }
    }
}

/// What done work leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The engine's id of what was made.
    pub engine_id: Option<String>,
    /// The exit code of an executed command.
    pub exit_code: Option<i64>,
    /// The process that was started.
    #[serde(default)]
    pub run: Option<Run>,
    /// How the process ended that was stopped.
    #[serde(default)]
    pub end: Option<RunEnd>,
}

/// How far work is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The engine's words.
    pub message: String,
    /// Bytes so far.
    pub current_bytes: u64,
    /// Bytes in all, as far as is known.
    pub total_bytes: u64,
    /// A step that is done. Each is recorded, not only the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<RecreateStep>,
    /// Which step of a pull it is. Earlier builds reported only bytes and words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
}

/// The begin and the end of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// The engine was asked for it.
    Started {
        /// The image.
        image: String,
    },
    /// The engine has it.
    Ended {
        /// The image.
        image: String,
        /// Its digest at the registry, if the engine says it.
        digest: Option<String>,
    },
}

impl Progress {
    /// A pull begins.
    pub fn pull_started(image: &str) -> Self {
        let pull = Pull::Started { image: image.to_owned() };
        Self { message: format!("pulling {image}"), pull: Some(pull), ..Self::default() }
    }

    /// Of a pull that goes on so much is there.
    pub fn pulling(image: &str, current_bytes: u64, total_bytes: u64) -> Self {
        Self { current_bytes, total_bytes, pull: None, ..Self::pull_started(image) }
    }

    /// A pull has ended, of so many bytes.
    pub fn pulled(image: &str, digest: Option<String>, bytes: u64) -> Self {
        let pull = Pull::Ended { image: image.to_owned(), digest };
        Self {
            message: format!("pulled {image}"),
            current_bytes: bytes,
            total_bytes: bytes,
            pull: Some(pull),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_read_as_every_build_recorded_it() {
        let (now, blocked_on, reason) = (Timestamp(7_000), "node n1".to_owned(), "no".to_owned());
        let recorded = r#"{"blocked":{"blocked_on":"node n1","reason":"no","retry_"#.to_owned();
        for (retry, rest, at) in [
            (Retry::After(2), r#"after_ms":2}}"#, Timestamp(9_000)),
            (Retry::At(Timestamp(5)), r#"at":"1970-01-01T00:00:00.000005+00:00"}}"#, Timestamp(5)),
        ] {
            let (blocked_on, reason) = (blocked_on.clone(), reason.clone());
            let result = WorkResult::Blocked { blocked_on, reason, retry };
            let text = recorded.clone() + rest;
            assert_eq!(serde_json::to_string(&result).unwrap(), text);
            assert_eq!(serde_json::from_str::<WorkResult>(&text).unwrap(), result);
            assert_eq!(retry.at(now), at);
        }
    }
}
