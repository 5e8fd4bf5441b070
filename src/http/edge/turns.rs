//! Turns: so many at once, of which each party may have a share. Who waits gets the next one, and
//! waits behind no more of another party than that one's share.
//!
//! Not here: what takes turns (`places`, `keystone`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of one kind, for parties that are told apart by a key.
#[derive(Debug)]
pub struct Turns<K> {
    all: Arc<Semaphore>,
    share: usize,
    parties: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _own: OwnedSemaphorePermit,
    _any: OwnedSemaphorePermit,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// So many, all free; `share` of them for one party.
    pub fn new(all: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), share, parties: Mutex::default() }
    }

    /// Waits for a turn of a party; `None` would mean that there are none any more. May be dropped
    /// while it waits.
    pub async fn take(&self, party: &K) -> Option<Turn> {
        let own = self.of(party).acquire_owned().await.ok()?;
        let any = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _own: own, _any: any })
    }

    /// A turn of a party, if one is free and the party may have it.
    pub fn try_take(&self, party: &K) -> Option<Turn> {
        let own = self.of(party).try_acquire_owned().ok()?;
        let any = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Turn { _own: own, _any: any })
    }

    /// As many as one party may have.
    pub const fn share(&self) -> usize {
        self.share
    }

    /// Whether a party has its whole share, and not only all of them together what there is.
    pub fn is_used_up(&self, party: &K) -> bool {
        self.parties().get(party).is_some_and(|own| own.available_permits() == 0)
    }

    /// The share of a party. Those that have and want none are forgotten.
    fn of(&self, party: &K) -> Arc<Semaphore> {
        let mut parties = self.parties();
        parties.retain(|_, own| Arc::strong_count(own) > 1);
        let own = parties.entry(party.clone());
        Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }

    fn parties(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_party_has_its_share_and_the_others_the_rest() {
        let turns = Turns::new(4, 2);
        let own = [0, 1].map(|_| turns.try_take(&"a").unwrap());
        assert!(turns.try_take(&"a").is_none() && turns.is_used_up(&"a"));
        assert!(turns.take(&"a").now_or_never().is_none());
        let others = ["b", "c"].map(|party| turns.try_take(&party).unwrap());
        assert!(turns.try_take(&"d").is_none() && !turns.is_used_up(&"d"));
        drop(own);
        assert!(turns.take(&"a").now_or_never().is_some());
        drop(others);
        drop(turns.try_take(&"d"));
        assert_eq!(turns.parties().len(), 1, "others are not remembered");
    }

    #[tokio::test]
    async fn who_waits_is_not_behind_all_of_another_party() {
        let turns = Turns::new(2, 1);
        let (of_a, of_b) = (turns.take(&"a").await, turns.take(&"b").await);
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(turns.take(&"a"))).collect();
        for wait in &mut waiting {
            assert!(wait.now_or_never().is_none());
        }
        let mut other = Box::pin(turns.take(&"c"));
        assert!((&mut other).now_or_never().is_none());
        drop(of_b);
        assert!(other.now_or_never().is_some(), "whoever came before");
        drop(of_a);
        assert!(waiting.remove(0).now_or_never().is_some());
    }
}
