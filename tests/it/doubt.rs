//! What the watcher did not see, could not ask or could not have recorded: it looks again soon, not
//! with the next regular inventory.
//!
//! Not here: what it does about the engine's own doings (`watcher`, `drift`).

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use magnum::agent::node::NodeAgent;
use magnum::agent::reconciler;
use magnum::agent::worker::WorkerHandle;
use magnum::backends::{Action, BackendError, Operation, RunState};
use magnum::bus::local::LocalBus;
use magnum::bus::{
    Asked, AuditRecord, AuditReply, Authority, CommandError, CommandMessage, CommandPort,
    CommandReply, Comparison, ConductorPort, Hello, Inventory, NodePort, Noted, Offer,
    ServiceCommand, Strays,
};
use magnum::ids::{Kind, Position, Revision, StreamId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::backend::{Bench, Fake, created, spec, started, work};

/// Shorter than between two regular inventories, in the time of the test.
const SOON: Duration = Duration::from_secs(30);

/// A conductor that records nothing.
struct Conductor {
    /// What it is told of containers.
    told: mpsc::UnboundedSender<ServiceCommand>,
    /// Outcomes that it records.
    outcomes: Semaphore,
    /// Comparisons that fail before others succeed.
    failed_comparisons: AtomicUsize,
    /// Commands that do.
    failed_commands: AtomicUsize,
    /// What differs from the record.
    differs: Mutex<Vec<StreamId>>,
}

/// Fails if a failure is left.
fn fail(failures: &AtomicUsize) -> Result<(), CommandError> {
    let next = |left: usize| left.checked_sub(1);
    match failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
        Ok(_) => Err(CommandError::Internal("the disk is full".to_owned())),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl CommandPort for Conductor {
    async fn command(
        &self,
        message: CommandMessage,
        _: Authority,
    ) -> Result<CommandReply, CommandError> {
        if message.stream.kind == Kind::Container
            && let Asked::Service(command) = message.asked()
        {
            if matches!(command, ServiceCommand::Outcome(_)) {
                self.outcomes.acquire().await.unwrap().forget();
            }
            fail(&self.failed_commands)?;
            self.told.send(command.clone()).unwrap();
        }
        let (position, revision) = (Position(1), Revision(0));
        let stream = message.stream;
        Ok(CommandReply { stream, position, revision, work: None, repeated: false })
    }
}

#[async_trait]
impl ConductorPort for Conductor {
    async fn audit(&self, _: AuditRecord) -> Result<AuditReply, CommandError> {
        panic!("an agent records nothing there");
    }

    async fn hello(&self, _: Hello) -> Result<Noted, CommandError> {
        Ok(Noted)
    }

    async fn inventory(&self, _: Inventory) -> Result<Comparison, CommandError> {
        fail(&self.failed_comparisons)?;
        let inspect = self.differs.lock().unwrap().clone();
        Ok(Comparison { inspect, unrecorded: vec![], unrecorded_networks: vec![] })
    }

    async fn strays(&self, _: Strays) -> Result<Noted, CommandError> {
        Ok(Noted)
    }
}

/// A node whose engine nobody watches yet.
struct Node {
    bench: Fake,
    conductor: Arc<Conductor>,
    worker: WorkerHandle,
    told: mpsc::UnboundedReceiver<ServiceCommand>,
}

impl Node {
    fn new() -> Self {
        let bench = Fake::new();
        let (sender, told) = mpsc::unbounded_channel();
        let conductor = Arc::new(Conductor {
            told: sender,
            outcomes: Semaphore::new(0),
            failed_comparisons: AtomicUsize::new(0),
            failed_commands: AtomicUsize::new(0),
            differs: Mutex::default(),
        });
        let bus = Arc::new(LocalBus::default());
        bus.serve_commands(conductor.clone());
        bus.serve_conductor(conductor.clone());
        let agent = bus.port(Authority::Agent(bench.node));
        let node = NodeAgent::new(bench.node, "n1".to_owned(), bench.backend().into(), agent, 1);
        let worker = WorkerHandle::start(Arc::new(node), &actix::Arbiter::current());
        Self { bench, conductor, worker, told }
    }

    fn watch(&self) {
        let (stop, stopping) = watch::channel(false);
        let worker = self.worker.clone();
        tokio::spawn(async move {
            reconciler::watch(worker, stopping).await;
            drop(stop);
        });
    }

    /// The state of the container in which it is seen next.
    async fn seen(&mut self) -> RunState {
        let told = timeout(SOON, self.told.recv()).await.expect("seen soon").unwrap();
        let ServiceCommand::Observe(Some(observed)) = told else { panic!("{told:?}") };
        observed.state
    }
}

/// Runs a test with a clock of its own.
fn run(test: impl Future<Output = ()>) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    actix::System::with_tokio_rt(runtime).block_on(test);
}

#[test]
fn what_ended_before_its_start_is_recorded_is_seen_though_nobody_told_of_it() {
    run(async {
        let mut node = Node::new();
        let stream = created(&node.bench, spec("sleep 100")).await;
        let offer = Offer {
            work: work(node.bench.node, stream, Action::Do(Operation::Start)),
            revision: Revision(1),
            session: node.worker.node().session,
            reply_to: None,
        };
        node.worker.work(offer).await.unwrap();
        while !node.bench.engine.effects().iter().any(|(_, what)| *what == "start") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.bench.engine.exit(stream.id, 4);
        node.watch();
        assert!(timeout(SOON, node.told.recv()).await.is_err(), "its outcome is not recorded");
        node.conductor.outcomes.add_permits(1);
        let told = node.told.recv().await.unwrap();
        assert!(matches!(told, ServiceCommand::Outcome(_)), "{told:?}");
        assert_eq!(node.seen().await, RunState::Exited);
    });
}

#[test]
fn what_could_not_be_asked_compared_or_recorded_is_looked_at_again_soon() {
    run(async {
        // Which of them fails: an inspection, a comparison, a command as often as it is tried.
        for (inspections, comparisons, commands) in [(1, 0, 0), (0, 1, 0), (0, 0, 6)] {
            let mut node = Node::new();
            let stream = started(&node.bench, "sleep 100").await;
            node.conductor.differs.lock().unwrap().push(stream);
            node.conductor.failed_comparisons.store(comparisons, Ordering::Relaxed);
            node.conductor.failed_commands.store(commands, Ordering::Relaxed);
            if inspections > 0 {
                let error = BackendError::Failed("500".to_owned());
                node.bench.engine.inject_at_inspection(error);
            }
            node.watch();
            assert_eq!(node.seen().await, RunState::Running);
            let left = [&node.conductor.failed_comparisons, &node.conductor.failed_commands];
            assert!(left.iter().all(|left| left.load(Ordering::Relaxed) == 0), "all were met");
        }
    });
}
