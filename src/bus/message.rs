//! Commands and their answers, work, and what an agent says of its node: everything but output.
//!
//! Not here: what a noun's commands mean (`actors`), what work does (`backends`).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::refusal::CommandError;
use super::wire::messages;
use crate::backends::{
    BackendError, EngineFacts, LogQuery, Observed, ObservedNetwork, ObservedPod, Outcome, Work,
};
use crate::clock;
use crate::events::Meta;
use crate::events::audit::{CommandRefusedV1, KeyErasedV1, ReadV1, TokenCreatedV1, TokenRevokedV1};
use crate::events::claim::Claims;
use crate::ids::{
    CommandId, EventId, Noun, ObjectId, Position, ProjectId, Revision, StreamId, Timestamp, WorkId,
};

messages! {
    CommandMessage = "command";
    CommandReply = "command_reply";
    CommandError = "command_error";
    AuditRecord = "audit_record";
    AuditReply = "audit_reply";
    Offer = "offer";
    Taken = "taken";
    LogRequest = "log_request";
    OutputErasure = "output_erasure";
    BackendError = "backend_error";
    Hello = "hello";
    Inventory = "inventory";
    Comparison = "comparison";
    Strays = "strays";
    Noted = "noted";
}

/// What a decision may know besides the state and the command (rule E2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ctx {
    /// The time of the decision, taken where it is made (rule B6).
    pub now: Timestamp,
}

/// Who asks, in which request, and why (rule T1). What the sender may do is not here: the port that
/// receives the message knows that (rule B3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The tenant.
    pub project: ProjectId,
    /// Who asks.
    pub user: String,
    /// With which roles.
    pub roles: Vec<String>,
    /// The request.
    pub request_id: String,
    /// What makes the request exactly-once, if the client named it (rule L6).
    pub command_id: Option<CommandId>,
    /// What distinguishes the request: the same name with another digest is another command.
    pub digest: Option<[u8; 32]>,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// The event that led to this command, if no user asked for it.
    pub causation: Option<EventId>,
    /// The revision that the object must have (`If-Match`), if any.
    pub if_match: Option<Revision>,
}

impl Origin {
    /// The service itself (rule T3): `part` names who in it, as `worker`.
    pub fn service(part: &str, request_id: &str) -> Self {
        Self {
            user: format!("magnum:{part}"),
            request_id: request_id.to_owned(),
            ..Self::default()
        }
    }

    /// Who asked, in which request, why: as it is recorded with an event; without the command.
    pub fn meta(&self) -> Meta {
        Meta {
            command_id: self.command_id.clone(),
            project: self.project.clone(),
            user: self.user.clone(),
            roles: self.roles.clone(),
            request_id: self.request_id.clone(),
            reason: self.reason.clone(),
            causation: self.causation,
            command: None,
            claims: Claims::default(),
        }
    }
}

/// Where output goes: one reader's key, minted by the edge for one request (rule T4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplyTo(pub Uuid);

/// Everything that can be asked of one noun's objects.
pub trait NounCommand: Noun + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Whether only the service itself may ask it (rule B3).
    fn is_internal(&self) -> bool;

    /// Whether it makes the object.
    fn is_create(&self) -> bool;
}

/// What only the service itself asks, of several nouns. Its JSON is that of the noun's own command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceCommand {
    /// An attempt at work ended: to the object that asked for it.
    Outcome(Outcome),
    /// What the engine has; `None` if it has nothing for this object: to a container.
    Observe(Option<Observed>),
    /// What the engine has; `None` if it has nothing for this object: to a pod.
    ObservePod(Option<ObservedPod>),
    /// Its engine answers: to a node.
    Up(EngineFacts),
    /// Its engine does not answer: to a node.
    Down {
        /// The backend's words.
        reason: String,
    },
    /// Go, because what it belongs to goes.
    Delete,
    /// Go, because what it belongs to was given up: to a container or a pod.
    Abandon,
}

/// What is asked of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A command of its noun, as JSON: the text that the log keeps (rule L6).
    Noun(String),
    /// A command of the service itself.
    Service(ServiceCommand),
    /// Nothing new: the answer to the command with the same name again.
    Again,
}

/// A request to change one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandMessage {
    /// What makes the message exactly-once (rule B4): the id of the first event that it leads to.
    pub id: EventId,
    /// The object.
    pub stream: StreamId,
    asked: Asked,
    /// Who asks and why.
    pub origin: Origin,
    /// Where the output goes of what is executed, if anybody reads it.
    pub reply_to: Option<ReplyTo>,
    /// Its place among what its sender says of the object, if only the latest of that counts.
    pub place: Option<Place>,
}

/// A place among the messages of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The sender's life.
    pub session: SessionId,
    /// Counted by the sender.
    pub number: u64,
}

impl CommandMessage {
    /// A command to an object of its noun.
    ///
    /// # Errors
    /// When it has no form in JSON, which is a fault of its type.
    pub fn new<C: NounCommand>(
        id: ObjectId,
        command: &C,
        origin: Origin,
    ) -> Result<Self, CommandError> {
        let json = serde_json::to_value(command)
            .map_err(|error| CommandError::Internal(format!("the command as JSON: {error}")))?;
        Ok(Self::with(StreamId::new(C::KIND, id), Asked::Noun(json.to_string()), origin))
    }

