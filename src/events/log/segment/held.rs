//! Who holds which name: the changes that are not in sled yet, laid over those that are.
//!
//! An entry is a pair of a name and an object: so whatever is read again after a crash leaves the
//! same, and objects that had one name before names were unique can all hold it. Not here: where
//! the layers are (`index`, `stage`).

use std::collections::{BTreeSet, HashMap};

use crate::events::claim::{Claim, NameDigest};
use crate::ids::StreamId;

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

    fn set(&mut self, name: NameDigest, stream: StreamId, holds: bool) {
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

    /// Each name with an object, and whether the object holds it.
    pub fn each(&self) -> impl Iterator<Item = (&NameDigest, StreamId, bool)> {
        let of = |(name, changes)| {
            let changes: &Vec<(StreamId, bool)> = changes;
            changes.iter().map(move |(stream, holds)| (name, *stream, *holds))
        };
        self.0.iter().flat_map(of)
    }

    /// Copies those of one name.
    pub fn pick(&self, name: &NameDigest, to: &mut Self) {
        to.0.extend(self.0.get_key_value(name).map(|(name, changes)| (*name, changes.clone())));
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
}

/// Holders of names that no record says: objects of builds that recorded no claims.
#[derive(Debug, Default)]
pub struct Unrecorded(HashMap<NameDigest, Holders>);

impl Unrecorded {
    /// Notes one.
    pub fn adopt(&mut self, name: NameDigest, holder: StreamId) {
        self.0.entry(name).or_default().insert(holder);
    }

    /// The holders of a name.
    pub fn of(&self, name: &NameDigest) -> Holders {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// From here on the records say it.
    pub fn follow(&mut self, changes: &NameChanges) {
        if self.0.is_empty() {
            return;
        }
        for (name, stream, _) in changes.each() {
            if let Some(holders) = self.0.get_mut(name) {
                holders.remove(&stream);
                if holders.is_empty() {
                    self.0.remove(name);
                }
            }
        }
    }
}
