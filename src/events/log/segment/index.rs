//! Heads of streams, command ids and holders of names: new ones in memory, old ones in sled.
//!
//! Sled is a cache of the log. Before entries are moved there a mark records how far they go, and
//! after them the checkpoint records that all are there; whatever is missing is read from the
//! log's tail, and without a checkpoint from the whole log. No batches: while sled applies one, or
//! waits to, no thread in the process can read any tree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::super::chain::Hash;
use super::held::{self, Holders, NameChanges};
use super::record::{Location, Record, SKIP_REVISIONS};
use crate::events::Meta;
use crate::events::claim::{Claim, NameDigest};
use crate::ids::{CommandId, Position, Revision, StreamId};

/// Entries after which they are moved to sled: what takes well under a second to read again.
const MOVE_ENTRIES: usize = 8192;

/// Entries at which the writer waits until they are moved: some 32 MiB of memory.
const MOST_ENTRIES: usize = 32 * MOVE_ENTRIES;

const HEAD: u8 = b'h';
const COMMAND: u8 = b'c';
const CHECKPOINT: &[u8] = b"p";
const MARK: &[u8] = b"m";

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its last revision.
    pub revision: Revision,
    /// Its last event.
    pub at: Location,
    /// Its last event whose revision is a multiple of [`SKIP_REVISIONS`].
    pub skip: Location,
}

impl Head {
    /// The end of the stream after one more event, whose record names this one to skip to.
    pub const fn after(skip: Location, revision: Revision, at: Location) -> Self {
        let marked = revision.get().is_multiple_of(SKIP_REVISIONS);
        Self { revision, at, skip: if marked { at } else { skip } }
    }

    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let numbers = [self.revision.get(), self.at.to_u64(), self.skip.to_u64()];
        let source = numbers.into_iter().flat_map(u64::to_le_bytes);
        bytes.iter_mut().zip(source).for_each(|(byte, value)| *byte = value);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (revision, bytes) = bytes.split_first_chunk()?;
        let (at, bytes) = bytes.split_first_chunk()?;
        let (skip, _) = bytes.split_first_chunk()?;
        Some(Self {
            revision: Revision(u64::from_le_bytes(*revision)),
            at: Location::from_u64(u64::from_le_bytes(*at)),
            skip: Location::from_u64(u64::from_le_bytes(*skip)),
        })
    }
}

/// Up to where the index knows the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Everything up to here is there.
    pub all: Checkpoint,
    /// Nothing after this is.
    pub most: Checkpoint,
}

/// A place in the log: an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The data directory.
    pub folder: Uuid,
    /// The event's position.
    pub position: Position,
    /// Where its record is.
    pub at: Location,
    /// The chain up to and including it.
    pub hash: Hash,
}

impl Checkpoint {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.folder.as_bytes().to_vec();
        bytes.extend_from_slice(&self.position.get().to_le_bytes());
        bytes.extend_from_slice(&self.at.to_u64().to_le_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (folder, bytes) = bytes.split_first_chunk()?;
        let (position, bytes) = bytes.split_first_chunk()?;
        let (at, bytes) = bytes.split_first_chunk()?;
        Some(Self {
            folder: Uuid::from_bytes(*folder),
            position: Position(u64::from_le_bytes(*position)),
            at: Location::from_u64(u64::from_le_bytes(*at)),
            hash: bytes.try_into().ok()?,
        })
    }
}

/// A command id of any length in few bytes. The id itself is compared with the record.
type CommandDigest = [u8; 16];

fn digest(id: &str) -> CommandDigest {
    blake3::hash(id.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Heads and commands since some point.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    heads: HashMap<StreamId, Head>,
    commands: HashMap<CommandDigest, Location>,
    pub(super) names: NameChanges,
    checkpoint: Option<Checkpoint>,
}

impl Entries {
    /// The end of a stream, if it is known here.
    pub fn head(&self, stream: StreamId) -> Option<Head> {
        self.heads.get(&stream).copied()
    }

    /// Notes an event that was written.
    pub fn note(&mut self, folder: Uuid, record: &Record<'_>, at: Location) {
        let Record { frame, content, .. } = record;
        self.note_head(content.stream, Head::after(frame.skip, content.revision, at));
        if let Some((id, _)) = record.command {
            self.note_command(id, at);
        }
        // Meta that cannot be read is told whoever reads the event.
        self.note_claims(content.stream, &Meta::decode_claims(content.meta).unwrap_or_default());
        self.reach(Checkpoint { folder, position: frame.position, at, hash: frame.hash });
    }

    /// Notes the end of a stream.
    pub fn note_head(&mut self, stream: StreamId, head: Head) {
        self.heads.insert(stream, head);
    }

    /// Notes where a command's first event is.
    pub fn note_command(&mut self, id: &str, at: Location) {
        self.commands.insert(digest(id), at);
    }

    /// Notes what an append means for names.
    pub fn note_claims(&mut self, stream: StreamId, claims: &[Claim]) {
        self.names.note(stream, claims);
    }

    /// Changes the holders of a name to what they are with these entries.
    pub fn change_holders(&self, name: &NameDigest, holders: &mut Holders) {
        self.names.lay_over(name, holders);
    }

    /// Says that everything up to an event was noted.
    pub const fn reach(&mut self, checkpoint: Checkpoint) {
        self.checkpoint = Some(checkpoint);
    }

    fn len(&self) -> usize {
        self.heads.len() + self.commands.len() + self.names.len()
    }

    /// Adds what is newer.
    pub fn absorb(&mut self, newer: &Self) {
        self.heads.extend(&newer.heads);
        self.commands.extend(&newer.commands);
        self.names.absorb(&newer.names);
        self.checkpoint = newer.checkpoint.or(self.checkpoint);
    }

    fn move_to(&self, tree: &sled::Tree) -> Result<(), sled::Error> {
        let Some(checkpoint) = self.checkpoint else { return Ok(()) };
        if place(tree, MARK)?.is_none_or(|mark| mark.position < checkpoint.position) {
            tree.insert(MARK, checkpoint.to_bytes())?;
        }
        for (stream, head) in &self.heads {
            tree.insert(key(HEAD, &stream.to_bytes()), &head.to_bytes()[..])?;
        }
        for (digest, at) in &self.commands {
            tree.insert(key(COMMAND, digest), &at.to_u64().to_le_bytes()[..])?;
        }
        for name in self.names.names() {
            let key = held::key(name);
            let mut holders = tree.get(&key)?.map(|it| held::from_bytes(&it)).unwrap_or_default();
            self.names.lay_over(name, &mut holders);
            if holders.is_empty() {
                tree.remove(key)?
            } else {
                tree.insert(key, held::to_bytes(&holders))?
            };
        }
        tree.insert(CHECKPOINT, checkpoint.to_bytes()).map(drop)
    }
}

fn key(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + bytes.len());
    key.push(kind);
    key.extend_from_slice(bytes);
    key
}

