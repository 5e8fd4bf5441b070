//! Payloads as bytes: bincode, identified by type and version, so that old bytes stay readable.
//!
//! Bincode is positional: payload structs must not use `#[serde(default)]`,
//! `skip_serializing_if`, `flatten` or untagged enums. The outward form is always JSON.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::AuditEvent;
use super::mark::{Mark, Verb};
use super::schema::EventSchema;
use super::work::{Failure, UpdatedV1, WorkBlockedV1};
use crate::ids::{StreamKind, WorkId};
use crate::with_noun;

/// Why a payload could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// This build knows no such type or version: a newer one wrote it.
    #[error("event {event_type} v{version} was written by a newer magnum; upgrade this one")]
    Unknown {
        /// The type in the envelope.
        event_type: String,
        /// The version in the envelope.
        version: u16,
    },
    /// The bytes are not such a payload.
    #[error("the payload of event {event_type} v{version} cannot be read: {reason}")]
    Malformed {
        /// The type in the envelope.
        event_type: String,
        /// The version in the envelope.
        version: u16,
        /// What the codec says.
        reason: String,
    },
}

/// The events of one noun.
pub trait EventPayload: Sized + Clone + Serialize + Send + 'static {
    /// Types and present versions, for the registry and the schemas.
    const TYPES: &'static [(&'static str, u16)];

    /// What each type means, in the order of [`EventPayload::TYPES`].
    const MARKS: &'static [Mark];

    /// `container.started`.
    fn event_type(&self) -> &'static str;
    /// What it means.
    fn mark(&self) -> Mark;
    /// The work that it reports on.
    fn work_id(&self) -> Option<WorkId>;
    /// Work that it cancels.
    fn cancelled(&self) -> &[WorkId];
    /// That work waits, on what, and until when.
    fn blocked(&self) -> Option<&WorkBlockedV1>;
    /// That work failed or that its outcome is unknown, and why.
    fn failure(&self) -> Option<Failure<'_>>;
    /// What the work was to do that failed or whose outcome is unknown.
    fn failed_verb(&self) -> Option<Verb> {
        Verb::named(self.failure()?.action)
    }
    /// Fields that it sets.
    fn updated(&self) -> Option<&UpdatedV1>;
    /// Whether the object is gone with it.
    fn is_end(&self) -> bool;
    /// The version of this payload's struct.
    fn version(&self) -> u16;
    /// The payload in bincode.
    fn encode(&self) -> Vec<u8>;
    /// Reads a payload of any version as the present one (`upcast`).
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Result<Self, DecodeError>;
    /// A payload as JSON, in the version in which it was recorded.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn json(event_type: &str, version: u16, bytes: &[u8]) -> Result<Value, DecodeError>;
    /// The schema of each type in each of its versions.
    fn schemas() -> Vec<EventSchema>;
}

/// Room for what is encoded, so that the usual payload or meta needs no more.
const ENCODED_BYTES: usize = 256;

/// Most bytes that a value is read from, or that a length in it may name: bincode makes room for a
/// text before it looks whether there is so much of it. Several times the largest event.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// Bincode as everywhere in the log: little-endian, variable-length integers.
const fn format() -> Configuration<LittleEndian, Varint, Limit<MAX_DECODED_BYTES>> {
    bincode::config::standard().with_limit::<MAX_DECODED_BYTES>()
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENCODED_BYTES);
    // Serialising plain data into memory can only fail for types the codec bans (see above);
    // the sample test of every event type would show it.
    let encoded = bincode::serde::encode_into_std_write(value, &mut bytes, format());
    if encoded.is_err() {
        bytes.clear();
    }
    bytes
}

/// The reverse of [`encode`]; bytes that are left over are an error too.
///
/// # Errors
/// What the codec says.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bincode::serde::decode_from_slice(bytes, format()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(format!("{} bytes left over", bytes.len() - read)),
        Err(error) => Err(error.to_string()),
    }
}

/// The first fields of what was encoded, borrowed, and the bytes of the rest.
///
/// # Errors
/// What the codec says.
pub fn decode_first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), String> {
    bincode::serde::borrow_decode_from_slice(bytes, format())
        .map(|(value, read)| (value, bytes.get(read..).unwrap_or_default()))
        .map_err(|error| error.to_string())
}

/// The outcome of reading a payload, with the words for what did not; none: no such version.
///
/// # Errors
/// See [`DecodeError`].
pub fn read<T>(
    event_type: &str,
    version: u16,
    read: Option<Result<T, String>>,
) -> Result<T, DecodeError> {
    let event_type = || event_type.to_owned();
    match read {
        Some(Ok(payload)) => Ok(payload),
        Some(Err(reason)) => {
            Err(DecodeError::Malformed { event_type: event_type(), version, reason })
        }
        None => Err(DecodeError::Unknown { event_type: event_type(), version }),
    }
}

