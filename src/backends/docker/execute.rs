//! Running a command in a container, once.
//!
//! An error other than `Unavailable`, `Missing` or `Refused` means that it may have run.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{sleep, timeout};

use super::super::{BackendError, Done, OutputFrame, OutputStream, Reporter, Work};
use super::DockerBackend;
use super::error::classify;
use super::lifecycle::missing;
use super::logs::frame;

/// Silence after which the engine is asked whether the command still runs: what it started in
/// the background may keep the output open after it.
const SILENCE: Duration = Duration::from_secs(5);

/// How long the engine may take to know the exit code of a command whose output has ended: it
/// learns of both from different sides, milliseconds apart.
const EXIT_CODE_POLL: Duration = Duration::from_millis(20);
const EXIT_CODE_LOOKS: u32 = 500;

impl DockerBackend {
    /// Runs a command and waits for its end.
    pub(super) async fn execute(
        &self,
        work: &Work,
        command: &[String],
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        if work.attempt > 1 {
            let words = "it may have run already; not run a second time";
            return Err(BackendError::Refused(words.to_owned()));
        }
        let found = self.find(work.stream).await?.ok_or_else(|| missing(work.stream))?;
        let docker = self.connection.client()?;
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec =
            self.connection.quick(docker.create_exec(&found.observed.engine_id, config)).await?;
        let started =
            self.connection.quick(docker.start_exec(&exec.id, None::<StartExecOptions>)).await;
        match started {
            Ok(StartExecResults::Attached { output, input: _input }) => {
                self.pass_on(&exec.id, output, reporter).await?;
            }
            Ok(StartExecResults::Detached) => {}
            // Engines differ in whether a command that is not there is an answer or an output.
            Err(BackendError::Refused(words) | BackendError::Failed(words)) => {
                let data = Bytes::from(format!("{words}\n"));
                reporter.output(OutputFrame { stream: OutputStream::Stderr, data }).await;
            }
            Err(error) => return Err(may_have_run(error)),
        }
        let exit_code = self.exit_code(&exec.id).await?;
        Ok(Done { engine_id: None, exit_code: Some(exit_code) })
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
    async fn exit_code(&self, exec_id: &str) -> Result<i64, BackendError> {
        for _ in 0..EXIT_CODE_LOOKS {
            if let Some(code) = self.ended(exec_id).await? {
                return Ok(code);
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
