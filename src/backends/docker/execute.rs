//! Running a command in a container, once, and ending one that runs.
//!
//! An error other than `Unavailable`, `Missing`, `Refused` or `Cancelled` means that it may have
//! run. Not here: the processes of a command (`processes.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep, timeout};

use super::super::{
    BackendError, Done, END_GRACE, OutputFrame, OutputStream, Reporter, Work, unless_cancelled,
};
use super::DockerBackend;
use super::error::classify;
use super::logs::frame;
use super::processes::Session;
use crate::ids::WorkId;

/// Silence after which the engine is asked whether the command still runs: what it started in
/// the background may keep the output open after it.
const SILENCE: Duration = Duration::from_secs(5);

/// How long the engine may take to know the exit code of a command whose output has ended: it
/// learns of both from different sides, milliseconds apart.
const EXIT_CODE_POLL: Duration = Duration::from_millis(20);
const EXIT_CODE_LOOKS: u32 = 500;

/// How often it is looked whether a command that is to end has begun: it takes milliseconds.
const START_POLL: Duration = Duration::from_millis(20);
const START_LOOKS: u32 = 50;

/// The commands that run by this process. One that an earlier process started is in nobody's
/// list: the record says that its outcome is unknown.
#[derive(Default)]
pub(super) struct Executions(Mutex<HashMap<WorkId, RunningExec>>);

/// A command that runs, or is about to.
#[derive(Clone, Default)]
struct RunningExec {
    /// Whether it is to end, and so does not even start.
    ends: Arc<AtomicBool>,
    /// The engine's ids of it and its container, once it has them.
    ids: Option<(String, String)>,
}

impl Executions {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkId, RunningExec>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: WorkId) -> Option<RunningExec> {
        self.lock().get(&id).cloned()
    }
}

