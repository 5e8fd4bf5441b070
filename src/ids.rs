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
    /// One object of a noun.
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

/// Makes the nouns out of their table.
macro_rules! kinds {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        /// The noun of an object. The order is the order of the collections in documents.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $Noun = $byte,)*
        }

        impl Kind {
            /// Every noun.
            pub const ALL: [Self; [$($byte),*].len()] = [$(Self::$Noun),*];

            /// The singular: `container`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Noun => stringify!($module),)* }
            }

            /// The singular at the beginning of a sentence: `Container`.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$Noun => stringify!($Noun),)* }
            }

            /// The collection in the REST API: `containers`.
            pub const fn collection(self) -> &'static str {
                match self { $(Self::$Noun => $collection,)* }
            }

            /// The noun of a byte on disk.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$Noun),)*
                    _ => None,
                }
            }
        }
    };
}
crate::for_each_noun!(kinds []);

/// What belongs to exactly one noun: its entity, its view.
pub trait Noun {
    /// The noun.
    const KIND: Kind;
}

impl Kind {
    /// The noun with a name, in the singular or as the name of its collection.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name || kind.collection() == name)
    }

    /// The names of all nouns for a message: `bay, baymodel, node or container`.
    pub fn choice() -> String {
        choice(&Self::ALL.map(Self::name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What has events: the objects of a noun, or the audit trail of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamKind {
    /// Objects: each has an actor and a view.
    Object(Kind),
    /// An audit trail. It concerns objects of all nouns and is not an object itself.
    Audit,
}

impl StreamKind {
    /// The byte of [`StreamKind::Audit`] on disk. Far from the nouns, which will be more.
    const AUDIT: u8 = 128;

    /// Everything that has events.
    pub fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().map(Self::Object).chain([Self::Audit])
    }

    /// The noun; `None` for an audit trail.
    pub const fn noun(self) -> Option<Kind> {
        match self {
            Self::Object(kind) => Some(kind),
            Self::Audit => None,
        }
    }

    /// The singular: `container`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.name(),
            Self::Audit => "audit",
        }
    }

    /// The singular at the beginning of a sentence: `Container`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.title(),
            Self::Audit => "Audit",
        }
    }

    /// The collection: `containers`.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.collection(),
            Self::Audit => "audit",
        }
    }

    /// What a name stands for, in the singular or as the name of a collection.
    pub fn named(name: &str) -> Option<Self> {
        Kind::named(name).map(Self::Object).or((name == "audit").then_some(Self::Audit))
    }

    /// All names for a message: `bay, baymodel, node, container or audit`.
    pub fn choice() -> String {
        choice(&Self::all().map(Self::name).collect::<Vec<_>>())
    }

    /// The byte on disk.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Object(kind) => kind as u8,
            Self::Audit => Self::AUDIT,
        }
    }

    /// The reverse of [`StreamKind::byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        let audit = (byte == Self::AUDIT).then_some(Self::Audit);
        Kind::from_byte(byte).map(Self::Object).or(audit)
    }
}

/// `a, b or c`.
fn choice(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

impl From<Kind> for StreamKind {
    fn from(kind: Kind) -> Self {
        Self::Object(kind)
    }
}

impl PartialEq<Kind> for StreamKind {
    fn eq(&self, kind: &Kind) -> bool {
        self.noun() == Some(*kind)
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for StreamKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.name())
        } else {
            serializer.serialize_u8(self.byte())
        }
    }
}

impl<'de> Deserialize<'de> for StreamKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = if deserializer.is_human_readable() {
            Self::named(&String::deserialize(deserializer)?)
        } else {
            Self::from_byte(u8::deserialize(deserializer)?)
        };
        found.ok_or_else(|| serde::de::Error::custom("unknown kind of stream"))
    }
}

/// One object's events: its noun and its id. Written `container/3f0c…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// What has the events.
    pub kind: StreamKind,
    /// The object.
    pub id: ObjectId,
}

impl StreamId {
    /// The stream of an object.
    pub fn new(kind: impl Into<StreamKind>, id: ObjectId) -> Self {
        Self { kind: kind.into(), id }
    }

    /// Kind byte and uuid: the key of this stream in indexes.
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        let (kind, id) = bytes.split_at_mut(1);
        kind.fill(self.kind.byte());
        id.copy_from_slice(self.id.0.as_bytes());
        bytes
    }

    /// The reverse of [`StreamId::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 17]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        Some(Self::new(StreamKind::from_byte(*kind)?, ObjectId(Uuid::from_slice(id).ok()?)))
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
