//! Messages as bytes: what crosses the bus names its kind and its version (rule B2).
//!
//! Not here: what the messages say (`message`, `output`), how bytes travel.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something that crosses the bus.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// What it is called on the wire.
    const NAME: &'static str;
    /// Raised when what an older program reads out of it would be wrong.
    const VERSION: u16 = 1;
}

/// Why bytes are not the message that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A program of another release sent it.
    #[error("the message {name} has version {found}; this program reads version {known}")]
    Unsupported {
        /// What the message is called.
        name: String,
        /// The version that was sent.
        found: u16,
        /// The version that this program reads.
        known: u16,
    },
    /// Another message, or damaged.
    #[error("not a {expected} message: {reason}")]
    Malformed {
        /// What was expected.
        expected: &'static str,
        /// What the parser says.
        reason: String,
    },
}

/// What is read of every message before its body.
#[derive(Deserialize)]
struct Label {
    name: String,
    version: u16,
}

#[derive(Serialize)]
struct Sent<'a, T> {
    name: &'static str,
    version: u16,
    body: &'a T,
}

#[derive(Deserialize)]
struct Received<T> {
    body: T,
}

/// A message as bytes.
///
/// # Errors
/// When a part of it has no form in JSON.
pub fn encode<T: Message>(message: &T) -> Result<Vec<u8>, WireError> {
    let sent = Sent { name: T::NAME, version: T::VERSION, body: message };
    serde_json::to_vec(&sent).map_err(|error| malformed::<T>(&error))
}

/// The message that bytes are.
///
/// # Errors
/// When they are another message, or of another version.
pub fn decode<T: Message>(bytes: &[u8]) -> Result<T, WireError> {
    let Label { name, version } =
        serde_json::from_slice(bytes).map_err(|error| malformed::<T>(&error))?;
    if name != T::NAME {
        return Err(malformed::<T>(&format!("it is a {name} message")));
    }
    if version != T::VERSION {
        return Err(WireError::Unsupported { name, found: version, known: T::VERSION });
    }
    let received: Received<T> =
        serde_json::from_slice(bytes).map_err(|error| malformed::<T>(&error))?;
    Ok(received.body)
}

fn malformed<T: Message>(reason: &impl ToString) -> WireError {
    WireError::Malformed { expected: T::NAME, reason: reason.to_string() }
}

/// An answer travels as a whole, whether it is good news or not.
impl<T: Message, E: Message> Message for Result<T, E> {
    const NAME: &'static str = T::NAME;
    const VERSION: u16 = T::VERSION;
}

/// Names the messages of a module.
macro_rules! messages {
    ($($type:ty = $name:literal;)*) => {
        $(impl $crate::bus::wire::Message for $type {
            const NAME: &'static str = $name;
        })*
    };
}
pub(super) use messages;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ping(u32);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pong(u32);
    messages! { Ping = "ping"; Pong = "pong"; }

    #[test]
    fn bytes_of_another_message_or_version_are_refused() {
        let bytes = encode(&Ping(7)).unwrap();
        assert_eq!(decode::<Ping>(&bytes), Ok(Ping(7)));
        assert!(matches!(decode::<Pong>(&bytes), Err(WireError::Malformed { .. })));
        let newer = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        let refused = WireError::Unsupported { name: "ping".to_owned(), found: 2, known: 1 };
        assert_eq!(decode::<Ping>(newer.as_bytes()), Err(refused));
        assert!(decode::<Ping>(b"{}").is_err());
    }
}