fn place(tree: &sled::Tree, key: &[u8]) -> Result<Option<Checkpoint>, sled::Error> {
    Ok(tree.get(key)?.and_then(|bytes| Checkpoint::from_bytes(&bytes)))
}

/// The index of a log. All that it answers is durable in the log.
#[derive(Debug)]
pub struct Index {
    pub(super) tree: sled::Tree,
    recent: Mutex<Recent>,
    /// Held while entries are moved.
    moving: Mutex<()>,
}

/// What is not in sled.
#[derive(Debug, Default)]
pub struct Recent {
    pub(super) fresh: Entries,
    /// On their way to sled.
    pub(super) leaving: Arc<Entries>,
    /// What is known of names that no record says.
    pub(super) unrecorded: NameChanges,
    /// Which opening of the log this is, and whether the records say all of names.
    pub(super) epoch: u32,
    pub(super) are_recorded: bool,
}

impl Index {
    /// The index in a tree.
    pub fn new(tree: sled::Tree) -> Self {
        Self { tree, recent: Mutex::default(), moving: Mutex::new(()) }
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where sled knows the log.
    pub fn known(&self) -> Result<Option<Known>, sled::Error> {
        let Some(all) = place(&self.tree, CHECKPOINT)? else { return Ok(None) };
        Ok(Some(Known { all, most: place(&self.tree, MARK)?.unwrap_or(all) }))
    }

    /// Forgets everything, to be told again.
    pub fn clear(&self) -> Result<(), sled::Error> {
        *self.recent() = Recent::default();
        self.tree.clear()
    }

    /// The end of a stream.
    pub fn head(&self, stream: StreamId) -> Result<Option<Head>, sled::Error> {
        {
            let recent = self.recent();
            if let Some(head) = recent.fresh.head(stream).or_else(|| recent.leaving.head(stream)) {
                return Ok(Some(head));
            }
        }
        let found = self.tree.get(key(HEAD, &stream.to_bytes()))?;
        Ok(found.and_then(|bytes| Head::from_bytes(&bytes)))
    }

    /// Where the first event of a command is, or of one whose id has the same short digest.
    pub fn command(&self, id: &CommandId) -> Result<Option<Location>, sled::Error> {
        let digest = digest(&id.0);
        {
            let recent = self.recent();
            let fresh = recent.fresh.commands.get(&digest);
            if let Some(at) = fresh.or_else(|| recent.leaving.commands.get(&digest)) {
                return Ok(Some(*at));
            }
        }
        let found = self.tree.get(key(COMMAND, &digest))?;
        let location = |bytes: &sled::IVec| {
            Some(Location::from_u64(u64::from_le_bytes(*bytes.first_chunk()?)))
        };
        Ok(found.as_ref().and_then(location))
    }

    /// Takes over what became durable. True when it is time to move entries to sled.
    pub fn add(&self, entries: &Entries) -> bool {
        let held = {
            let mut recent = self.recent();
            recent.fresh.absorb(entries);
            recent.unrecorded.forget(&entries.names);
            recent.fresh.len()
        };
        if held >= MOST_ENTRIES {
            self.move_to_sled();
        }
        held >= MOVE_ENTRIES
    }

    /// Moves what is in memory to sled. What sled does not take stays in memory.
    pub fn move_to_sled(&self) {
        let _one_at_a_time = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let leaving = {
            let mut recent = self.recent();
            recent.leaving = Arc::new(std::mem::take(&mut recent.fresh));
            Arc::clone(&recent.leaving)
        };
        let moved = leaving.move_to(&self.tree);
        let mut recent = self.recent();
        recent.leaving = Arc::default();
        if let Err(error) = moved {
            tracing::warn!(%error, "the log's index could not be written; it is kept in memory");
            let newer = std::mem::replace(&mut recent.fresh, Entries::clone(&leaving));
            recent.fresh.absorb(&newer);
        }
    }

    /// Asks sled to write what it holds: the next start reads less of the log.
    pub fn flush(&self) {
        if let Err(error) = self.tree.flush() {
            tracing::warn!(%error, "the index of the log could not be flushed; it will be rebuilt");
        }
    }
}
