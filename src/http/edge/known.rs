//! What was said of tokens, by their hashes: of valid ones apart from all others, so that
//! strangers, who bring as many different ones as they like, push out only each other's.
//!
//! Not here: who is asked (`keystone`).

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::identity::{Nobody, Seen};
use crate::ids::ProjectId;

/// Tokens of each sort that are remembered: about 1 MB. With more at once, some are asked for more
/// often.
const MAX_TOKENS: usize = 4096;

/// What was said of one token last; locked while it is asked for.
pub type CachedToken = Arc<Mutex<Option<Seen>>>;

/// Who asks with a token, as far as is known before Keystone is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// Somebody whose token was valid when it was asked about last, for this project if any.
    Project(Option<ProjectId>),
    /// Everybody else.
    Strangers,
}

type ByHash = HashMap<[u8; 32], (CachedToken, Party)>;

/// What was said of tokens.
#[derive(Default)]
pub struct KnownTokens {
    valid: ByHash,
    strange: ByHash,
}

impl KnownTokens {
    /// What was said of a token, and who asks with it.
    pub fn entry(&mut self, hash: [u8; 32]) -> (CachedToken, Party) {
        if let Some(known) = self.valid.get(&hash) {
            return known.clone();
        }
        make_room(&mut self.strange, hash);
        let stranger = || (CachedToken::default(), Party::Strangers);
        self.strange.entry(hash).or_insert_with(stranger).clone()
    }

    /// Puts a token where it belongs after an answer.
    pub fn learn(&mut self, hash: [u8; 32], entry: &CachedToken, seen: &Seen) {
        let (from, to, party) = match &seen.answer {
            Ok(identity) => {
                let party = Party::Project(identity.project.clone());
                (&mut self.strange, &mut self.valid, party)
            }
            Err(Nobody::Refused) => (&mut self.valid, &mut self.strange, Party::Strangers),
            Err(Nobody::Away | Nobody::Busy) => return,
        };
        from.remove(&hash);
        make_room(to, hash);
        to.insert(hash, (Arc::clone(entry), party));
    }
}

fn make_room(tokens: &mut ByHash, hash: [u8; 32]) {
    if tokens.len() < MAX_TOKENS || tokens.contains_key(&hash) {
        return;
    }
    let now = Instant::now();
    // What is being asked for stays, so that nobody asks beside it.
    tokens.retain(|_, (entry, _)| match entry.try_lock() {
        Ok(seen) => seen.as_ref().is_some_and(|seen| seen.until > now),
        Err(_) => true,
    });
    if tokens.len() >= MAX_TOKENS {
        tokens.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::edge::identity::Identity;
    use crate::ids::Timestamp;

    fn seen(answer: Result<Identity, Nobody>) -> Seen {
        Seen { answer, until: Instant::now() + Duration::from_secs(60) }
    }

    fn hash(number: usize) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[tokio::test]
    async fn strangers_push_out_nobody_whose_token_is_valid() {
        let mut known = KnownTokens::default();
        let identity = Identity {
            user: "u".to_owned(),
            project: None,
            in_admin_project: false,
            roles: vec![],
            expires_at: Timestamp::default(),
            access_rules: None,
        };
        let (entry, party) = known.entry(hash(0));
        assert_eq!(party, Party::Strangers);
        known.learn(hash(0), &entry, &seen(Ok(identity)));
        for number in 1..=2 * MAX_TOKENS {
            let (entry, _) = known.entry(hash(number));
            let refused = seen(Err(Nobody::Refused));
            *entry.lock().await = Some(refused.clone());
            known.learn(hash(number), &entry, &refused);
        }
        assert!(known.strange.len() <= MAX_TOKENS && known.valid.len() == 1);
        let (same, party) = known.entry(hash(0));
        let of_project = Party::Project(None);
        assert!(party == of_project && Arc::ptr_eq(&same, &entry));
        known.learn(hash(0), &entry, &seen(Err(Nobody::Away)));
        assert_eq!(known.entry(hash(0)).1, of_project, "who cannot be asked about is no stranger");
        known.learn(hash(0), &entry, &seen(Err(Nobody::Refused)));
        assert_eq!(known.entry(hash(0)).1, Party::Strangers, "it was revoked");
    }
}
