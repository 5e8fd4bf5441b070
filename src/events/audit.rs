//! The events of a project's audit stream: actions that change no object.
//!
//! Payloads only, frozen once released. User, time, request and reason are in the envelope, as for
//! every event. Not here: what is recorded (`http/edge/audit.rs`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{Position, Timestamp};
use crate::noun_events;

/// A command reached an object and was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandRefusedV1 {
    /// The object: `container/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f`.
    pub object: String,
    /// What was asked of it: `start`.
    pub command: String,
    /// What programs tell refusals apart by: `illegal-transition`.
    pub code: String,
    /// Why, as the user got it.
    pub reason: String,
}

/// Something sensitive was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadV1 {
    /// The object: `container/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f`.
    pub object: String,
    /// `logs` or `execute_output`.
    pub what: String,
}

/// A key was erased, and with it every value that was sealed with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyErasedV1 {
    /// What the sealed values call it: `0d4bb5a3c1f0e6d7`.
    pub key: String,
}

/// Events were archived: those of objects that were deleted by then, and what was audited by then,
/// are in a backup alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArchivedV1 {
    /// Up to this position.
    pub position: Position,
    /// How many went.
    pub events: u64,
}

/// A token of the service's own was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreatedV1 {
    /// Its id, which says nothing of the token itself: `0d4bb5a3c1f0e6d7`.
    pub token: String,
    /// Whose it is.
    pub user: String,
    /// Their role in the project.
    pub role: String,
    /// When it ends, if that was said.
    pub expires_at: Option<Timestamp>,
}

/// A token of the service's own was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRevokedV1 {
    /// Its id: `0d4bb5a3c1f0e6d7`.
    pub token: String,
    /// Whose it was.
    pub user: String,
    /// Their role in the project.
    pub role: String,
}

/// So much happened that it was counted instead of recorded one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedV1 {
    /// Since when.
    pub since: Timestamp,
    /// Commands that were refused.
    pub commands_refused: u64,
    /// Reads.
    pub reads: u64,
}

noun_events! {
    /// Everything that an audit stream says.
    AuditEvent {
        /// A command was refused.
        CommandRefused(CommandRefusedV1) = "audit.command_refused", 1, Refused;
        /// Something sensitive was read.
        Read(ReadV1) = "audit.read", 1, Changed;
        /// More than can be recorded one by one.
        Counted(CountedV1) = "audit.counted", 1, Observed;
        /// A key was erased.
        KeyErased(KeyErasedV1) = "audit.key_erased", 1, Changed;
        /// Events were archived.
        Archived(ArchivedV1) = "audit.archived", 1, Changed;
        /// A token was issued.
        TokenCreated(TokenCreatedV1) = "audit.token_created", 1, Changed;
        /// A token was revoked.
        TokenRevoked(TokenRevokedV1) = "audit.token_revoked", 1, Changed;
    }
}

impl AuditEvent {
    /// The object that it is about, where it is about one.
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::CommandRefused(refused) => Some(&refused.object),
            Self::Read(read) => Some(&read.object),
            Self::Counted(_)
            | Self::KeyErased(_)
            | Self::Archived(_)
            | Self::TokenCreated(_)
            | Self::TokenRevoked(_) => None,
        }
    }
}
