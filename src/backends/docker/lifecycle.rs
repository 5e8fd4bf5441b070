//! Start, stop, reboot, pause, unpause, kill and remove, each by inspecting first.
//!
//! When the engine refuses, the container is inspected again: somebody else may have been faster.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use tokio::time::{Instant, sleep};

use super::super::{BackendError, Done, Operation, Reporter, RunState, Work, unless_cancelled};
use super::DockerBackend;
use super::connection::within;
use super::observe::Found;
use crate::events::container::NO_KILL;
use crate::ids::StreamId;

/// Between two looks at a container that is being removed: short beside what people notice.
const REMOVAL_POLL: Duration = Duration::from_millis(250);

impl DockerBackend {
    /// Brings a container into the state that the work asks for.
    pub(super) async fn change(
        &self,
        work: &Work,
        operation: &Operation,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let found = self.find(work.stream).await?.ok_or_else(|| missing(work.stream))?;
        let state = found.observed.state;
        let is_settled = |found: &Found| {
            let started_at = found.started_at.map(|time| self.ends.clock.ours(time));
            work.is_settled(found.observed.state, started_at)
        };
        if work.attempt > 1 {
            self.info().await?;
        }
        if is_settled(&found) {
            return Ok(Done::default());
        }
        let asked = self.ask(&found.observed.engine_id, state, operation, reporter).await;
        let error = match asked {
            Ok(()) => return Ok(Done::default()),
            Err(
                error @ (BackendError::Unavailable(_)
                | BackendError::TimedOut(_)
                | BackendError::Cancelled),
            ) => return Err(error),
            Err(error) => error,
        };
        match (self.find(work.stream).await?, error) {
            (None, _) => Err(missing(work.stream)),
            (Some(found), _) if is_settled(&found) => Ok(Done::default()),
            // Something else is missing: the network, say.
            (Some(_), BackendError::Missing(words)) => Err(BackendError::Refused(words)),
            (Some(_), error) => Err(error),
        }
    }

    /// Asks the engine for it.
    async fn ask(
        &self,
        id: &str,
        state: RunState,
        operation: &Operation,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let quick = self.connection.limits.quick;
        match operation {
            Operation::Start => within(quick, docker.start_container(id, None)).await,
            Operation::Stop { grace_s } => self.stop(id, *grace_s, reporter).await,
            // Not the engine's own restart: it hides why a start is refused behind a 500, and
            // goes on by itself after it was cancelled.
            Operation::Reboot { grace_s } => {
                if !state.has_ended() {
                    self.stop(id, *grace_s, reporter).await?;
                }
                within(quick, docker.start_container(id, None)).await
            }
            Operation::Pause => within(quick, docker.pause_container(id)).await,
            Operation::Unpause => within(quick, docker.unpause_container(id)).await,
            Operation::Kill { signal } => {
                let options = KillContainerOptionsBuilder::new().signal(signal).build();
                within(quick, docker.kill_container(id, Some(options))).await
            }
        }
    }

    /// Has the engine send the stop signal and, after the grace period, `SIGKILL`.
    ///
    /// The engine keeps the time, so the stop completes even if this process does not, and the
    /// call returns as soon as the container has ended in any way. Waiting for it takes one idle
    /// connection, and ends when the attempt is cancelled.
    async fn stop(
        &self,
        id: &str,
        grace_s: u32,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let limit = self.connection.limits.quick + Duration::from_secs(u64::from(grace_s));
        let seconds = match grace_s {
            NO_KILL => -1,
            grace_s => i32::try_from(grace_s).unwrap_or(i32::MAX),
        };
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let call = within(limit, docker.stop_container(id, Some(options)));
        unless_cancelled(reporter, call).await
    }

    /// Removes every container of ours for this object, and waits until none is left. At the first
    /// attempt only the one that is found by its name: a list of all takes the engine longer.
    pub(super) async fn delete(&self, work: &Work) -> Result<Done, BackendError> {
        let stream = work.stream;
        let limit = self.connection.limits.removal;
        let until = Instant::now() + limit;
        loop {
            let mut waits_for = None;
            let all = if work.attempt > 1 {
                let ids = self.ids_of(stream).await?;
                let looks = ids.iter().map(|id| self.look(id));
                futures_util::future::try_join_all(looks).await?
            } else {
                vec![self.find(stream).await?]
            };
            for found in all.into_iter().flatten() {
                match self.remove_container(&found, limit).await {
                    Ok(()) | Err(BackendError::Missing(_)) => {}
                    // Its removal is in progress already.
                    Err(BackendError::Refused(words)) => waits_for = Some(words),
                    Err(error) => return Err(error),
                }
            }
            match waits_for {
                None => return Ok(Done::default()),
                Some(words) if Instant::now() >= until => return Err(BackendError::Failed(words)),
                Some(_) => sleep(REMOVAL_POLL).await,
            }
        }
    }
}

/// The engine has nothing for this object.
pub(super) fn missing(stream: StreamId) -> BackendError {
    BackendError::Missing(format!("the Docker engine has no {stream}"))
}
