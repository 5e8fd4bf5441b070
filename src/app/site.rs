//! Where a node's agent runs: its ends of the bus, and the agent of the moment. An agent may end
//! and another start in its place while the conductor goes on; what the first one had in memory is
//! gone with it (rule W8).
//!
//! Not here: what an agent does (`agent`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::ArbiterHandle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agent::node::NodeAgent;
use crate::agent::worker::WorkerHandle;
use crate::agent::{presence, reconciler};
use crate::backends::Backend;
use crate::bus::local::LocalBus;
use crate::bus::{Authority, Bus};
use crate::config::BackendConfig;
use crate::ids::ObjectId;

/// The place of a node's agent.
pub struct Site {
    bus: Arc<LocalBus>,
    node_id: ObjectId,
    config: BackendConfig,
    arbiter: ArbiterHandle,
    stopping: watch::Receiver<bool>,
    agent: Mutex<Option<Agent>>,
}

/// One life of an agent.
struct Agent {
    worker: WorkerHandle,
    followers: [JoinHandle<()>; 2],
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.followers.iter().for_each(JoinHandle::abort);
    }
}

impl Site {
    /// A place without an agent, whose work will run on an arbiter.
    pub(super) const fn new(
        bus: Arc<LocalBus>,
        node_id: ObjectId,
        config: BackendConfig,
        arbiter: ArbiterHandle,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { bus, node_id, config, arbiter, stopping, agent: Mutex::new(None) }
    }

    /// Starts an agent in place of the one before it. `carry` may put something round its way to
    /// the bus. Must be called inside an actix system.
    pub fn start_agent(
        &self,
        carry: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>,
        backend: impl FnOnce(ObjectId) -> Arc<dyn Backend>,
    ) {
        let Self { node_id, config, stopping, .. } = self;
        let bus = carry(self.bus.port(Authority::Agent(*node_id)));
        let host = config.host.clone();
        let node = NodeAgent::new(*node_id, host, backend(*node_id), bus, config.concurrency);
        let worker = WorkerHandle::start(Arc::new(node), &self.arbiter);
        // Before it says that it is there.
        self.bus.serve_node(*node_id, Arc::new(worker.clone()));
        let followers = [
            tokio::spawn(presence::announce(worker.clone(), stopping.clone())),
            tokio::spawn(reconciler::watch(worker.clone(), stopping.clone())),
        ];
        *self.agent() = Some(Agent { worker, followers });
    }

    /// Waits until no work is in progress and lets none start.
    pub(super) async fn drain(&self) {
        let node = self.agent().as_ref().map(|agent| agent.worker.node().clone());
        if let Some(node) = node {
            node.drain().await;
        }
    }

    /// Ends the agent.
    pub(super) fn stop(&self) {
        drop(self.agent().take());
    }

    fn agent(&self) -> MutexGuard<'_, Option<Agent>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
