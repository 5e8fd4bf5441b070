//! Work, its outcomes, and the one trait that every backend implements.
//!
//! `docker` drives a real engine, `fake` is a model with fault knobs; one contract suite runs on
//! both, behind `unsealing`, the door to each. Not here: when work is asked for (`actors`), or
//! retried (`agent/worker.rs`).

pub mod docker;
pub mod fake;
pub mod unsealing;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events::Verb;
use crate::events::container::ContainerSpec;
use crate::ids::{ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// What an attempt may take beyond the backend's own limits (a pull has half an hour), so that a
/// backend that forgets a limit blocks nothing forever.
const ATTEMPT: Duration = Duration::from_secs(40 * 60);

/// What is to be done, with everything that is needed to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make the container, pulling its image first if it is not there; do not start it.
    CreateContainer {
        /// Its name, for people and as its host name in the bay's network.
        name: Option<String>,
        /// The bay whose network it joins; refused if the network does not exist.
        bay_id: ObjectId,
        /// What it is made from.
        spec: ContainerSpec,
    },
    /// Start it; fine if it runs.
    StartContainer,
    /// Stop it; fine if it does not run.
    StopContainer {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
    /// Stop and start it.
    RebootContainer {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
    /// Freeze it; fine if it is frozen.
    PauseContainer,
    /// Let it go on; fine if it is not frozen.
    UnpauseContainer,
    /// Send a signal; fine if it has ended.
    KillContainer {
        /// `SIGKILL`.
        signal: String,
    },
    /// Run a command in it; the output goes to [`Reporter::output`]. Never done twice.
    ExecuteInContainer {
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// End a command that runs in it; fine if it has ended.
    EndExecution {
        /// The work that runs the command.
        execution_id: WorkId,
    },
    /// Remove it by force; fine if it is gone.
    DeleteContainer,
    /// Make a bay's network; fine if ours is there.
    CreateNetwork,
    /// Remove a bay's network; fine if it is gone.
    DeleteNetwork,
    /// Delete all containers of a bay; done by the conductor, never by a backend.
    EmptyBay,
}

impl Action {
    /// What it does to the object.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::CreateContainer { .. } | Self::CreateNetwork => Verb::Create,
            Self::StartContainer => Verb::Start,
            Self::StopContainer { .. } => Verb::Stop,
            Self::RebootContainer { .. } => Verb::Reboot,
            Self::PauseContainer => Verb::Pause,
            Self::UnpauseContainer => Verb::Unpause,
            Self::KillContainer { .. } => Verb::Kill,
            Self::ExecuteInContainer { .. } => Verb::Execute,
            Self::EndExecution { .. } => Verb::EndExecution,
            Self::DeleteContainer | Self::DeleteNetwork => Verb::Delete,
            Self::EmptyBay => Verb::Empty,
        }
    }

    /// Its verb in events and messages: `start`.
    pub const fn name(&self) -> &'static str {
        self.verb().name()
    }

    /// What an attempt may take; `None` if it may take forever: a command runs as long as it likes,
    /// and a bay is empty when its containers are gone, each by work of its own.
    pub const fn limit(&self) -> Option<Duration> {
        match self {
            Self::ExecuteInContainer { .. } | Self::EmptyBay => None,
            _ => Some(ATTEMPT),
        }
    }

    /// Whether it is done again where nobody knows if it was done. Not a command, and not a signal
    /// that a process may handle.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::ExecuteInContainer { .. } => false,
            Self::KillContainer { signal } => {
                matches!(signal.trim_start_matches("SIG"), "KILL" | "9")
            }
            _ => true,
        }
    }
}

/// One attempt at something that an event asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The event that asked for it; the idempotency key at the backend (rule W2).
    pub id: WorkId,
    /// Which attempt this is, from 1. From 2 on an earlier one may have done it.
    pub attempt: u32,
    /// Not to be tried before; at once where there is none.
    pub not_before: Option<Timestamp>,
    /// When nothing stood before it any more.
    pub due_at: Option<Timestamp>,
    /// The object: a container or a bay.
    pub stream: StreamId,
    /// Its tenant.
    pub project: ProjectId,
    /// The node that does it.
    pub node_id: ObjectId,
    /// The request that it came from, for tracing.
    pub request_id: String,
    /// What to do.
    pub action: Action,
}

/// The outcome of one attempt. It names its work, so a late or repeated one is harmless (rule W4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The work.
    pub work_id: WorkId,
    /// Which attempt.
    pub attempt: u32,
    /// The outcome of it.
    pub result: WorkResult,
}

/// The outcome of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkResult {
    /// Done, now or by an earlier attempt.
    Done(Done),
    /// Refused for good, or out of attempts.
    Failed {
        /// The backend's words.
        reason: String,
    },
    /// Nobody can say.
    Unknown {
        /// Why.
        reason: String,
    },
    /// Not now; tried again.
    Blocked {
        /// What it waits for.
        blocked_on: String,
        /// The backend's words.
        reason: String,
        /// When it is tried next at the latest.
        retry_at: Timestamp,
    },
    /// Not begun yet: it waits for a place, and begins as soon as there is one.
    Waiting {
        /// What it waits for.
        blocked_on: String,
        /// In words.
        reason: String,
    },
    /// Still at it.
    Progress(Progress),
}

/// What done work leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The engine's id of what was made.
    pub engine_id: Option<String>,
    /// The exit code of an executed command.
    pub exit_code: Option<i64>,
}

/// How far a pull is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The engine's words.
    pub message: String,
    /// Bytes so far.
    pub current_bytes: u64,
    /// Bytes in all, as far as is known.
    pub total_bytes: u64,
}

