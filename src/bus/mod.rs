//! What travels between the parts of Magnum, and the trait of what carries it.
//!
//! Everything here is plain data that serialises, also in one process: commands and replies,
//! work, queries and output frames. `local` carries it in process.
//! Not here: what commands mean (`actors`), what work does (`backends`).

pub mod local;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::backends::{BackendError, LogQuery, OutputFrame, Work};
use crate::events::Meta;
use crate::ids::{
    CommandId, EventId, ObjectId, Position, ProjectId, Revision, StreamId, Timestamp, WorkId,
};

/// Everything that a decision may know besides the state and the command (rules E2, T1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ctx {
    /// The time of the decision.
    pub now: Timestamp,
    /// The tenant.
    pub project: ProjectId,
    /// Who asks.
    pub user: String,
    /// With which roles.
    pub roles: Vec<String>,
    /// The request.
    pub request_id: String,
    /// What makes the command exactly-once; `None` where repeats are harmless by themselves.
    pub command_id: Option<CommandId>,
    /// BLAKE3 of the request as its sender wrote it, in hex: the same id with another digest is
    /// another command.
    pub digest: Option<String>,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// The event that led to this command, where no user asked for it.
    pub causation: Option<EventId>,
    /// Whether the service itself asks, for whichever tenant the object has.
    pub service: bool,
    /// The revision that the object must have (`If-Match`), if any.
    pub if_match: Option<Revision>,
}

impl Ctx {
    /// The service's own identity (rule T3): `part` names who in it, as `magnum:worker`.
    pub fn service(now: Timestamp, part: &str, request_id: &str) -> Self {
        Self {
            now,
            project: ProjectId::default(),
            user: format!("magnum:{part}"),
            roles: vec!["service".to_owned()],
            request_id: request_id.to_owned(),
            command_id: None,
            digest: None,
            reason: None,
            causation: None,
            service: true,
            if_match: None,
        }
    }

    /// Who asked, in which request, why: as it is recorded with an event; without the command.
    pub fn meta(&self) -> Meta {
        Meta {
            project: self.project.clone(),
            user: self.user.clone(),
            roles: self.roles.clone(),
            request_id: self.request_id.clone(),
            command_id: self.command_id.clone(),
            reason: self.reason.clone(),
            causation: self.causation,
            command: None,
        }
    }
}

/// A request to change one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandMessage {
    /// The object.
    pub stream: StreamId,
    /// The noun's command as JSON (`actors/<noun>.rs`).
    pub command: serde_json::Value,
    /// Who, when and why.
    pub ctx: Ctx,
}

/// The command is recorded, or was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The object.
    pub stream: StreamId,
    /// The log's head after it: reads that ask for it see what was done.
    pub position: Position,
    /// The object's revision after it.
    pub revision: Revision,
    /// Work that this command asked for, which a caller may wait for.
    pub work: Option<WorkId>,
    /// Whether this is the answer to an earlier command with the same id.
    pub repeated: bool,
}

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
    #[error("no room on the disk of the log: {0}")]
    NoSpace(String),
    /// Too many commands wait; nothing was recorded.
    #[error("too many requests wait; try again")]
    Overloaded,
    /// It may or may not be recorded: repeat it with the same `Idempotency-Key`.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// The service is stopping, or its log does not take commands; nothing was recorded.
    #[error("the service does not take commands: {0}")]
    Unavailable(String),
    /// The object has an event that this program does not understand; nothing was recorded.
    #[error("{0}")]
    Unreadable(String),
    /// A fault of ours; nothing was recorded.
    #[error("internal error: {0}")]
    Internal(String),
}

/// The output of a container or a command, in pieces.
pub type Frames = BoxStream<'static, Result<OutputFrame, BackendError>>;

/// What carries commands, work and output between the parts.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Asks an object's entity to change, and waits until that is recorded.
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError>;

    /// Hands work to its node. What comes of it arrives as a command to its object.
    async fn work(&self, work: Work) -> Result<(), BackendError>;

    /// Asks a node for a container's output.
    async fn logs(
        &self,
        node_id: ObjectId,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<Frames, BackendError>;

    /// The output of a command that is about to be executed in a container. To be called before
    /// the command is sent; ends when the work does.
    fn output(&self, key: OutputKey) -> Frames;

    /// Sends a piece of a command's output to whoever asked for it; waits while that one is slow,
    /// and drops it where nobody asked.
    async fn publish(&self, key: OutputKey, frame: OutputFrame);

    /// Says that a command's output is complete.
    fn finish(&self, key: &OutputKey);
}

/// Where commands are carried out: the directory of entities.
#[async_trait]
pub trait CommandPort: Send + Sync + 'static {
    /// See [`Bus::command`].
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError>;
}

/// Where a node's work is done.
#[async_trait]
pub trait NodePort: Send + Sync + 'static {
    /// See [`Bus::work`].
    async fn work(&self, work: Work) -> Result<(), BackendError>;
    /// See [`Bus::logs`].
    async fn logs(&self, stream: StreamId, query: LogQuery) -> Result<Frames, BackendError>;
}

/// What output is asked for by: the request that started the command.
pub type OutputKey = String;
