//! The chain of hashes over the log, and the exact bytes of an event that it covers.
//!
//! Both are the same for every engine and every program that verifies an export. All numbers are
//! little-endian.
//!
//! ```text
//! content of an event               chain
//!   1  noun (Kind as a byte)          chain(0) = 32 zero bytes
//!  16  object id (uuid)               chain(p) = BLAKE3(chain(p - 1)        32 bytes
//!   8  revision                                      position p             8 bytes
//!  16  event id (uuid)                               BLAKE3(content of p))  32 bytes
//!   8  time, microseconds since 1970
//!   2  version of the payload
//!   1  codec of meta and payload: 1 = bincode 2, standard configuration
//!   1  bytes of the type's name  (t)
//!   4  bytes of meta             (m)
//!   4  bytes of the payload      (p)
//!   t  the type's name in UTF-8
//!   m  meta: the fields of `Meta` in their order
//!   p  the payload
//! ```
//!
//! The hash of the content alone is taken before the position is known, on the threads of those
//! who append; the writer only adds the short last step, and a verifier can spread the first one
//! over its cores. Not here: where the bytes lie on disk (`segment/record.rs`).

use bytes::Bytes;
use uuid::Uuid;

use crate::events::codec;
use crate::events::{EventRef, EventType, Meta, MetaStart, NewEvent, Recorded};
use crate::ids::{EventId, Position, Revision, StreamId, Timestamp};

/// BLAKE3 of something.
pub type Hash = [u8; 32];

/// The chain before the first event.
pub const GENESIS: Hash = [0; 32];

/// Bytes of an event's content before its type's name.
pub const CONTENT_HEADER_BYTES: usize = 61;

/// Meta and payload are bincode 2 in its standard configuration.
const BINCODE: u8 = 1;

/// The chain after an event.
pub fn extend(before: &Hash, position: Position, content: &Hash) -> Hash {
    // In one piece: a hasher that takes it bit by bit costs more to set up than to run.
    let mut bytes = [0; 72];
    let (chain, rest) = bytes.split_at_mut(before.len());
    let (place, hash) = rest.split_at_mut(8);
    chain.copy_from_slice(before);
    place.copy_from_slice(&position.get().to_le_bytes());
    hash.copy_from_slice(content);
    digest(&bytes)
}

/// BLAKE3 of an event's content.
pub fn digest(content: &[u8]) -> Hash {
    *blake3::hash(content).as_bytes()
}

/// The content of an event that is to be appended. Its sizes were checked (`admission`).
pub fn content(stream: StreamId, revision: Revision, event: &NewEvent, meta: &[u8]) -> Vec<u8> {
    let name = event.event_type.as_str();
    let size = CONTENT_HEADER_BYTES + name.len() + meta.len() + event.payload.len();
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&stream.to_bytes());
    bytes.extend_from_slice(&revision.get().to_le_bytes());
    bytes.extend_from_slice(event.id.0.as_bytes());
    bytes.extend_from_slice(&event.time.0.to_le_bytes());
    bytes.extend_from_slice(&event.version.to_le_bytes());
    bytes.push(BINCODE);
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(event.payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(meta);
    bytes.extend_from_slice(&event.payload);
    bytes
}

/// A content taken apart, still in its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The object.
    pub stream: StreamId,
    /// Its place in the object's stream.
    pub revision: Revision,
    /// Its identity.
    pub id: EventId,
    /// When it was decided.
    pub time: Timestamp,
    /// The version of its payload.
    pub version: u16,
    /// Its type.
    pub event_type: &'a str,
    /// Meta in bincode.
    pub meta: &'a [u8],
    /// The payload in bincode.
    pub payload: &'a [u8],
}

impl<'a> Content<'a> {
    /// Takes a content apart, and what follows it; `None` if it is not a content.
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (stream, bytes) = bytes.split_first_chunk()?;
        let (revision, bytes) = bytes.split_first_chunk()?;
        let (id, bytes) = bytes.split_first_chunk()?;
        let (time, bytes) = bytes.split_first_chunk()?;
        let (version, bytes) = bytes.split_first_chunk()?;
        let ([codec, type_len], bytes) = bytes.split_first_chunk()?;
        let (meta_len, bytes) = bytes.split_first_chunk()?;
        let (payload_len, bytes) = bytes.split_first_chunk()?;
        let (event_type, bytes) = bytes.split_at_checked(usize::from(*type_len))?;
        let (meta, bytes) = bytes.split_at_checked(u32::from_le_bytes(*meta_len) as usize)?;
        let (payload, rest) = bytes.split_at_checked(u32::from_le_bytes(*payload_len) as usize)?;
        if *codec != BINCODE {
            return None;
        }
        let content = Self {
            stream: StreamId::from_bytes(stream)?,
            revision: Revision(u64::from_le_bytes(*revision)),
            id: EventId(Uuid::from_bytes(*id)),
            time: Timestamp(i64::from_le_bytes(*time)),
            version: u16::from_le_bytes(*version),
            event_type: std::str::from_utf8(event_type).ok()?,
            meta,
            payload,
        };
        Some((content, rest))
    }

    /// Takes a content apart that ends where the bytes end; `None` if it is not a content.
    pub fn whole(bytes: &'a [u8]) -> Option<Self> {
        Self::split(bytes).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
    }

    /// The event as folds take it: the beginning of meta alone is decoded.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn borrowed(&self, position: Position, hash: &'a Hash) -> Result<EventRef<'a>, String> {
        let (meta, _): (MetaStart<'a>, _) = codec::decode_first(self.meta)?;
        Ok(EventRef {
            position,
            stream: self.stream,
            revision: self.revision,
            id: self.id,
            time: self.time,
            event_type: self.event_type,
            version: self.version,
            project: meta.project,
            request_id: meta.request_id,
            payload: self.payload,
            hash,
        })
    }

    /// Its type: without allocation where this build knows it.
    fn known_type(&self) -> EventType {
        let known = codec::types(self.stream.kind).iter().find(|(it, _)| *it == self.event_type);
        known.map_or_else(|| EventType::named(self.event_type), |(it, _)| EventType::known(it))
    }

    /// The event as readers get it.
    ///
    /// # Errors
    /// When meta cannot be read.
    pub fn recorded(&self, position: Position, hash: Hash) -> Result<Recorded, String> {
        Ok(Recorded {
            position,
            stream: self.stream,
            revision: self.revision,
            id: self.id,
            time: self.time,
            event_type: self.known_type(),
            version: self.version,
            meta: Meta::decode(self.meta)?,
            payload: Bytes::copy_from_slice(self.payload),
            hash,
        })
    }
}
