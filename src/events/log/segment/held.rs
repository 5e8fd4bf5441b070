//! Who holds which name: the changes that are not in sled yet, laid over what is.
//!
//! A change is about a name and one object: so whatever is read again after a crash leaves the
//! same, and objects that had one name before names were unique can all hold it. In sled a name has
//! its holders, so that one look finds them. Not here: where the layers are (`index`, `stage`).

use std::collections::{BTreeSet, HashMap};

use crate::events::claim::{Claim, NameDigest};
use crate::ids::StreamId;

/// What all keys of names begin with.
pub const NAME: u8 = b'n';

/// Objects that hold a name.
pub type Holders = BTreeSet<StreamId>;

/// Which objects took names, and which gave them up.
#[derive(Clone, Debug, Default)]
pub struct NameChanges(HashMap<NameDigest, Vec<(StreamId, bool)>>);

impl NameChanges {
    /// Notes what an append means for names.
    pub fn note(&mut self, stream: StreamId, claims: &[Claim]) {
        for claim in claims {
            self.set(claim.name().digest(), stream, claim.holds());
        }
    }

    /// Notes that an object holds a name, or does not.
    pub fn set(&mut self, name: NameDigest, stream: StreamId, holds: bool) {
        let changes = self.0.entry(name).or_default();
        match changes.iter_mut().find(|(changed, _)| *changed == stream) {
            Some((_, held)) => *held = holds,
            None => changes.push((stream, holds)),
        }
    }

    /// Adds what is newer.
    pub fn absorb(&mut self, newer: &Self) {
        for (name, stream, holds) in newer.each() {
            self.set(*name, stream, holds);
        }
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &NameDigest> {
        self.0.keys()
    }

    /// Each name with an object, and whether the object holds it.
    pub fn each(&self) -> impl Iterator<Item = (&NameDigest, StreamId, bool)> {
        let of = |(name, changes)| {
            let changes: &Vec<(StreamId, bool)> = changes;
            changes.iter().map(move |(stream, holds)| (name, *stream, *holds))
        };
        self.0.iter().flat_map(of)
    }

    /// Those of one name.
    pub fn of(&self, name: &NameDigest) -> Self {
        Self(self.0.get_key_value(name).map(|(name, of)| (*name, of.clone())).into_iter().collect())
    }

    /// Changes the holders of a name.
    pub fn lay_over(&self, name: &NameDigest, holders: &mut Holders) {
        for (stream, holds) in self.0.get(name).into_iter().flatten() {
            if *holds {
                holders.insert(*stream);
            } else {
                holders.remove(stream);
            }
        }
    }

    /// Leaves out what newer ones say again.
    pub fn forget(&mut self, newer: &Self) {
        if self.0.is_empty() {
            return;
        }
        for (name, stream, _) in newer.each() {
            if let Some(changes) = self.0.get_mut(name) {
                changes.retain(|(changed, _)| *changed != stream);
                if changes.is_empty() {
                    self.0.remove(name);
                }
            }
        }
    }
}

/// The key of a name.
pub fn key(name: &NameDigest) -> Vec<u8> {
    [&[NAME], &name[..]].concat()
}

/// The reverse of [`key`].
pub fn name(key: &[u8]) -> Option<NameDigest> {
    key.strip_prefix(&[NAME])?.try_into().ok()
}

/// The holders of a name in bytes.
pub fn to_bytes(holders: &Holders) -> Vec<u8> {
    holders.iter().flat_map(|holder| holder.to_bytes()).collect()
}

/// The reverse of [`to_bytes`].
pub fn from_bytes(bytes: &[u8]) -> Holders {
    let (each, _) = bytes.as_chunks();
    each.iter().filter_map(StreamId::from_bytes).collect()
}
