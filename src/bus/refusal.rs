//! Why a command was not carried out, in words for its sender.
//!
//! Not here: which HTTP status that is (`http/error`).

use serde::{Deserialize, Serialize};

use crate::ids::{ObjectId, Revision, StreamId};

/// Why an object will not do what a command asks. Told to the user; not an error in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not in this status (rule E4).
    #[error("{object} is {status}; it cannot {command} now. Possible now: {}.", list(.legal))]
    IllegalTransition {
        /// `Container web1`.
        object: String,
        /// Its status.
        status: String,
        /// What was asked.
        command: String,
        /// What would be possible.
        legal: Vec<String>,
    },
    /// There is no such object, or it is gone, or it is another tenant's.
    #[error("{kind} {id} could not be found.")]
    NotFound {
        /// `Container`.
        kind: String,
        /// The object.
        id: ObjectId,
    },
    /// An object with this id exists, or existed.
    #[error("A {kind} with UUID {id} already exists.")]
    AlreadyExists {
        /// `container`.
        kind: String,
        /// The object.
        id: ObjectId,
    },
    /// Another object of the same project has this name (rule L9).
    #[error(
        "A {kind} with the name {name:?} exists already: {holder}. Use another name, or delete \
        that one first."
    )]
    NameTaken {
        /// `container`.
        kind: String,
        /// The name.
        name: String,
        /// The object that has it.
        holder: ObjectId,
    },
    /// A field of the command is not acceptable.
    #[error("Invalid input for field '{field}': {reason}")]
    Invalid {
        /// The field, as in the REST API.
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Asked for something that this noun never does, or not while others depend on it.
    #[error("{reason}")]
    NotAllowed {
        /// What, and why.
        reason: String,
    },
    /// Something else stands in the way.
    #[error("{reason}")]
    Conflict {
        /// What, and what to do.
        reason: String,
    },
    /// The object is not at the revision that the command names.
    #[error("the object is at revision {actual}, not {expected}; read it again")]
    RevisionMismatch {
        /// As asked (`If-Match`).
        expected: Revision,
        /// As it is.
        actual: Revision,
    },
    /// Too many commands run in this container already.
    #[error("{object} runs {limit} commands already; end one of them, or try again later")]
    TooManyExecutions {
        /// `Container web1`.
        object: String,
        /// The bound.
        limit: usize,
    },
    /// Too much waits for this object already.
    #[error("{object} has {limit} requests waiting; try again when some are done")]
    QueueFull {
        /// `Container web1`.
        object: String,
        /// The bound.
        limit: usize,
    },
}

/// The commands of a refusal, for its sentence.
fn list(legal: &[String]) -> String {
    if legal.is_empty() { "nothing".to_owned() } else { legal.join(", ") }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CommandError {
    /// The object says no.
    #[error(transparent)]
    Refused(Refusal),
    /// The command id was used with another body.
    #[error("this Idempotency-Key was used before for another request; use a new one")]
    CommandIdReused,
    /// Others kept changing the object; nothing was recorded.
    #[error("{0} is being changed by others; try again")]
    Contended(StreamId),
    /// No room on the disk; nothing was recorded.
    #[error("not enough space on the disk of the log: {0}")]
    NoSpace(String),
    /// Too many commands wait; nothing was recorded.
    #[error("too many requests are waiting; try again")]
    Overloaded,
    /// It may or may not be recorded: repeat it with the same `Idempotency-Key`.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// The bus lost the command or its answer: the same message is sent again (rule B4).
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The sender may not send this (rule B3).
    #[error("{0}")]
    Forbidden(String),
    /// The service is stopping, or its log does not take commands; nothing was recorded.
    #[error("the service does not accept commands: {0}")]
    Unavailable(String),
    /// The object has an event that this program does not understand; nothing was recorded.
    #[error("{0}")]
    Unreadable(String),
    /// A fault of ours; the log says whether it was recorded.
    #[error("internal error: {0}")]
    Internal(String),
}