/// Removes a command from the list when it has ended in any way.
struct Listed<'a>(&'a Executions, WorkId);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl DockerBackend {
    /// Runs a command and waits for its end; in a pod, in its container of this name.
    pub(super) async fn execute(
        &self,
        work: &Work,
        member: Option<&str>,
        command: &[String],
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        if work.attempt > 1 {
            let words = "it may have run already; it is not run again";
            return Err(BackendError::Refused(words.to_owned()));
        }
        let execution = RunningExec::default();
        self.executions.lock().insert(work.id, execution.clone());
        let _listed = Listed(&self.executions, work.id);
        let created = self.create_execution(work, member, command);
        let (exec_id, engine_id) = unless_cancelled(reporter, created).await?;
        if execution.ends.load(Ordering::Acquire) {
            return Err(BackendError::Cancelled);
        }
        let running = self.run(&exec_id, reporter);
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return ended,
            () = reporter.cancelled() => {}
        }
        self.kill(&exec_id, &engine_id).await.map_err(|error| match error {
            BackendError::Cancelled => error,
            error => may_have_run(error),
        })?;
        // What it wrote before is passed on, as far as its reader keeps up.
        running.await
    }

    /// Ends a command at once, also one that is just about to start.
    async fn kill(&self, exec_id: &str, engine_id: &str) -> Result<(), BackendError> {
        for _ in 0..START_LOOKS {
            let killed = self.end_processes(exec_id, engine_id, Duration::ZERO).await?;
            if killed || self.ended(exec_id).await?.is_some() {
                return Ok(());
            }
            sleep(START_POLL).await;
        }
        Err(BackendError::Cancelled)
    }

    /// Has the engine take up a command, without starting it.
    async fn create_execution(
        &self,
        work: &Work,
        member: Option<&str>,
        command: &[String],
    ) -> Result<(String, String), BackendError> {
        let found = self.find_one(work.stream, member).await?;
        let engine_id = found.observed.engine_id;
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let docker = self.connection.client()?;
        let exec = self.connection.quick(docker.create_exec(&engine_id, config)).await?;
        if let Some(execution) = self.executions.lock().get_mut(&work.id) {
            execution.ids = Some((exec.id.clone(), engine_id.clone()));
        }
        Ok((exec.id, engine_id))
    }

    /// Starts a command and waits for its end.
    async fn run(&self, exec_id: &str, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        let docker = self.connection.client()?;
        let started =
            self.connection.quick(docker.start_exec(exec_id, None::<StartExecOptions>)).await;
        match started {
            Ok(StartExecResults::Attached { output, input: _input }) => {
                self.pass_on(exec_id, output, reporter).await?;
            }
            Ok(StartExecResults::Detached) => {}
            // Engines differ in whether a command that is not there is an answer or an output.
            Err(error @ (BackendError::Refused(_) | BackendError::Failed(_))) => {
                let data = Bytes::from(format!("{error}\n"));
                reporter.output(OutputFrame { stream: OutputStream::Stderr, data }).await;
                // One that was not started at all, as in a paused container, has no exit code.
                return match (self.exit_code(exec_id).await, error) {
                    (Err(BackendError::TimedOut(_)), refused @ BackendError::Refused(_)) => {
                        Err(refused)
                    }
                    (ended, _) => ended,
                };
            }
            Err(error) => return Err(may_have_run(error)),
        }
        self.exit_code(exec_id).await
    }

    /// Ends a command that runs by this process, with all that it started.
    pub(super) async fn end_execution(&self, id: WorkId) -> Result<Done, BackendError> {
        let until = Instant::now() + self.connection.limits.quick;
        while let Some(execution) = self.executions.get(id) {
            execution.ends.store(true, Ordering::Release);
            if let Some((exec_id, engine_id)) = execution.ids
                && self.end_processes(&exec_id, &engine_id, END_GRACE).await?
            {
                break;
            }
            if Instant::now() >= until {
                let words = "the command neither starts nor ends";
                return Err(BackendError::TimedOut(words.to_owned()));
            }
            sleep(START_POLL).await;
        }
        Ok(Done::default())
    }

    /// Ends the processes of a command; whether it ran.
    async fn end_processes(
        &self,
        exec_id: &str,
        engine_id: &str,
        grace: Duration,
    ) -> Result<bool, BackendError> {
        for _ in 0..EXIT_CODE_LOOKS {
            let Some(leader) = self.leader(exec_id).await? else { return Ok(false) };
            let session = Session { leader, engine_id: engine_id.to_owned() };
            if session.is_visible() {
                return session.end(grace).await.map(|()| true);
            }
            // It may have ended, which the engine learns a moment later.
            sleep(EXIT_CODE_POLL).await;
        }
        let words = "the command's process is not visible here: ending a command needs an agent \
                     that runs as root in the PID namespace of its engine";
        Err(BackendError::Refused(words.to_owned()))
    }

    /// The process of a command that runs, by its number on the engine's machine.
    async fn leader(&self, exec_id: &str) -> Result<Option<i32>, BackendError> {
        let docker = self.connection.client()?;
        let exec = self.connection.quick(docker.inspect_exec(exec_id)).await?;
        let pid = exec.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        Ok(pid.filter(|_| exec.running == Some(true)))
    }

    /// Passes the output on until the command has ended.
    async fn pass_on(
        &self,
        exec_id: &str,
        mut output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        loop {
            match timeout(SILENCE, output.next()).await {
                Ok(Some(Ok(piece))) => reporter.output(frame(piece)).await,
                Ok(Some(Err(error))) => return Err(may_have_run(classify(error))),
                Ok(None) => return Ok(()),
                Err(_) => {
                    if self.ended(exec_id).await?.is_some() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The exit code of a command whose output has ended.
    async fn exit_code(&self, exec_id: &str) -> Result<Done, BackendError> {
        for _ in 0..EXIT_CODE_LOOKS {
            if let Some(code) = self.ended(exec_id).await? {
                return Ok(Done { exit_code: Some(code), ..Done::default() });
            }
            sleep(EXIT_CODE_POLL).await;
        }
        Err(BackendError::TimedOut("the command's output ended without an exit code".to_owned()))
    }

    /// The exit code of a command, none while it runs.
    async fn ended(&self, exec_id: &str) -> Result<Option<i64>, BackendError> {
        let docker = self.connection.client().map_err(may_have_run)?;
        let call = docker.inspect_exec(exec_id);
        let exec = self.connection.quick(call).await.map_err(may_have_run)?;
        Ok(exec.exit_code.filter(|_| exec.running != Some(true)))
    }
}

/// After the start, whatever goes wrong leaves open what the command did.
fn may_have_run(error: BackendError) -> BackendError {
    let words = match error {
        BackendError::TimedOut(words) => words,
        other => other.to_string(),
    };
    BackendError::TimedOut(format!("the command may have run: {words}"))
}
