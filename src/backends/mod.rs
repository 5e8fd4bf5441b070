//! The one trait that every backend implements, and the words of it.
//!
//! `action` is what can be asked for, `work` one attempt at it, `observed` what an engine has.
//! `docker` drives a real engine, `fake` is a model with fault knobs; one contract suite runs on
//! both, wrapped by `unsealing`. Not here: when work is asked for (`actors`), or
//! retried (`agent`).

mod action;
pub mod docker;
pub mod fake;
mod labels;
mod observed;
mod pods;
mod recreate;
pub mod unsealing;
mod work;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use self::action::{
    Action, Adjustment, Desired, Exec, Load, Operation, Order, Recreation, Removed, Replacement,
    Traits,
};
pub use self::labels::{container_name, network_name};
pub use self::observed::{
    End, EngineFacts, EngineObject, Observed, ObservedMember, ObservedNetwork, ObservedPod,
    RunState,
};
pub use self::work::{Done, Outcome, Progress, Pull, Retry, Work, WorkResult};
use crate::ids::{ObjectId, StreamId, Timestamp};

/// What part of a container's output is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only the last lines, this many; `None`: all.
    pub tail: Option<u64>,
    /// Only what was written at or after.
    pub since: Option<Timestamp>,
    /// Only what was written before.
    pub until: Option<Timestamp>,
    /// Whether each line starts with its time.
    pub timestamps: bool,
    /// Whether to go on until the container ends.
    pub follow: bool,
    /// The container of a pod whose output it is.
    #[serde(default)]
    pub container: Option<String>,
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

/// Something about a container or a pod may have changed at the engine.
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
    /// The engine refused a start for good, because the container's program cannot be run.
    #[error("{words}")]
    NotStarted {
        /// The engine's words.
        words: String,
        /// The exit code that the engine gives it.
        exit_code: i64,
    },
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

/// Why a container is not created whose name on the engine another one has.
fn name_taken(name: &str, engine_id: &str) -> BackendError {
    let words = format!("the name {name} is used by container {engine_id}, which is not ours");
    BackendError::Refused(words)
}

/// Why a container is not created in a bay whose network the engine does not have. The bay's own
/// creation may be behind, so it is tried again.
fn no_network(bay_id: ObjectId) -> BackendError {
    BackendError::Failed(format!(
        "the network of bay {bay_id} does not exist: its creation is not done or has failed, or it \
         was removed outside Magnum"
    ))
}

/// Where a backend says what happens while it works.
#[async_trait]
pub trait Reporter: Send + Sync {
    /// A step is done, or begins. Each call is recorded.
    async fn progress(&self, progress: Progress);
    /// How far it is since the last step, in the words of that. Nothing of it is recorded, so it
    /// may be said as often as there is news.
    async fn underway(&self, progress: Progress);
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
/// Every call but a command has a timeout of its own and is safe to repeat: work that was done
/// before answers as done ("already exists" with our id is success, with another's a refusal).
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Does work, or finds that it was done.
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError>;

    /// One container, `None` if the engine has none for this object.
    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError>;

    /// One pod, `None` if the engine has nothing of it.
    async fn inspect_pod(&self, stream: StreamId) -> Result<Option<ObservedPod>, BackendError>;

    /// Every object of this node that is ours, each with the record that it belongs to: a
    /// container or a pod, running or not, with its own, and a network with that of its bay.
    async fn inventory(&self) -> Result<Vec<(StreamId, EngineObject)>, BackendError>;

    /// What changes at the engine, from now on; ends when the connection does.
    async fn notices(&self) -> Result<BoxStream<'static, Notice>, BackendError>;

    /// The output of a container, or of one of a pod.
    async fn logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputFrame, BackendError>>, BackendError>;

    /// Whether the engine answers, and what it is.
    async fn probe(&self) -> Result<EngineFacts, BackendError>;
}
