//! The Docker engine behind [`Backend`], over its socket on this machine.
//!
//! One concern a file: `connection` (calls and their limits), `clock` (the engine's beside ours),
//! `error` (what the engine's refusals mean), `paths` (what of its words is not told), `create`,
//! `bounds`, `pull`, `network`, `endpoints`, `subnet`, `lifecycle`, `recreate`, `rename`, `adjust`,
//! `execute`, `processes`, `observe`, `run`, `notices`, `ends`, `logs`. Of pods: `pod_create` with
//! `pod_sandbox` (and its image: `pause`, in an archive: `tar`), `pod_volumes` and `pod_member`;
//! `pod_start`, `pod_remove`, `pod_observe`. What is ours is found by its labels each time, so a
//! restarted process knows as much as the one before. Not here: retries, which are the worker's.

mod adjust;
mod bounds;
mod clock;
mod connection;
mod create;
mod endpoints;
mod ends;
mod error;
mod execute;
mod lifecycle;
mod logs;
mod network;
mod notices;
mod observe;
mod paths;
mod pause;
mod pod_create;
mod pod_member;
mod pod_observe;
mod pod_remove;
mod pod_sandbox;
mod pod_start;
mod pod_volumes;
mod processes;
mod pull;
mod recreate;
mod rename;
mod run;
mod subnet;
mod tar;

use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use self::connection::Connection;
pub use self::connection::Limits;
use self::endpoints::Endpoints;
use self::ends::Ends;
use self::execute::Executions;
use self::network::Networks;
use super::recreate::recreate;
use super::{
    Action, Adjustment, Backend, BackendError, Desired, Done, EngineFacts, EngineObject, Exec,
    LogQuery, Notice, Observed, ObservedPod, Operation, OutputFrame, Removed, Replacement,
    Reporter, Work, observed,
};
use crate::allowed::Allowed;
use crate::ids::{ObjectId, StreamId};
use crate::text;

/// A Docker engine as one node. Opens a new connection for each call, so an engine that went away
/// and came back is used again without further ado.
pub struct DockerBackend {
    /// How to reach it.
    connection: Connection,
    /// The node that it is; marks what is ours.
    node_id: ObjectId,
    /// Bays whose networks exist, and what is held while one is created.
    networks: Networks,
    /// Whose turn it is to leave them.
    endpoints: Endpoints,
    /// What only its notices tell.
    ends: Ends,
    /// Commands that run by this process.
    executions: Executions,
    /// Held while the engine is given the image of sandboxes: once is enough.
    importing: tokio::sync::Mutex<()>,
    /// What its containers may use of this machine.
    allowed: Allowed,
    /// Where the engine writes the output of containers, as far as it has said so.
    log_driver: Mutex<Option<String>>,
}

impl DockerBackend {
    /// The engine that listens on `socket`, as the node `node_id`. It need not be there yet.
    pub fn new(socket: PathBuf, node_id: ObjectId) -> Self {
        Self::with_limits(socket, node_id, Limits::default())
    }

    /// The same with other limits.
    pub fn with_limits(socket: PathBuf, node_id: ObjectId, limits: Limits) -> Self {
        Self {
            connection: Connection::new(socket, limits),
            node_id,
            networks: Networks::default(),
            endpoints: Endpoints::default(),
            ends: Ends::default(),
            executions: Executions::default(),
            importing: tokio::sync::Mutex::default(),
            allowed: Allowed::default(),
            log_driver: Mutex::default(),
        }
    }

    /// The same, where containers may use this of the machine.
    #[must_use]
    pub fn allowing(self, allowed: Allowed) -> Self {
        Self { allowed, ..self }
    }
}

#[async_trait]
impl Backend for DockerBackend {
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        match &work.action {
            Action::Apply(Desired::Network) => {
                self.ensure_network(work.stream.id, &work.project).await
            }
            Action::Apply(Desired::Container { name, bay_id, spec }) => {
                self.create(work, name.as_deref(), *bay_id, spec, reporter).await
            }
            Action::Adjust(Adjustment::Name { name, bay_id }) => {
                self.rename_in_network(work, name.as_deref(), *bay_id).await
            }
            Action::Adjust(Adjustment::Limits(limits)) => self.adjust(work, limits).await,
            Action::Replace(Replacement::Container(wanted)) => {
                recreate(self, work, wanted, reporter).await
            }
            Action::Remove(Removed::Network) => self.delete_network(work.stream.id).await,
            Action::Remove(Removed::Container) => self.delete(work).await,
            Action::Apply(Desired::Pod { name, bay_id, spec }) => {
                self.create_pod(work, name, *bay_id, spec, reporter).await
            }
            Action::Do(Operation::StartPod) => self.start_pod(work, reporter).await,
            Action::Remove(Removed::Pod { grace_s }) => {
                self.delete_pod(work, *grace_s, reporter).await
            }
            Action::Do(operation) => self.change(work, operation, reporter).await,
            Action::Exec(Exec::Start { command }) => {
                self.execute(work, None, command, reporter).await
            }
            Action::Exec(Exec::InPod { container, command }) => {
                self.execute(work, Some(container), command, reporter).await
            }
            Action::Exec(Exec::End { execution_id }) => self.end_execution(*execution_id).await,
        }
    }

    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError> {
        self.observe(stream).await
    }

    async fn inspect_pod(&self, stream: StreamId) -> Result<Option<ObservedPod>, BackendError> {
        self.observe_pod(stream).await
    }

    async fn inventory(&self) -> Result<Vec<(StreamId, EngineObject)>, BackendError> {
        // Networks last: those of containers that are created meanwhile exist already.
        let found = self.observe_all().await?;
        let networks = self.observe_networks().await?;
        Ok(observed::inventory(observe::containers(&found), networks, pod_observe::pods(found)))
    }

    async fn notices(&self) -> Result<BoxStream<'static, Notice>, BackendError> {
        self.follow_events().await
    }

    async fn logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputFrame, BackendError>>, BackendError> {
        self.read_logs(stream, query).await
    }

    async fn probe(&self) -> Result<EngineFacts, BackendError> {
        let info = self.info().await?;
        Ok(EngineFacts {
            engine: text::words(&format!("docker {}", info.server_version.unwrap_or_default())),
            cpus: info.ncpu.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(0),
            memory_bytes: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        })
    }
}
