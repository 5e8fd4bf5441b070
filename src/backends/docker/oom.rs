//! Which containers the kernel ended for want of memory, by the engine's notices.
//!
//! The engine hears of that and of the end itself in either order; when the end comes first it
//! tells of the want of memory in a notice, and never again when it is asked.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::Observed;

/// Engine ids of containers that ran out of memory since they were last started: no more than
/// there are containers.
#[derive(Clone, Default)]
pub(super) struct OutOfMemory(Arc<Mutex<HashSet<String>>>);

impl OutOfMemory {
    /// Takes in a notice.
    pub(super) fn hear(&self, action: &str, engine_id: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match action {
            "oom" => drop(known.insert(engine_id.to_owned())),
            "start" | "destroy" => drop(known.remove(engine_id)),
            _ => {}
        }
    }

    /// Adds to what the engine says of a container that ended.
    pub(super) fn complete(&self, mut observed: Observed) -> Observed {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = observed.exit_code.is_some();
        observed.oom_killed |= ended && known.contains(&observed.engine_id);
        observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::RunState;

    #[test]
    fn a_notice_counts_until_the_next_start() {
        let ended = Observed {
            engine_id: "e1".into(),
            engine_name: "magnum-1".into(),
            name_is_ours: true,
            state: RunState::Exited,
            exit_code: Some(137),
            oom_killed: false,
            finished_at: None,
        };
        let ooms = OutOfMemory::default();
        assert!(!ooms.complete(ended.clone()).oom_killed);
        ooms.hear("oom", "e1");
        assert!(ooms.complete(ended.clone()).oom_killed);
        assert!(!ooms.complete(Observed { exit_code: None, ..ended.clone() }).oom_killed);
        ooms.hear("start", "e1");
        assert!(!ooms.complete(ended).oom_killed);
    }
}