/// Whether the engine's process of a container lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Being started again by the engine's restart policy.
    Restarting,
    /// Ended.
    Exited,
    /// Half gone: the engine says `dead` or `removing`.
    Dead,
}

impl RunState {
    /// As it is shown: `running`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// A container as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The engine's id.
    pub engine_id: String,
    /// The name that the engine has for it.
    pub engine_name: String,
    /// Whether [`Observed::engine_name`] is the name that we gave.
    pub name_is_ours: bool,
    /// Whether it runs.
    pub state: RunState,
    /// The last exit code, where it ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel OOM-killed it.
    pub oom_killed: bool,
    /// When it last ended, where it is not running.
    pub finished_at: Option<Timestamp>,
    /// How it ended so far, the last end last, whether it runs again or not; as far back as the
    /// engine tells. An end has the same time whenever it is told.
    #[serde(default)]
    pub ends: Vec<End>,
    /// How often the engine's restart policy started it since somebody else did.
    #[serde(default)]
    pub restarts: u32,
}

/// How a container's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its exit code; `None` if it runs again and the engine has forgotten it.
    pub exit_code: Option<i64>,
    /// Whether the kernel OOM-killed it.
    pub oom_killed: bool,
    /// When the engine told of it.
    pub finished_at: Timestamp,
}

/// A bay's network as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// The bay that its labels name.
    pub bay_id: ObjectId,
    /// The engine's id.
    pub engine_id: String,
    /// The name that the engine has for it.
    pub engine_name: String,
}

/// What is known of a node whose engine answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineFacts {
    /// The engine and its version: `docker 20.10.24`.
    pub engine: String,
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// What part of a container's output is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only the last lines, this many; `None`: all.
    pub tail: Option<u64>,
    /// Only what was written at or after.
    pub since: Option<Timestamp>,
    /// Whether each line starts with its time.
    pub timestamps: bool,
    /// Whether to go on until the container ends.
    pub follow: bool,
}

/// Which of a process's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a process's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFrame {
    /// Which output.
    pub stream: OutputStream,
    /// The bytes; lines may be cut anywhere.
    pub data: Bytes,
}

/// Something about a container may have changed at the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The notices start, or start again after a gap: everything is to be inspected.
    Connected,
    /// This object is to be inspected.
    Changed(StreamId),
}

/// Why a backend did not do what it was asked. The words are the engine's, without secrets and
/// without where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum BackendError {
    /// The engine does not answer at all: wait for it.
    #[error("the engine is not available: {0}")]
    Unavailable(String),
    /// The engine did not answer in time: what it did must be looked up.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// The engine failed; another attempt may succeed.
    #[error("{0}")]
    Failed(String),
    /// The engine refused for good.
    #[error("{0}")]
    Refused(String),
    /// The object is not there.
    #[error("{0}")]
    Missing(String),
    /// [`Reporter::cancelled`] ended the attempt. What could not be undone is done; whatever was
    /// left behind is for the delete that follows (rule W5).
    #[error("cancelled")]
    Cancelled,
}

/// How long a command that is to end has from `SIGTERM` to `SIGKILL`: what an engine gives a
/// container.
const END_GRACE: Duration = Duration::from_secs(10);

/// Attempts at a container before a network that does not exist counts as gone. The bay's own
/// creation is recorded first, but may be a moment behind, or be retried once itself.
const ATTEMPTS_WITHOUT_NETWORK: u32 = 3;

/// Why a container is not created in a bay whose network the engine does not have.
fn no_network(work: &Work, bay_id: ObjectId) -> BackendError {
    if work.attempt < ATTEMPTS_WITHOUT_NETWORK {
        return BackendError::Failed(format!("the network of bay {bay_id} does not exist yet"));
    }
    BackendError::Refused(format!(
        "the network of bay {bay_id} is gone: the bay was deleted, or its network was removed \
         outside Magnum; create the container in another bay"
    ))
}

/// Where a backend says what happens while it works.
#[async_trait]
pub trait Reporter: Send + Sync {
    /// How far it is. May be called often; the caller thins it out.
    async fn progress(&self, progress: Progress);
    /// Output of an executed command; waits while the reader is slow.
    async fn output(&self, frame: OutputFrame);
    /// Resolves when this attempt is to end early; stays resolved from then on. Whatever can be
    /// given up (a pull, a grace period, a running command) is, and what cannot be is waited for.
    async fn cancelled(&self) {
        std::future::pending().await
    }
}

/// The answer of a call, which is given up when the attempt is cancelled.
async fn unless_cancelled<T>(
    reporter: &dyn Reporter,
    call: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    tokio::select! {
        biased;
        () = reporter.cancelled() => Err(BackendError::Cancelled),
        answer = call => answer,
    }
}

/// Something that runs containers on one node.
///
/// Every call has a timeout of its own and is safe to repeat: work that was done before answers
/// as done ("already exists" with our id is success, with another's a refusal).
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Does work, or finds that it was done.
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError>;

    /// One container, `None` if the engine has none for this object.
    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError>;

    /// Every container of this node that is ours, running or not.
    async fn list(&self) -> Result<Vec<(StreamId, Observed)>, BackendError>;

    /// Every network of this node that is ours.
    async fn networks(&self) -> Result<Vec<ObservedNetwork>, BackendError>;

    /// What changes at the engine, from now on; ends when the connection does.
    async fn notices(&self) -> Result<BoxStream<'static, Notice>, BackendError>;

    /// A container's output.
    async fn logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputFrame, BackendError>>, BackendError>;

    /// Whether the engine answers, and what it is.
    async fn probe(&self) -> Result<EngineFacts, BackendError>;
}