    /// A command of the service itself.
    pub fn service(stream: StreamId, command: ServiceCommand, origin: Origin) -> Self {
        Self::with(stream, Asked::Service(command), origin)
    }

    /// Asks for the answer to an earlier command with the same name.
    pub fn again(stream: StreamId, origin: Origin) -> Self {
        Self::with(stream, Asked::Again, origin)
    }

    fn with(stream: StreamId, asked: Asked, origin: Origin) -> Self {
        let id = clock::new_event_id();
        Self { id, stream, asked, origin, reply_to: None, place: None }
    }

    /// The same at a place among what its sender says of the object.
    #[must_use]
    pub fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// The command as JSON: as the noun reads it, and as the log keeps it.
    pub fn text(&self) -> String {
        match &self.asked {
            Asked::Noun(text) => text.clone(),
            Asked::Service(command) => {
                serde_json::to_value(command).unwrap_or_default().to_string()
            }
            Asked::Again => "null".to_owned(),
        }
    }

    /// What is asked.
    pub const fn asked(&self) -> &Asked {
        &self.asked
    }
}

/// The command is recorded, or was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The object.
    pub stream: StreamId,
    /// The object's last event, with it recorded: reads that wait for it see what was done.
    pub position: Position,
    /// The object's revision after it.
    pub revision: Revision,
    /// Work that this command asked for, which a caller may wait for.
    pub work: Option<WorkId>,
    /// Whether this is the answer to an earlier command with the same name, or message.
    pub repeated: bool,
}

/// Something to be recorded that changes no object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The event that it becomes: one that comes twice is recorded once.
    pub id: EventId,
    /// Who did it, in which request, and why.
    pub meta: Meta,
    /// What it was.
    pub what: Audited,
}

/// What an edge has recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audited {
    /// A command was refused.
    CommandRefused(CommandRefusedV1),
    /// Something sensitive was read.
    Read(ReadV1),
    /// A key was erased.
    KeyErased(KeyErasedV1),
    /// A token was issued.
    TokenCreated(TokenCreatedV1),
    /// A token was revoked.
    TokenRevoked(TokenRevokedV1),
}

/// It is on record, or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReply;

/// Work for a node. The node remembers each attempt, so it may be offered again (rule W8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What is to be done.
    pub work: Work,
    /// The object's revision when it was offered: an offer that a newer one overtook on the way is
    /// out of date.
    pub revision: Revision,
    /// The life of the agent that it is for. The next one does not know what became of the object
    /// since, and is offered what is still wanted.
    pub session: SessionId,
    /// Where the output goes of what is executed, if anybody reads it.
    pub reply_to: Option<ReplyTo>,
}

/// The node has the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken;

/// Asks a node for a container's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The node.
    pub node_id: ObjectId,
    /// The container.
    pub stream: StreamId,
    /// The command in it whose output is asked for, as far as the node keeps it, in place of the
    /// container's own. Of the query only `follow` counts then.
    pub execution: Option<WorkId>,
    /// Which part of it.
    pub query: LogQuery,
    /// Where it goes.
    pub reply_to: ReplyTo,
}

/// Has a node forget what the commands of a project wrote: the project's key was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputErasure {
    /// The node.
    pub node_id: ObjectId,
    /// The project.
    pub project: ProjectId,
}

/// One life of an agent: what it held in memory is gone with the one before.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// An agent is there. Said when it starts, and again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its node.
    pub node_id: ObjectId,
    /// Its life.
    pub session: SessionId,
    /// Counted from 1 within it.
    pub beat: u64,
    /// Work that it has, in progress or waiting, or whose outcome is not recorded yet.
    pub holds: Vec<WorkId>,
}

/// A container in an inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The object that its labels name.
    pub stream: StreamId,
    /// As the engine has it.
    pub observed: Observed,
    /// Whether it has ended since the inventory before, and runs again or did; or its process is
    /// not as it was then.
    pub ended: bool,
}

/// All that a node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The node.
    pub node_id: ObjectId,
    /// Its containers.
    pub containers: Vec<Listed>,
    /// Its networks.
    pub networks: Vec<ObservedNetwork>,
    /// Its pods.
    #[serde(default)]
    pub pods: Vec<ListedPod>,
}

/// A pod in an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPod {
    /// The object that its labels name.
    pub stream: StreamId,
    /// Whether it is not as it was in the inventory before.
    pub changed: bool,
}

/// An inventory held against the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Containers and pods that are to be inspected: record and engine may differ.
    pub inspect: Vec<StreamId>,
    /// Containers and pods without a record. They are strays if they are still there now.
    pub unrecorded: Vec<StreamId>,
    /// Networks of bays without a record, by the engine's ids. The same is true of these.
    pub unrecorded_networks: Vec<String>,
}

/// What a node has without a record. A list may be cut; then what it lacks may be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strays {
    /// The node.
    pub node_id: ObjectId,
    /// Its containers that no object is the record of.
    pub containers: Vec<(StreamId, Observed)>,
    /// Its networks of bays that are not recorded.
    pub networks: Vec<ObservedNetwork>,
}

/// It was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted;
