//! Start, stop, reboot, pause, unpause, kill and remove, each by inspecting first.
//!
//! When the engine refuses, the container is inspected again: somebody else may have been faster.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use tokio::time::{Instant, sleep};

use super::super::{
    BackendError, Done, Operation, Reporter, RunState, Work, labels, unless_cancelled,
};
use super::DockerBackend;
use super::connection::within;
use super::error::is_about_a_program;
use super::observe::Found;
use crate::events::container::NO_KILL;
use crate::events::run::RunEnd;
use crate::ids::StreamId;

/// Exit codes of a program that cannot be run, and of one that does not exist (POSIX, "exit
/// status").
const PROGRAM_CODES: [i64; 2] = [126, 127];

/// Between two looks at a container that is being removed: short beside what people notice.
pub(super) const REMOVAL_POLL: Duration = Duration::from_millis(250);

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
            return Ok(done(operation, &found));
        }
        let asked = self.ask(&found.observed.engine_id, state, operation, reporter).await;
        let error = match asked {
            Ok(end) => return Ok(self.after(work.stream, operation, end).await),
            Err(
                error @ (BackendError::Unavailable(_)
                | BackendError::TimedOut(_)
                | BackendError::Cancelled),
            ) => return Err(error),
            Err(error) => error,
        };
        match (self.find(work.stream).await?, error) {
            (None, _) => Err(missing(work.stream)),
            (Some(now), _) if is_settled(&now) => Ok(done(operation, &now)),
            (Some(now), BackendError::Refused(words)) => {
                Err(refused(operation, now.exit_code, words))
            }
            // Something else is missing: the network, say.
            (Some(_), BackendError::Missing(words)) => Err(BackendError::Refused(words)),
            (Some(_), error) => Err(error),
        }
    }

    /// What the engine says of it now that it is done; nothing if it does not answer any more, as
    /// it is done nevertheless.
    async fn after(&self, stream: StreamId, operation: &Operation, end: Option<RunEnd>) -> Done {
        let says = matches!(
            operation,
            Operation::Start | Operation::Stop { .. } | Operation::Reboot { .. }
        );
        let found = if says { self.find(stream).await.ok().flatten() } else { None };
        let told = found.map(|found| done(operation, &found)).unwrap_or_default();
        Done { end: end.or(told.end), ..told }
    }

    /// Asks the engine for it; how the process ended that was stopped for a reboot.
    async fn ask(
        &self,
        id: &str,
        state: RunState,
        operation: &Operation,
        reporter: &dyn Reporter,
    ) -> Result<Option<RunEnd>, BackendError> {
        let docker = self.connection.client()?;
        let quick = self.connection.limits.quick;
        let mut end = None;
        match operation {
            Operation::Start | Operation::StartPod => {
                within(quick, docker.start_container(id, None)).await?;
            }
            Operation::Stop { grace_s } => self.stop(id, *grace_s, reporter).await?,
            // Not the engine's own restart: it hides why a start is refused behind a 500, and
            // goes on by itself after it was cancelled.
            Operation::Reboot { grace_s } => {
                if !state.has_ended() {
                    self.stop(id, *grace_s, reporter).await?;
                    end = self.look(id).await.ok().flatten().and_then(|found| found.end());
                }
                within(quick, docker.start_container(id, None)).await?;
            }
            Operation::Pause => within(quick, docker.pause_container(id)).await?,
            Operation::Unpause => within(quick, docker.unpause_container(id)).await?,
            Operation::Kill { signal } => {
                let options = KillContainerOptionsBuilder::new().signal(signal).build();
                within(quick, docker.kill_container(id, Some(options))).await?;
            }
        }
        Ok(end)
    }

    /// Has the engine send the stop signal and, after the grace period, `SIGKILL`.
    ///
    /// The engine keeps the time, so the stop completes even if this process does not, and the
    /// call returns as soon as the container has ended in any way. Waiting for it takes one idle
    /// connection, and ends when the attempt is cancelled.
    pub(super) async fn stop(
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
    /// attempt only what is found by its name: a list of all takes the engine longer.
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
                let aside = self.look(&labels::aside_name(stream.id)).await?;
                let aside = aside.filter(|it| self.owns(it, stream));
                vec![self.find(stream).await?, aside]
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

/// What is told of work that is done, by the container as it is found after that.
fn done(operation: &Operation, found: &Found) -> Done {
    match operation {
        Operation::Start | Operation::StartPod | Operation::Reboot { .. } => {
            Done { run: Some(found.run.clone()), ..Done::default() }
        }
        Operation::Stop { .. } => Done { end: found.end(), ..Done::default() },
        Operation::Pause | Operation::Unpause | Operation::Kill { .. } => Done::default(),
    }
}

/// A refusal, with the exit code that the container has now. Where its program cannot be run, the
/// engine gave it that for it; otherwise it is that of the last process.
fn refused(operation: &Operation, exit_code: Option<i64>, words: String) -> BackendError {
    let starts = matches!(operation, Operation::Start | Operation::Reboot { .. });
    match exit_code.filter(|code| PROGRAM_CODES.contains(code)) {
        Some(exit_code) if starts && is_about_a_program(&words) => {
            BackendError::NotStarted { words, exit_code }
        }
        _ => BackendError::Refused(words),
    }
}

/// The engine has nothing for this object.
pub(super) fn missing(stream: StreamId) -> BackendError {
    BackendError::Missing(format!("the Docker engine has no {stream}"))
}
