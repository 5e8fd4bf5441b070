//! One record: an event's content and its place on disk. See the format in `mod.rs`.
//!
//! Not here: whether a record follows the one before it (`scan.rs`, `recover.rs`).

use super::super::chain::{CONTENT_HEADER_BYTES, Content, Hash};
use super::super::{
    Appended, CommandKey, CommandSeen, MAX_COMMAND_ID_BYTES, MAX_META_BYTES, MAX_PAYLOAD_BYTES,
    ReadError,
};
use super::SEGMENT_HEADER_BYTES;
use crate::events::{EventRef, Recorded};
use crate::ids::{CommandId, Position, Revision};

/// Bytes of a record before its content.
pub const FRAME_BYTES: usize = 76;

/// Most bytes of a record: its name, meta, payload, and a command with its digest are the largest.
pub const MOST_BYTES: usize = FRAME_BYTES
    + CONTENT_HEADER_BYTES
    + u8::MAX as usize
    + MAX_META_BYTES
    + MAX_PAYLOAD_BYTES
    + MAX_COMMAND_ID_BYTES
    + size_of::<Hash>();

/// Records start at multiples of this.
pub const ALIGNMENT: u64 = 8;

/// One event in so many of a stream is linked to the one so many before it, so that the way back
/// to any revision takes `revisions / 256 + 256` steps: 4,200 for a million events.
pub const SKIP_REVISIONS: u64 = 256;

/// Where a record is: segment and offset. The default is nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The segment's number; 0 is nowhere.
    pub segment: u32,
    /// The offset in its file.
    pub offset: u32,
}

impl Location {
    /// As one number, as on disk.
    pub const fn to_u64(self) -> u64 {
        (self.segment as u64) << 32 | self.offset as u64
    }

    /// The reverse of [`Location::to_u64`].
    pub const fn from_u64(number: u64) -> Self {
        Self { segment: (number >> 32) as u32, offset: number as u32 }
    }

    /// `None` if it is nowhere.
    pub fn known(self) -> Option<Self> {
        (self.segment > 0 && self.offset as usize >= SEGMENT_HEADER_BYTES).then_some(self)
    }
}

/// What places an event on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the write began that this record is part of: everything before was durable by then.
    pub group: u32,
    /// Which opening of the log wrote it.
    pub epoch: u32,
    /// The event before it in its stream.
    pub back: Location,
    /// The last event before it in its stream whose revision is a multiple of [`SKIP_REVISIONS`].
    pub skip: Location,
    /// Its place in the log.
    pub position: Position,
    /// The chain up to and including it.
    pub hash: Hash,
    /// How many events of the same append follow.
    pub left: u16,
}

/// A record taken apart, still in its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What places it.
    pub frame: Frame,
    /// The event.
    pub content: Content<'a>,
    /// The content's bytes, which its hash covers.
    pub content_bytes: &'a [u8],
    /// With the first event of a command: its id and the digest of its body.
    pub command: Option<(&'a str, &'a [u8; 32])>,
}

/// Bytes of a record on disk, with padding.
pub fn size(content: usize, command: Option<&CommandKey>) -> usize {
    let command = command.map_or(0, |key| key.id.0.len() + key.digest.len());
    (FRAME_BYTES + content + command).next_multiple_of(ALIGNMENT as usize)
}

/// The checksum of a record that lies at an offset of a segment with this salt: the same bytes
/// elsewhere, or in another log, are not a record.
fn checksum(salt: u32, offset: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, &offset.to_le_bytes()), bytes)
}

/// Writes a record that will lie at `offset` to the end of a buffer.
pub fn write(
    buffer: &mut Vec<u8>,
    salt: u32,
    offset: u32,
    frame: &Frame,
    content: &[u8],
    command: Option<&CommandKey>,
) {
    let start = buffer.len();
    let id = command.map_or("", |key| key.id.0.as_str());
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&frame.group.to_le_bytes());
    buffer.extend_from_slice(&frame.epoch.to_le_bytes());
    buffer.extend_from_slice(&frame.back.to_u64().to_le_bytes());
    buffer.extend_from_slice(&frame.skip.to_u64().to_le_bytes());
    buffer.extend_from_slice(&frame.position.get().to_le_bytes());
    buffer.extend_from_slice(&frame.hash);
    buffer.extend_from_slice(&frame.left.to_le_bytes());
    buffer.extend_from_slice(&(id.len() as u16).to_le_bytes());
    buffer.extend_from_slice(content);
    if let Some(command) = command {
        buffer.extend_from_slice(id.as_bytes());
        buffer.extend_from_slice(&command.digest);
    }
    let length = (buffer.len() - start) as u32;
    if let Some((head, rest)) = buffer.get_mut(start..).and_then(|it| it.split_at_mut_checked(8)) {
        let sum = checksum(salt, offset, rest);
        let words = length.to_le_bytes().into_iter().chain(sum.to_le_bytes());
        head.iter_mut().zip(words).for_each(|(byte, word)| *byte = word);
    }
    buffer.resize(start + (length as usize).next_multiple_of(ALIGNMENT as usize), 0);
}

