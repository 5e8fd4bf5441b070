//! What the index knows of names: who holds which, also where no record says so.
//!
//! Builds that record no claims give objects names, rename them and delete them without a word of
//! it. So whoever opens the log after one of them says who has which name, until the records do.
//! Not here: how entries become durable (`index`).

use super::held::{self, Holders, NameChanges};
use super::index::Index;
use crate::events::claim::{HeldNames, NameDigest};

/// The key of the latest opening of the log in which the records were known to say all of names.
const RECORDED: &[u8] = b"a";

impl Index {
    /// The objects that hold a name.
    pub fn holders(&self, name: &NameDigest) -> Result<Holders, sled::Error> {
        let (leaving, fresh, unrecorded) = {
            let recent = self.recent();
            (recent.leaving.names.of(name), recent.fresh.names.of(name), recent.unrecorded.of(name))
        };
        let noted = self.tree.get(held::key(name))?;
        let mut holders = noted.map(|it| held::from_bytes(&it)).unwrap_or_default();
        for newer in [leaving, fresh, unrecorded] {
            newer.lay_over(name, &mut holders);
        }
        Ok(holders)
    }

    /// Begins an opening of the log. The records say all of names if they did in the opening just
    /// before: one in between may have been of a build that records no claims.
    pub fn begin(&self, epoch: u32) {
        let noted = self.tree.get(RECORDED).ok().flatten();
        let noted = noted.and_then(|bytes| bytes.first_chunk().copied()).map(u32::from_le_bytes);
        let mut recent = self.recent();
        recent.epoch = epoch;
        recent.are_recorded = noted.is_some() && noted == epoch.checked_sub(1);
    }

    /// Notes that the records say all of names. Where that fails, they are looked at again in the
    /// next opening.
    pub fn names_are_recorded(&self) {
        let epoch = {
            let mut recent = self.recent();
            recent.are_recorded = true;
            recent.epoch
        };
        if let Err(error) = self.tree.insert(RECORDED, &epoch.to_le_bytes()[..]) {
            tracing::warn!(%error, "the index of the log could not be written");
        }
    }

    /// Whether they do.
    pub fn knows_all_names(&self) -> bool {
        self.recent().are_recorded
    }

    /// Notes that objects hold these names and no others; how many of that no record says.
    pub fn learn_names(&self, held: &HeldNames) -> Result<u64, sled::Error> {
        self.move_to_sled();
        let mut recorded = HeldNames::new();
        for entry in self.tree.scan_prefix([held::NAME]) {
            let (key, holders) = entry?;
            let Some(name) = held::name(&key) else { continue };
            recorded.extend(held::from_bytes(&holders).into_iter().map(|holder| (name, holder)));
        }
        let mut unrecorded = NameChanges::default();
        for (name, holder) in recorded.symmetric_difference(held) {
            unrecorded.set(*name, *holder, held.contains(&(*name, *holder)));
        }
        let count = recorded.symmetric_difference(held).count();
        self.recent().unrecorded = unrecorded;
        Ok(count as u64)
    }
}
