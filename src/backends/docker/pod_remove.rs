//! Removing a pod with all that is of it: its containers, its sandbox, its volumes.
//!
//! Everything is found by its labels each time, so that nothing is left behind by an attempt that
//! was cut off, wherever that was. Not here: the bay's network, which other things are in.

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep};

use super::super::{BackendError, Done, Reporter, Work};
use super::DockerBackend;
use super::lifecycle::REMOVAL_POLL;
use super::observe::Found;

impl DockerBackend {
    /// Stops a pod's containers, all at once, and removes the pod; waits until nothing is left.
    pub(super) async fn delete_pod(
        &self,
        work: &Work,
        grace_s: u32,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let all = self.all_of_pod(work.stream).await?;
        let runs = |one: &&Found| one.place.is_some() && !one.observed.state.has_ended();
        let stops = all.iter().filter(runs).map(|one| async {
            match self.stop(&one.observed.engine_id, grace_s, reporter).await {
                // It is gone, or going.
                Err(BackendError::Missing(_) | BackendError::Refused(_)) => Ok(()),
                answer => answer,
            }
        });
        try_join_all(stops).await?;
        let until = Instant::now() + self.connection.limits.removal;
        loop {
            match self.remove_rest(work).await? {
                None => return Ok(Done::default()),
                Some(words) if Instant::now() >= until => return Err(BackendError::Failed(words)),
                Some(_) => sleep(REMOVAL_POLL).await,
            }
        }
    }

    /// Removes what there is of a pod; why something is still there. The sandbox goes after the
    /// containers that use its network, and a volume after all that have it.
    async fn remove_rest(&self, work: &Work) -> Result<Option<String>, BackendError> {
        let all = self.all_of_pod(work.stream).await?;
        let (members, sandboxes): (Vec<_>, Vec<_>) =
            all.iter().partition(|one| one.place.is_some());
        for group in [members, sandboxes] {
            let limit = self.connection.limits.removal;
            let removals = group.into_iter().map(|one| self.remove_container(one, limit));
            let mut waits_for = None;
            for removed in join_all(removals).await {
                match removed {
                    Ok(()) | Err(BackendError::Missing(_)) => {}
                    // Its removal is in progress already.
                    Err(BackendError::Refused(words)) => waits_for = Some(words),
                    Err(error) => return Err(error),
                }
            }
            if waits_for.is_some() {
                return Ok(waits_for);
            }
        }
        self.remove_volumes(work.stream).await
    }
}
