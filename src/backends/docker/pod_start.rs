//! Starting a pod: first what initialises it, one after the other, then all its other containers.
//!
//! How far it is follows from the engine alone: what started after the sandbox is of this life of
//! the pod. With a new sandbox all begins again, as in Kubernetes. Not here: making a pod
//! (`pod_create`).

use std::time::Duration;

use bollard::query_parameters::WaitContainerOptions;
use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use tokio::time::{sleep, timeout};

use super::super::pods::init_failed;
use super::super::{BackendError, Done, Reporter, RunState, Work, unless_cancelled};
use super::DockerBackend;
use super::connection::within;
use super::lifecycle::missing;
use super::observe::Found;
use super::pod_observe::is_up;
use crate::ids::Timestamp;

/// Between two looks at a container that initialises a pod: at least, and at most if the engine
/// does not say before that its process has ended.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(10);

impl DockerBackend {
    /// Starts what is to run of a pod and does not yet.
    pub(super) async fn start_pod(
        &self,
        work: &Work,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let parts = self.pod(work.stream).await?;
        let sandbox = parts.sandbox.ok_or_else(|| missing(work.stream))?;
        let since = sandbox.started_at.filter(|_| is_up(&sandbox));
        let is_left = |one: &&Found| !one.observed.state.has_ended() && !is_of_life(one, since);
        let left = parts.members.iter().filter(is_left);
        try_join_all(left.map(|one| self.stop(&one.observed.engine_id, 0, reporter))).await?;
        let sandbox = self.start_sandbox(sandbox).await?;
        let (inits, others): (Vec<_>, Vec<_>) = parts
            .members
            .into_iter()
            .partition(|one| one.place.as_ref().is_some_and(|place| place.is_init));
        for init in inits {
            self.initialise(&sandbox, init, reporter).await?;
        }
        let started = others.iter().map(|one| self.start_member(one, sandbox.started_at));
        // One that cannot be started keeps none of the others from it.
        join_all(started).await.into_iter().collect::<Result<(), _>>()?;
        Ok(Done::default())
    }

    /// Has one container do its part of initialising a pod, and waits until it has succeeded.
    async fn initialise(
        &self,
        sandbox: &Found,
        init: Found,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        let id = init.observed.engine_id.clone();
        let mut now = init;
        let mut is_started = false;
        loop {
            let is_of_life = is_of_life(&now, sandbox.started_at);
            match (now.observed.state, now.exit_code) {
                (RunState::Exited, Some(0)) if is_of_life => return Ok(()),
                // One that is never retried has had its chance, perhaps by an earlier attempt.
                (RunState::Exited, code) if is_of_life && (is_started || !now.is_retried) => {
                    return Err(init_failed(name(&now), code));
                }
                (RunState::Created | RunState::Exited, _) => {
                    self.start_member(&now, None).await?;
                    is_started = true;
                }
                (RunState::Running | RunState::Paused | RunState::Restarting, _) => {
                    unless_cancelled(reporter, self.until_it_may_have_ended(&id)).await?;
                }
                (RunState::Dead, _) => return Err(removed(&now)),
            }
            let sandbox_now = self.look(&sandbox.observed.engine_id).await?;
            if sandbox_now.is_none_or(|it| !is_up(&it) || it.started_at != sandbox.started_at) {
                let words = "the pod's sandbox ended while the pod was initialised";
                return Err(BackendError::Failed(words.to_owned()));
            }
            now = self.look(&id).await?.ok_or_else(|| removed(&now))?;
        }
    }

    /// Waits for the end of a container's process, but not for long: then it is to be looked at.
    async fn until_it_may_have_ended(&self, id: &str) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let mut end = std::pin::pin!(docker.wait_container(id, None::<WaitContainerOptions>));
        sleep(LOOK_MIN).await;
        // What it answers is found by the look as well.
        drop(timeout(LOOK_MAX, end.next()).await);
        Ok(())
    }

    /// Starts a container of a pod unless it has started since.
    async fn start_member(
        &self,
        found: &Found,
        since: Option<Timestamp>,
    ) -> Result<(), BackendError> {
        if is_of_life(found, since) {
            return Ok(());
        }
        let docker = self.connection.client()?;
        let call = docker.start_container(&found.observed.engine_id, None);
        let started = within(self.connection.limits.quick, call).await;
        let said = |words: String| format!("container {}: {words}", name(found));
        started.map_err(|error| match error {
            BackendError::Refused(words) | BackendError::Missing(words) => {
                BackendError::Refused(said(words))
            }
            BackendError::Failed(words) => BackendError::Failed(said(words)),
            other => other,
        })
    }
}

/// Whether a container was last started in the life of the pod that began then.
fn is_of_life(found: &Found, since: Option<Timestamp>) -> bool {
    since.is_some() && found.started_at >= since
}

fn name(found: &Found) -> &str {
    found.place.as_ref().map_or(&found.observed.engine_name, |place| &place.name)
}

/// It was there when the pod was looked at.
fn removed(found: &Found) -> BackendError {
    BackendError::Refused(format!("container {} of the pod was removed", name(found)))
}