/// Evaluates an expression with the events of a kind of stream.
macro_rules! with_events {
    ($kind:expr, $E:ident => $body:expr) => {
        match $kind {
            StreamKind::Object(kind) => with_noun!(kind, event $E => $body),
            StreamKind::Audit => {
                type $E = AuditEvent;
                $body
            }
        }
    };
}

/// The types of one kind of stream with their present versions.
pub const fn types(kind: StreamKind) -> &'static [(&'static str, u16)] {
    with_events!(kind, E => E::TYPES)
}

/// The static name of a type that this build knows.
pub fn known_type(name: &str) -> Option<&'static str> {
    StreamKind::all().flat_map(types).find_map(|(known, _)| (*known == name).then_some(*known))
}

/// What an event of a type means; `None` for a type that this build does not know.
pub fn mark(event_type: &str) -> Option<Mark> {
    let of = |kind| types(kind).iter().zip(with_events!(kind, E => E::MARKS));
    let mut all = StreamKind::all().flat_map(of);
    all.find_map(|((name, _), mark)| (*name == event_type).then_some(*mark))
}

/// The payload of an event as JSON, whatever its noun, in the version in which it was recorded.
///
/// # Errors
/// See [`DecodeError`].
pub fn payload_json(
    kind: StreamKind,
    event_type: &str,
    version: u16,
    bytes: &[u8],
) -> Result<Value, DecodeError> {
    with_events!(kind, E => E::json(event_type, version, bytes))
}

/// The schemas of all types in all their versions, by noun.
pub fn schemas() -> Vec<EventSchema> {
    StreamKind::all().flat_map(|kind| with_events!(kind, E => E::schemas())).collect()
}

/// The schema in a file of this name.
pub fn schema(file: &str) -> Option<EventSchema> {
    schemas().into_iter().find(|schema| schema.file() == file)
}

