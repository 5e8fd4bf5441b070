//! The envelope of every event: its position, its identity, who requested it and why.
//!
//! Not here: the bytes on disk (`log/segment`), payloads (one file a noun).

use std::borrow::Cow;

use bytes::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::claim::{Claim, Claims};
use super::codec::{self, DecodeError, EventPayload};
use crate::ids::{CommandId, EventId, Position, ProjectId, Revision, StreamId, Timestamp};

/// An event's type as written in the log: `container.create_requested`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventType(pub Cow<'static, str>);

impl EventType {
    /// The type of a name: without allocation where this build knows it.
    pub fn named(name: &str) -> Self {
        codec::known_type(name).map_or_else(|| Self(Cow::Owned(name.to_owned())), Self::known)
    }

    /// A type that this build knows.
    pub const fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who asked for what an event records, through what, and why (rule T1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Meta {
    /// The tenant that the object belongs to.
    pub project: ProjectId,
    /// The user, or the part of the service that acted by itself: `magnum:worker`.
    pub user: String,
    /// The roles that the user acted with.
    pub roles: Vec<String>,
    /// The `X-Openstack-Request-Id` of the request.
    pub request_id: String,
    /// What makes the command exactly-once, where its sender named it.
    pub command_id: Option<CommandId>,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// The event that caused this one: for an outcome the event that asked for the work.
    pub causation: Option<EventId>,
    /// The command as JSON, with the first event that it caused (rule L6).
    pub command: Option<String>,
    /// What the append means for names, with its first event (rule L9).
    pub claims: Claims,
}

/// Without claims it is written as by builds that had none: nothing stands for them.
impl Serialize for Meta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = Some(&self.claims.0).filter(|claims| !claims.is_empty());
        let mut meta = serializer.serialize_struct("Meta", 8 + usize::from(claims.is_some()))?;
        meta.serialize_field("project", &self.project)?;
        meta.serialize_field("user", &self.user)?;
        meta.serialize_field("roles", &self.roles)?;
        meta.serialize_field("request_id", &self.request_id)?;
        meta.serialize_field("command_id", &self.command_id)?;
        meta.serialize_field("reason", &self.reason)?;
        meta.serialize_field("causation", &self.causation)?;
        meta.serialize_field("command", &self.command)?;
        if let Some(claims) = claims {
            meta.serialize_field("claims", claims)?;
        }
        meta.end()
    }
}

impl Meta {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// What the codec says.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (first, rest) = codec::decode_first(bytes)?;
        let (project, user, roles, request_id, command_id, reason, causation, command) = first;
        let claims = Claims(if rest.is_empty() { Vec::new() } else { codec::decode(rest)? });
        Ok(Self {
            project,
            user,
            roles,
            request_id,
            command_id,
            reason,
            causation,
            command,
            claims,
        })
    }

    /// The claims alone of what was recorded.
    ///
    /// # Errors
    /// As [`Meta::decode`].
    pub fn decode_claims(bytes: &[u8]) -> Result<Vec<Claim>, String> {
        type BeforeClaims<'a> = (
            (&'a str, &'a str, Vec<&'a str>, &'a str),
            (Option<&'a str>, Option<&'a str>, Option<EventId>, Option<&'a str>),
        );
        let (_, rest): (BeforeClaims<'_>, _) = codec::decode_first(bytes)?;
        if rest.is_empty() { Ok(Vec::new()) } else { codec::decode(rest) }
    }
}

/// What a fold needs of [`Meta`]: its first fields, borrowed from the bytes. What follows them, the
/// text of the command above all, is not read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MetaStart<'a> {
    /// The tenant that the object belongs to.
    pub project: &'a str,
    /// The user, or the part of the service that acted by itself.
    pub user: &'a str,
    /// The roles that the user acted with.
    #[serde(borrow)]
    pub roles: Vec<&'a str>,
    /// The request.
    pub request_id: &'a str,
}

/// An event that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity, minted by the caller.
    pub id: EventId,
    /// The wall clock when it was decided.
    pub time: Timestamp,
    /// Its type.
    pub event_type: EventType,
    /// The version of its payload.
    pub version: u16,
    /// Who and why.
    pub meta: Meta,
    /// The payload in bincode.
    pub payload: Bytes,
}

impl NewEvent {
    /// Wraps a payload.
    pub fn new<E: EventPayload>(id: EventId, time: Timestamp, meta: Meta, event: &E) -> Self {
        Self {
            id,
            time,
            event_type: EventType::known(event.event_type()),
            version: event.version(),
            meta,
            payload: event.encode().into(),
        }
    }
}

/// An event that the log has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the whole log.
    pub position: Position,
    /// The object.
    pub stream: StreamId,
    /// Its place in the object's stream.
    pub revision: Revision,
    /// Its identity.
    pub id: EventId,
    /// The wall clock when it was decided.
    pub time: Timestamp,
    /// Its type.
    pub event_type: EventType,
    /// The version of its payload.
    pub version: u16,
    /// Who and why.
    pub meta: Meta,
    /// The payload in bincode.
    pub payload: Bytes,
    /// The chain up to and including this event: BLAKE3 of the chain before and of this record.
    pub hash: [u8; 32],
}

impl Recorded {
    /// The payload as the present version of a noun's event.
    ///
    /// # Errors
    /// When this build knows no such type or version, or the bytes are not one.
    pub fn decode<E: EventPayload>(&self) -> Result<E, DecodeError> {
        E::decode(self.event_type.as_str(), self.version, &self.payload)
    }

    /// The event as folds take it.
    pub fn borrowed(&self) -> EventRef<'_> {
        EventRef {
            position: self.position,
            stream: self.stream,
            revision: self.revision,
            id: self.id,
            time: self.time,
            event_type: self.event_type.as_str(),
            version: self.version,
            project: &self.meta.project.0,
            request_id: &self.meta.request_id,
            payload: &self.payload,
            hash: &self.hash,
        }
    }
}

/// A recorded event as folds take it: in the bytes of the log, with what they need of meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Its place in the whole log.
    pub position: Position,
    /// The object.
    pub stream: StreamId,
    /// Its place in the object's stream.
    pub revision: Revision,
    /// Its identity.
    pub id: EventId,
    /// The wall clock when it was decided.
    pub time: Timestamp,
    /// Its type.
    pub event_type: &'a str,
    /// The version of its payload.
    pub version: u16,
    /// The tenant that the object belongs to.
    pub project: &'a str,
    /// The request.
    pub request_id: &'a str,
    /// The payload in bincode.
    pub payload: &'a [u8],
    /// The chain up to and including this event.
    pub hash: &'a [u8; 32],
}

impl EventRef<'_> {
    /// The payload as the present version of a noun's event.
    ///
    /// # Errors
    /// When this build knows no such type or version, or the bytes are not one.
    pub fn decode<E: EventPayload>(&self) -> Result<E, DecodeError> {
        E::decode(self.event_type, self.version, self.payload)
    }
}