/// The length in the first bytes of a record, if it can be one.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    (length > FRAME_BYTES).then_some(length)
}

/// Whether the checksum of a record is right.
pub fn is_intact(bytes: &[u8], salt: u32, offset: u32) -> bool {
    let split = || bytes.get(4..length(bytes)?)?.split_first_chunk();
    split().is_some_and(|(sum, rest)| u32::from_le_bytes(*sum) == checksum(salt, offset, rest))
}

impl<'a> Record<'a> {
    /// Takes a record apart; `None` if the bytes are not one, wherever they lie.
    pub fn parse(bytes: &'a [u8], salt: u32, offset: u32) -> Option<Self> {
        let record = Self::parse_unchecked(bytes)?;
        is_intact(bytes, salt, offset).then_some(record)
    }

    /// Takes apart what has the form of a record, without its checksum.
    pub fn parse_unchecked(bytes: &'a [u8]) -> Option<Self> {
        let length = length(bytes)?;
        let (_, rest) = bytes.get(..length)?.split_at_checked(8)?;
        let (group, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (back, rest) = rest.split_first_chunk()?;
        let (skip, rest) = rest.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (left, rest) = rest.split_first_chunk()?;
        let (id_len, after) = rest.split_first_chunk()?;
        let (content, rest) = Content::split(after)?;
        let content_bytes = after.get(..after.len() - rest.len())?;
        let command = match u16::from_le_bytes(*id_len) {
            0 => rest.is_empty().then_some(None)?,
            id_len => {
                let (id, digest) = rest.split_at_checked(usize::from(id_len))?;
                Some((std::str::from_utf8(id).ok()?, <&[u8; 32]>::try_from(digest).ok()?))
            }
        };
        let frame = Frame {
            group: u32::from_le_bytes(*group),
            epoch: u32::from_le_bytes(*epoch),
            back: Location::from_u64(u64::from_le_bytes(*back)),
            skip: Location::from_u64(u64::from_le_bytes(*skip)),
            position: Position(u64::from_le_bytes(*position)),
            hash: *hash,
            left: u16::from_le_bytes(*left),
        };
        Some(Self { frame, content, content_bytes, command })
    }

    /// Bytes of it on disk, with padding.
    pub fn bytes(&self) -> u32 {
        let command = self.command.map_or(0, |(id, digest)| id.len() + digest.len());
        let length = FRAME_BYTES + self.content_bytes.len() + command;
        length.next_multiple_of(ALIGNMENT as usize) as u32
    }

    /// The event as readers get it.
    ///
    /// # Errors
    /// When meta cannot be read though the checksum is right.
    pub fn recorded(&self) -> Result<Recorded, ReadError> {
        let Frame { position, hash, .. } = self.frame;
        self.content.recorded(position, hash).map_err(|reason| self.damaged(&reason))
    }

    /// The event as folds take it.
    ///
    /// # Errors
    /// As [`Record::recorded`].
    pub fn borrowed(&self) -> Result<EventRef<'_>, ReadError> {
        let Frame { position, hash, .. } = &self.frame;
        self.content.borrowed(*position, hash).map_err(|reason| self.damaged(&reason))
    }

    fn damaged(&self, reason: &str) -> ReadError {
        ReadError::Damaged(format!("the event at {}: {reason}", self.frame.position))
    }

    /// What is known of the command that this record is the first event of.
    pub fn command_seen(&self) -> Option<(CommandId, CommandSeen)> {
        let (id, digest) = self.command?;
        let left = u64::from(self.frame.left);
        let appended = Appended {
            first: self.frame.position,
            last: Position(self.frame.position.get() + left),
            revision: Revision(self.content.revision.get() + left),
        };
        let stream = self.content.stream;
        Some((CommandId(id.to_owned()), CommandSeen { stream, appended, digest: *digest }))
    }
}
