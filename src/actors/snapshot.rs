//! States kept beside the log, so that an object with many events wakes up fast (rule E5).
//!
//! Only a cache: one that is missing, damaged, or was folded by other code is not used. Not
//! here: folding (`entity`).

use serde::{Deserialize, Serialize};

use super::Entity;
use crate::events::codec;
use crate::ids::{EventId, Position, Revision, StreamId};

/// Events after the last snapshot before the next one is worth its write: loading that many
/// takes about as long as one read.
pub const EVERY: u64 = 100;

/// Where a state was folded to: the last event in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its place in its stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// Its id, which a log that was restored from a backup and went another way does not have.
    pub event_id: EventId,
}

/// Where snapshots are kept; cheap to clone. Without a tree nothing is kept.
#[derive(Clone, Default)]
pub struct Snapshots {
    tree: Option<sled::Tree>,
}

impl Snapshots {
    /// Keeps snapshots in a tree that may be lost at any time.
    pub const fn new(tree: sled::Tree) -> Self {
        Self { tree: Some(tree) }
    }

    /// The last state that was kept, if this code folded it.
    pub fn load<E: Entity>(&self, stream: StreamId) -> Option<(E::State, Place)> {
        let bytes = self.tree.as_ref()?.get(stream.to_bytes()).ok()??;
        let (code, rest) = bytes.split_at_checked(blake3::OUT_LEN)?;
        let (sum, kept) = rest.split_at_checked(blake3::OUT_LEN)?;
        if code != code_hash::<E>().as_bytes() || sum != blake3::hash(kept).as_bytes() {
            return None;
        }
        codec::decode(kept).ok()
    }

    /// Keeps a state; one that cannot be kept is no loss.
    pub fn save<E: Entity>(&self, stream: StreamId, state: &E::State, place: Place) {
        let Some(tree) = &self.tree else { return };
        let kept = codec::encode(&(state, place));
        let mut bytes = code_hash::<E>().as_bytes().to_vec();
        bytes.extend(blake3::hash(&kept).as_bytes());
        bytes.extend(kept);
        if let Err(error) = tree.insert(stream.to_bytes(), bytes) {
            tracing::debug!(%stream, %error, "no snapshot kept");
        }
    }
}

/// What folds a noun: its own source and what it is made of. Any change of it, and no other,
/// makes its snapshots worthless.
fn code_hash<E: Entity>() -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for source in E::SOURCES {
        hasher.update(source.as_bytes());
    }
    hasher.finalize()
}
