//! What the watcher says when the engine changes while it compares: no false alarm.

use std::collections::HashSet;
use std::sync::Arc;

use actix::Arbiter;
use async_trait::async_trait;
use magnum::actors::node::NodeCommand;
use magnum::agent::reconciler::{self, Inventory};
use magnum::agent::worker::{Node, WorkerHandle};
use magnum::backends::Action;
use magnum::bus::local::LocalBus;
use magnum::bus::{CommandError, CommandMessage, CommandPort, CommandReply};
use magnum::ids::{ObjectId, StreamId};
use tokio::sync::{mpsc, watch};

use crate::backend::{Bench, Fake, act, bay};
use crate::harness::PATIENCE;

/// Keeps what is said of the node, and records nothing.
struct Told(mpsc::UnboundedSender<NodeCommand>);

#[async_trait]
impl CommandPort for Told {
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError> {
        self.0.send(serde_json::from_value(message.command).unwrap()).unwrap();
        Err(CommandError::Internal("kept for the test".to_owned()))
    }
}

/// No record of anything; while it is asked, one bay comes and one goes.
struct Meanwhile {
    bench: Arc<Fake>,
    comes: StreamId,
    goes: StreamId,
}

#[async_trait]
impl Inventory for Meanwhile {
    async fn on_node(&self, _: ObjectId) -> Result<Vec<(StreamId, String)>, String> {
        Ok(vec![])
    }

    async fn bays_on(&self, _: ObjectId) -> Result<HashSet<ObjectId>, String> {
        act(self.bench.as_ref(), self.comes, Action::CreateNetwork).await.unwrap();
        act(self.bench.as_ref(), self.goes, Action::DeleteNetwork).await.unwrap();
        Ok(HashSet::new())
    }
}

#[test]
fn networks_that_are_made_or_removed_meanwhile_are_not_told() {
    actix::System::new().block_on(async {
        let bench = Arc::new(Fake::new());
        let (comes, goes, stray) = (bay(), bay(), bay());
        for there in [goes, stray] {
            act(bench.as_ref(), there, Action::CreateNetwork).await.unwrap();
        }
        let (sender, mut told) = mpsc::unbounded_channel();
        let bus = Arc::new(LocalBus::default());
        bus.serve_commands(Arc::new(Told(sender)));
        let node = Node::new(bench.node, "n1".to_owned(), bench.backend().into(), bus, 1);
        let arbiter = Arbiter::new();
        let worker = WorkerHandle::start(Arc::new(node), &arbiter.handle());
        let (_stop, stopping) = watch::channel(false);
        let inventory = Arc::new(Meanwhile { bench, comes, goes });
        let watching = tokio::spawn(reconciler::watch(worker, inventory, stopping));
        let said = async {
            loop {
                if let NodeCommand::UnknownNetworks { networks, complete } =
                    told.recv().await.unwrap()
                {
                    break (networks, complete);
                }
            }
        };
        let (networks, complete) = tokio::time::timeout(PATIENCE, said).await.unwrap();
        let bays: Vec<_> = networks.into_iter().map(|network| network.bay_id).collect();
        assert_eq!((bays, complete), (vec![stray.id], true));
        watching.abort();
        arbiter.stop();
    });
}