/// Declares the events of a noun: an enum over one struct a type, with its name, its version and
/// its mark.
///
/// `Moved(MovedV3, MovedV2, MovedV1) = "robot.moved", 3, Done(Move) { work_id };`: the present
/// payload comes first, then each one before it, which is read from old logs and becomes the next
/// by its `From`. The mark says what the event means ([`crate::events::Mark`]); in braces, what
/// [`EventPayload`] says of it besides: which of `work_id` and `cancelled` the payload has,
/// `blocked` if it is a `WorkBlockedV1`, `failure` if it has an action and a reason, `updated` if
/// it is an `UpdatedV1`, and `end` if the object is gone with it. In JSON an event is its payload
/// alone; the type stands in the envelope.
///
/// `RobotEvent of work "robot" { ... }` has the events of work besides, which are the same for all
/// nouns with work; `since 2`, if the second payload of how work fails is the noun's first one.
#[macro_export]
macro_rules! noun_events {
    (@work_id $payload:ident work_id $($rest:ident)*) => { Some($payload.work_id) };
    (@cancelled $payload:ident cancelled $($rest:ident)*) => { &$payload.cancelled };
    (@blocked $payload:ident blocked $($rest:ident)*) => { Some($payload) };
    (@failure $payload:ident failure $($rest:ident)*) => {
        Some($crate::events::work::Failure { action: &$payload.action, reason: &$payload.reason })
    };
    (@updated $payload:ident updated $($rest:ident)*) => { Some($payload) };
    (@end $payload:ident end $($rest:ident)*) => {{
        let _ = $payload;
        true
    }};
    (@$what:ident $payload:ident $other:ident $($rest:ident)*) => {
        $crate::noun_events!(@$what $payload $($rest)*)
    };
    (@$what:ident $payload:ident) => {{ let _ = $payload; Default::default() }};
    ($(#[$doc:meta])* $name:ident of work $noun:literal { $($own:tt)* }) => {
        $crate::noun_events! { $(#[$doc])* $name of work $noun, 2
            [$crate::events::work::WorkFailedV1] [$crate::events::work::WorkUnknownV1] $($own)* }
    };
    ($(#[$doc:meta])* $name:ident of work $noun:literal since 2 { $($own:tt)* }) => {
        $crate::noun_events! { $(#[$doc])* $name of work $noun, 1 [] [] $($own)* }
    };
    ($(#[$doc:meta])* $name:ident of work $noun:literal, $v:literal
        [$($failed:ty)?] [$($unknown:ty)?] $($own:tt)*) => {
        $crate::noun_events! {
            $(#[$doc])* $name {
                $($own)*
                /// Work that waited proceeds.
                WorkResumed($crate::events::work::WorkResumedV1)
                    = concat!($noun, ".work_resumed"), 1, Progress { work_id };
                /// Work waits.
                WorkBlocked($crate::events::work::WorkBlockedV1)
                    = concat!($noun, ".work_blocked"), 1, Blocked { work_id, blocked };
                /// Work failed.
                WorkFailed($crate::events::work::WorkFailedV2 $(, $failed)?)
                    = concat!($noun, ".work_failed"), $v, Failed { work_id, cancelled, failure };
                /// The outcome of work is unknown.
                WorkUnknown($crate::events::work::WorkUnknownV2 $(, $unknown)?)
                    = concat!($noun, ".work_unknown"), $v, Unknown { work_id, cancelled, failure };
            }
        }

        impl From<$crate::events::work::WorkEvent> for $name {
            fn from(event: $crate::events::work::WorkEvent) -> Self {
                use $crate::events::work::WorkEvent;
                match event {
                    WorkEvent::Resumed(payload) => Self::WorkResumed(payload),
                    WorkEvent::Blocked(payload) => Self::WorkBlocked(payload),
                    WorkEvent::Failed(payload) => Self::WorkFailed(payload),
                    WorkEvent::Unknown(payload) => Self::WorkUnknown(payload),
                }
            }
        }
    };
    ($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident($payload:ty $(, $older:ty)*)
            = $type:expr, $version:literal, $mark:ident $(($verb:ident))?
            $({ $($about:ident),+ })?;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum $name {
            $($(#[$vdoc])* $variant($payload),)*
        }

        impl $crate::events::EventPayload for $name {
            const TYPES: &'static [(&'static str, u16)] = &[$(($type, $version),)*];
            const MARKS: &'static [$crate::events::Mark] =
                &[$($crate::events::Mark::$mark $(($crate::events::Verb::$verb))?,)*];

            fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $type,)* }
            }

            fn mark(&self) -> $crate::events::Mark {
                match self {
                    $(Self::$variant(_) =>
                        $crate::events::Mark::$mark $(($crate::events::Verb::$verb))?,)*
                }
            }

            fn work_id(&self) -> Option<$crate::ids::WorkId> {
                match self {
                    $(Self::$variant(payload) =>
                        $crate::noun_events!(@work_id payload $($($about)+)?),)*
                }
            }

            fn cancelled(&self) -> &[$crate::ids::WorkId] {
                match self {
                    $(Self::$variant(payload) =>
                        $crate::noun_events!(@cancelled payload $($($about)+)?),)*
                }
            }

            fn blocked(&self) -> Option<&$crate::events::work::WorkBlockedV1> {
                match self {
                    $(Self::$variant(payload) =>
                        $crate::noun_events!(@blocked payload $($($about)+)?),)*
                }
            }

            fn failure(&self) -> Option<$crate::events::work::Failure<'_>> {
                match self {
                    $(Self::$variant(payload) =>
                        $crate::noun_events!(@failure payload $($($about)+)?),)*
                }
            }

            fn updated(&self) -> Option<&$crate::events::work::UpdatedV1> {
                match self {
                    $(Self::$variant(payload) =>
                        $crate::noun_events!(@updated payload $($($about)+)?),)*
                }
            }

            fn is_end(&self) -> bool {
                match self {
                    $(Self::$variant(payload) =>
                        $crate::noun_events!(@end payload $($($about)+)?),)*
                }
            }

            fn version(&self) -> u16 {
                match self { $(Self::$variant(_) => $version,)* }
            }

            fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(payload) => $crate::events::codec::encode(payload),)*
                }
            }

            fn decode(
                event_type: &str,
                version: u16,
                bytes: &[u8],
            ) -> Result<Self, $crate::events::DecodeError> {
                let read = 'known: {
                    $(if event_type == $type {
                        let read = <$crate::versions!($payload $(, $older)*)
                            as $crate::events::upcast::Versions<$payload>>::decode(version, bytes);
                        break 'known read.map(|read| read.map(Self::$variant));
                    })*
                    None
                };
                $crate::events::codec::read(event_type, version, read)
            }

            fn json(
                event_type: &str,
                version: u16,
                bytes: &[u8],
            ) -> Result<serde_json::Value, $crate::events::DecodeError> {
                let read = 'known: {
                    $(if event_type == $type {
                        break 'known <$crate::versions!($payload $(, $older)*)
                            as $crate::events::upcast::Versions<$payload>>::json(version, bytes);
                    })*
                    None
                };
                $crate::events::codec::read(event_type, version, read)
            }

            fn schemas() -> Vec<$crate::events::schema::EventSchema> {
                let mut schemas = Vec::new();
                $(<$crate::versions!($payload $(, $older)*)
                    as $crate::events::upcast::Versions<$payload>>::schemas($type, &mut schemas);)*
                schemas
            }
        }

        // A version that is missing in a list would be read as the one before it.
        $(const _: () = assert!(
            <$crate::versions!($payload $(, $older)*)
                as $crate::events::upcast::Versions<$payload>>::COUNT == $version,
            concat!($type, " must list one payload for each of its versions, the newest first"),
        );)*
    };
}
