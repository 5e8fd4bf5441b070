//! Anchors: the signed (Ed25519) head of a log, to be kept out of reach of those who can change it.
//!
//! The chain covers all events before its head, so a log that has an anchor's hash at the anchor's
//! position has all events up to there, unchanged. `docs/audit.md` defines the signed bytes.
//! Not here: where heads come from (`segment`), files (`cli`).

use std::fmt;

use ed25519_dalek::{PUBLIC_KEY_LENGTH, Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain::Hash;
use super::export::{from_hex, to_hex};
use crate::ids::{Position, Timestamp};

/// What the signed bytes begin with: they can be mistaken for nothing else that a key signs.
const FORMAT: &str = "magnum-anchor-1";

/// What the file of a secret key begins with.
const SECRET_FORMAT: &str = "magnum-ed25519-secret-1";

/// A signed head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The id of the data directory.
    pub folder: Uuid,
    /// The last event.
    pub position: Position,
    /// The chain up to and including it, in hex.
    pub hash: String,
    /// When it was signed, by the clock of the machine that did.
    pub time: Timestamp,
    /// Whose signature it is, in hex.
    pub public_key: PublicKey,
    /// The signature over [`Anchor::message`], in hex.
    pub signature: String,
}

impl Anchor {
    /// Signs a head.
    pub fn sign(
        key: &SecretKey,
        folder: Uuid,
        (position, hash): (Position, &Hash),
        time: Timestamp,
    ) -> Self {
        use ed25519_dalek::Signer;
        let (public_key, signature) = (key.public(), String::new());
        let hash = to_hex(hash);
        let mut anchor = Self { folder, position, hash, time, public_key, signature };
        anchor.signature = to_hex(&key.0.sign(anchor.message().as_bytes()).to_bytes());
        anchor
    }

    /// The bytes that are signed: five lines, each with a line feed at its end.
    pub fn message(&self) -> String {
        let Self { folder, position, hash, time, .. } = self;
        format!("{FORMAT}\n{folder}\n{position}\n{hash}\n{time}\n")
    }

    /// Whether its key signed all that it says.
    pub fn is_signed(&self) -> bool {
        let signature = from_hex(&self.signature).ok();
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
        signature.is_some_and(|signature| {
            self.public_key.0.verify_strict(self.message().as_bytes(), &signature).is_ok()
        })
    }
}

/// A key that verifies; 64 hex digits where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(self.0.as_bytes()))
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = from_hex(text.trim()).ok();
        let bytes: Option<[u8; PUBLIC_KEY_LENGTH]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        key.map(Self).ok_or_else(|| "a public key is 64 hex digits".to_owned())
    }
}

/// A key that signs. Wiped from memory when it is dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&random))
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        format!("{SECRET_FORMAT} {}\n", to_hex(self.0.as_bytes()))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is not a key; the message does not repeat what is in it.
    pub fn from_text(text: &str) -> Result<Self, &'static str> {
        let digits = text.trim().strip_prefix(SECRET_FORMAT).map(str::trim_start);
        let bytes = digits.and_then(|digits| from_hex(digits).ok());
        let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self::new).ok_or("it is not a key made by `magnum log anchor --new-key`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor() -> (SecretKey, Anchor) {
        let key = SecretKey::new([7; 32]);
        let time = Timestamp(1_795_558_385_123_456);
        let anchor = Anchor::sign(&key, Uuid::from_u128(5), (Position(42), &[9; 32]), time);
        (key, anchor)
    }

    #[test]
    fn what_is_signed_is_what_the_documents_say() {
        let (_, anchor) = anchor();
        let hash = "09".repeat(32);
        let id = "00000000-0000-0000-0000-000000000005";
        let time = "2026-11-24T22:13:05.123456+00:00";
        assert_eq!(anchor.message(), format!("magnum-anchor-1\n{id}\n42\n{hash}\n{time}\n"));
        assert!(anchor.is_signed());
    }

    #[test]
    fn nothing_of_an_anchor_can_be_changed() {
        let (_, signed) = anchor();
        let json = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<Anchor>(&json).unwrap(), signed);
        let other = SecretKey::new([8; 32]);
        let changes: [fn(&mut Anchor, &SecretKey); 7] = [
            |anchor, _| anchor.folder = Uuid::from_u128(6),
            |anchor, _| anchor.position = Position(41),
            |anchor, _| anchor.hash = "0a".repeat(32),
            |anchor, _| anchor.time = Timestamp(1),
            |anchor, other| anchor.public_key = other.public(),
            |anchor, _| anchor.signature = anchor.signature.replacen(char::is_numeric, "a", 1),
            |anchor, _| anchor.signature = String::new(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut anchor = signed.clone();
            change(&mut anchor, &other);
            assert!(!anchor.is_signed(), "{number}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let (key, anchor) = anchor();
        let read = SecretKey::from_text(&key.to_text()).unwrap();
        assert_eq!(read.public(), anchor.public_key);
        let public = PublicKey::try_from(format!("{}\n", key.public()));
        assert_eq!(public, Ok(anchor.public_key));
        for wrong in ["", "07", "magnum-ed25519-secret-1 07", &key.public().to_string()] {
            let why = SecretKey::from_text(wrong).err().unwrap();
            assert!(why.contains("--new-key") && !why.contains("07"), "{why}");
        }
        assert!(PublicKey::try_from("07".to_owned()).is_err());
    }
}
