//! How payloads become bytes: bincode, named by type and version, so that old bytes stay readable.
//!
//! Bincode is positional: payload structs must not use `#[serde(default)]`,
//! `skip_serializing_if`, `flatten` or untagged enums. Outward everything is JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{bay::BayEvent, baymodel::BaymodelEvent, container::ContainerEvent, node::NodeEvent};
use crate::ids::Kind;

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
    /// The bytes are no such payload.
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

    /// `container.started`.
    fn event_type(&self) -> &'static str;
    /// The version of this payload's struct.
    fn version(&self) -> u16;
    /// The payload in bincode.
    fn encode(&self) -> Vec<u8>;
    /// Reads a payload.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// Bincode as everywhere in the log: little-endian, variable-length integers.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising plain data into memory can only fail for types the codec bans (see above);
    // the sample test of every event type would show it.
    bincode::serde::encode_to_vec(value, bincode::config::standard()).unwrap_or_default()
}

/// The reverse of [`encode`]; bytes that are left over are an error too.
///
/// # Errors
/// What the codec says.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bincode::serde::decode_from_slice(bytes, bincode::config::standard()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(format!("{} bytes left over", bytes.len() - read)),
        Err(error) => Err(error.to_string()),
    }
}

/// The types of one noun with their present versions.
pub const fn types(kind: Kind) -> &'static [(&'static str, u16)] {
    match kind {
        Kind::Bay => BayEvent::TYPES,
        Kind::Baymodel => BaymodelEvent::TYPES,
        Kind::Node => NodeEvent::TYPES,
        Kind::Container => ContainerEvent::TYPES,
    }
}

/// The static name of a type that this build knows.
pub fn known_type(name: &str) -> Option<&'static str> {
    Kind::ALL
        .iter()
        .flat_map(|kind| types(*kind))
        .find_map(|(known, _)| (*known == name).then_some(*known))
}

/// The payload of an event as JSON, whatever its noun.
///
/// # Errors
/// See [`DecodeError`].
pub fn payload_json(
    kind: Kind,
    event_type: &str,
    version: u16,
    bytes: &[u8],
) -> Result<serde_json::Value, DecodeError> {
    fn json<E: EventPayload>(
        event_type: &str,
        version: u16,
        bytes: &[u8],
    ) -> Result<serde_json::Value, DecodeError> {
        let event = E::decode(event_type, version, bytes)?;
        serde_json::to_value(&event).map_err(|error| DecodeError::Malformed {
            event_type: event_type.to_owned(),
            version,
            reason: error.to_string(),
        })
    }
    match kind {
        Kind::Bay => json::<BayEvent>(event_type, version, bytes),
        Kind::Baymodel => json::<BaymodelEvent>(event_type, version, bytes),
        Kind::Node => json::<NodeEvent>(event_type, version, bytes),
        Kind::Container => json::<ContainerEvent>(event_type, version, bytes),
    }
}

/// Declares the events of a noun: an enum over one struct a type, with its name and version.
///
/// In JSON an event is its payload alone; the type stands in the envelope.
#[macro_export]
macro_rules! noun_events {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident($payload:ty) = $type:literal, $version:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum $name {
            $($(#[$vdoc])* $variant($payload),)*
        }

        impl $crate::events::EventPayload for $name {
            const TYPES: &'static [(&'static str, u16)] = &[$(($type, $version),)*];

            fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $type,)* }
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
                let read = match (event_type, version) {
                    $(($type, $version) => {
                        $crate::events::codec::decode::<$payload>(bytes).map(Self::$variant)
                    })*
                    _ => return Err($crate::events::DecodeError::Unknown {
                        event_type: event_type.to_owned(),
                        version,
                    }),
                };
                read.map_err(|reason| $crate::events::DecodeError::Malformed {
                    event_type: event_type.to_owned(),
                    version,
                    reason,
                })
            }
        }
    };
}
