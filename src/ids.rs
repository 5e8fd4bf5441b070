//! Newtypes for everything that names something: positions, streams, objects, tenants, work.
//!
//! Not here: how ids are made. Only [`crate::clock`] mints them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Implements a transparent newtype over a plain value with `Display` and a getter.
macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The plain value.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype! {
    /// An event's place in the whole log: dense, from 1. 0 means "before the first event".
    Position(u64)
}
newtype! {
    /// An event's place in its stream: dense, from 0.
    Revision(u64)
}
newtype! {
    /// One recorded event. The id of the event that asks for work is the id of that work.
    EventId(Uuid)
}
newtype! {
    /// One bay, baymodel, node or container.
    ObjectId(Uuid)
}
impl Position {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; before the first one is 0.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A piece of work for a backend: the id of the event that asked for it (rule W2).
pub type WorkId = EventId;

/// A point in time, microseconds since 1970-01-01T00:00:00Z. An RFC 3339 string where people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `2015-05-21T20:46:13.000000+00:00`, the form of the 2015 API.
    pub fn rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_micros(self.0)
            .unwrap_or_default()
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, false)
    }

    /// This time plus a number of milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add((ms as i64).saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this time, 0 when it lies after it.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        let micros = self.0.saturating_sub(earlier.0);
        if micros < 0 { 0 } else { (micros / 1000) as u64 }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.rfc3339())
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            chrono::DateTime::parse_from_rfc3339(&text)
                .map(|time| Self(time.timestamp_micros()))
                .map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

/// The noun an object belongs to. The order is the order of the collections in documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// A group of containers with a network of its own, on one or more nodes.
    Bay = 1,
    /// What a bay is made from.
    Baymodel = 2,
    /// A machine where work executes.
    Node = 3,
    /// One container.
    Container = 4,
    /// No noun: what a project's audit stream says of all nouns. No actor has it and no view
    /// shows it; it is written by `http/edge/audit.rs` alone. Far from the nouns, which will be
    /// more.
    Audit = 128,
}

impl Kind {
    /// Every noun there is: objects with an actor, a view and a collection.
    pub const ALL: [Self; 4] = [Self::Bay, Self::Baymodel, Self::Node, Self::Container];

    /// Everything that has events.
    pub const STREAMS: [Self; 5] =
        [Self::Bay, Self::Baymodel, Self::Node, Self::Container, Self::Audit];

    /// The singular: `container`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bay => "bay",
            Self::Baymodel => "baymodel",
            Self::Node => "node",
            Self::Container => "container",
            Self::Audit => "audit",
        }
    }

    /// The collection in the REST API: `containers`.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Bay => "bays",
            Self::Baymodel => "baymodels",
            Self::Node => "nodes",
            Self::Container => "containers",
            Self::Audit => "audit",
        }
    }

    /// The noun of a byte on disk.
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Bay),
            2 => Some(Self::Baymodel),
            3 => Some(Self::Node),
            4 => Some(Self::Container),
            128 => Some(Self::Audit),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One object's events: its noun and its id. Written `container/3f0c…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The noun.
    pub kind: Kind,
    /// The object.
    pub id: ObjectId,
}

impl StreamId {
    /// The stream of an object.
    pub const fn new(kind: Kind, id: ObjectId) -> Self {
        Self { kind, id }
    }

    /// Kind byte and uuid: the key of this stream in indexes.
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        let (kind, id) = bytes.split_at_mut(1);
        kind.fill(self.kind as u8);
        id.copy_from_slice(self.id.0.as_bytes());
        bytes
    }

    /// The reverse of [`StreamId::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 17]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        Some(Self::new(Kind::from_byte(*kind)?, ObjectId(Uuid::from_slice(id).ok()?)))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// A tenant. `default` without authentication.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ProjectId(pub String);

impl Default for ProjectId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes a command exactly-once: the `Idempotency-Key` of a client, in its project (rule L6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub String);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}
