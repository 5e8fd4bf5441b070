//! What the watcher says when the engine changes while it compares: no false alarm.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use actix::Arbiter;
use async_trait::async_trait;
use magnum::actors::comparison::{Records, compare};
use magnum::agent::node::NodeAgent;
use magnum::agent::reconciler;
use magnum::agent::worker::WorkerHandle;
use magnum::backends::{Action, Desired, Removed};
use magnum::bus::local::LocalBus;
use magnum::bus::{
    AuditRecord, AuditReply, Authority, CommandError, CommandMessage, CommandPort, CommandReply,
    Comparison, ConductorPort, Hello, Inventory, Noted, Strays,
};
use magnum::events::container::Status;
use magnum::ids::{ObjectId, Position, Revision, StreamId};
use tokio::sync::{mpsc, watch};

use crate::backend::{Bench, Fake, act, bay};
use crate::harness::PATIENCE;

/// A conductor without any record. While it compares, one bay comes and one goes.
struct Meanwhile {
    bench: Arc<Fake>,
    comes: StreamId,
    goes: StreamId,
    told: mpsc::UnboundedSender<Strays>,
    inventories: Mutex<Vec<Inventory>>,
}

#[async_trait]
impl Records for Meanwhile {
    async fn on_node(&self, _: ObjectId) -> Result<Vec<(StreamId, Status)>, String> {
        Ok(vec![])
    }

    async fn pods_on(&self, _: ObjectId) -> Result<Vec<StreamId>, String> {
        Ok(vec![])
    }

    async fn bays_on(&self, _: ObjectId) -> Result<HashSet<ObjectId>, String> {
        act(self.bench.as_ref(), self.comes, Action::Apply(Desired::Network)).await.unwrap();
        act(self.bench.as_ref(), self.goes, Action::Remove(Removed::Network)).await.unwrap();
        Ok(HashSet::new())
    }
}

#[async_trait]
impl CommandPort for Meanwhile {
    async fn command(
        &self,
        message: CommandMessage,
        _: Authority,
    ) -> Result<CommandReply, CommandError> {
        let (position, revision) = (Position(1), Revision(0));
        let stream = message.stream;
        Ok(CommandReply { stream, position, revision, work: None, repeated: false })
    }
}

#[async_trait]
impl ConductorPort for Meanwhile {
    async fn audit(&self, _: AuditRecord) -> Result<AuditReply, CommandError> {
        panic!("an agent records nothing there");
    }

    async fn hello(&self, _: Hello) -> Result<Noted, CommandError> {
        Ok(Noted)
    }

    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError> {
        self.inventories.lock().unwrap().push(inventory.clone());
        compare(self, inventory).await
    }

    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError> {
        self.told.send(strays).unwrap();
        Ok(Noted)
    }
}

#[test]
fn networks_that_are_made_or_removed_meanwhile_are_not_told() {
    actix::System::new().block_on(async {
        let bench = Arc::new(Fake::new());
        let (comes, goes, stray) = (bay(), bay(), bay());
        for there in [goes, stray] {
            act(bench.as_ref(), there, Action::Apply(Desired::Network)).await.unwrap();
        }
        let (told, mut strays) = mpsc::unbounded_channel();
        let bus = Arc::new(LocalBus::default());
        let node = bench.node;
        let inventories = Mutex::default();
        let conductor =
            Arc::new(Meanwhile { bench: bench.clone(), comes, goes, told, inventories });
        bus.serve_commands(conductor.clone());
        bus.serve_conductor(conductor.clone());
        let agent = bus.port(Authority::Agent(node));
        let node = NodeAgent::new(node, "n1".to_owned(), bench.backend().into(), agent, 1);
        let arbiter = Arbiter::new();
        let worker = WorkerHandle::start(Arc::new(node), &arbiter.handle());
        let (_stop, stopping) = watch::channel(false);
        let watching = tokio::spawn(reconciler::watch(worker, stopping));
        let said = tokio::time::timeout(PATIENCE, strays.recv()).await.unwrap().unwrap();
        let bays: Vec<_> = said.networks.into_iter().map(|network| network.bay_id).collect();
        assert_eq!((bays, said.containers), (vec![stray.id], vec![]));
        let reported = conductor.inventories.lock().unwrap().remove(0);
        assert_eq!(reported.networks.len(), 2, "everything that it had");
        watching.abort();
        arbiter.stop();
    });
}
