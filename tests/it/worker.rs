//! The worker of a node: what holds back what, what is cancelled, and what is never done twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use magnum::agent::node::NodeAgent;
use magnum::agent::worker::WorkerHandle;
use magnum::backends::fake::{FakeBackend, FakeEngine};
use magnum::backends::{Action, Desired, Exec, Operation, Outcome, Removed, Work, WorkResult};
use magnum::bus::local::LocalBus;
use magnum::bus::output::frames;
use magnum::bus::{
    Asked, Authority, Bus, CommandError, CommandMessage, CommandPort, CommandReply, NodePort,
    Offer, ReplyTo, ServiceCommand, SessionId,
};
use magnum::clock;
use magnum::events::container::ContainerSpec;
use magnum::ids::{Kind, ObjectId, Position, ProjectId, Revision, StreamId, WorkId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backend::{words, work};
use crate::harness::PATIENCE;

/// Keeps outcomes.
struct Told(mpsc::UnboundedSender<Outcome>);

#[async_trait]
impl CommandPort for Told {
    async fn command(
        &self,
        message: CommandMessage,
        _: Authority,
    ) -> Result<CommandReply, CommandError> {
        if let Asked::Service(ServiceCommand::Outcome(outcome)) = message.asked() {
            self.0.send(outcome.clone()).unwrap();
        }
        let (position, revision) = (Position(1), Revision(0));
        let stream = message.stream;
        Ok(CommandReply { stream, position, revision, work: None, repeated: false })
    }
}

struct Bench {
    engine: Arc<FakeEngine>,
    node_id: ObjectId,
    bus: Arc<dyn Bus>,
    worker: WorkerHandle,
    told: mpsc::UnboundedReceiver<Outcome>,
}

impl Bench {
    fn new() -> Self {
        let engine = FakeEngine::new(clock::now_and_instant());
        let node_id = clock::new_object_id();
        let (sender, told) = mpsc::unbounded_channel();
        let local = Arc::new(LocalBus::default());
        local.serve_commands(Arc::new(Told(sender)));
        let backend = FakeBackend::new(engine.clone(), node_id);
        let agent = local.port(Authority::Agent(node_id));
        let node = NodeAgent::new(node_id, "n1".to_owned(), Arc::new(backend), agent, 8);
        let worker = WorkerHandle::start(Arc::new(node), &actix::Arbiter::current());
        Self { engine, node_id, bus: local.port(Authority::Edge), worker, told }
    }

    fn work(&self, stream: StreamId, action: Action) -> Work {
        work(self.node_id, stream, action)
    }

    async fn offer(&self, work: &Work, reply_to: Option<ReplyTo>) {
        let session = self.worker.node().session;
        let offer = Offer { work: work.clone(), revision: Revision(0), session, reply_to };
        self.worker.work(offer).await.unwrap();
    }

    /// What comes of work; what is said of other work meanwhile is dropped.
    async fn outcome(&mut self, id: WorkId) -> WorkResult {
        let found = async {
            loop {
                let outcome = self.told.recv().await.unwrap();
                if outcome.work_id == id {
                    return outcome.result;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("an outcome")
    }

    async fn act(&mut self, stream: StreamId, action: Action) -> WorkResult {
        let work = self.work(stream, action);
        self.offer(&work, None).await;
        self.outcome(work.id).await
    }

    /// A container that runs, in a bay of its own.
    async fn running(&mut self) -> StreamId {
        let bay = StreamId::new(Kind::Bay, clock::new_object_id());
        let stream = StreamId::new(Kind::Container, clock::new_object_id());
        self.act(bay, Action::Apply(Desired::Network)).await;
        let made = self.act(stream, create(bay.id, "busybox:local")).await;
        assert!(matches!(made, WorkResult::Done(_)), "{made:?}");
        self.act(stream, Action::Do(Operation::Start)).await;
        stream
    }

    /// Commands that never end, as many as are asked for.
    async fn hang(&self, stream: StreamId, count: usize) {
        for _ in 0..count {
            let hangs = Action::Exec(Exec::Start { command: words("sleep 100000") });
            self.offer(&self.work(stream, hangs), None).await;
        }
    }
}

fn create(bay_id: ObjectId, image: &str) -> Action {
    let command = words("sleep 100000");
    let spec = ContainerSpec { image: image.to_owned(), command, ..ContainerSpec::default() };
    Action::Apply(Desired::Container { name: None, bay_id, spec })
}

fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(test);
}

/// Commands that hang hold back neither a stop nor a kill nor a delete; those for which there is no
/// place say so, and other projects still have some.
#[test]
fn commands_that_hang_hold_nothing_back() {
    run(async {
        let mut bench = Bench::new();
        let stream = bench.running().await;
        bench.hang(stream, 100).await;
        let late = bench.work(stream, Action::Exec(Exec::Start { command: words("echo a") }));
        bench.offer(&late, None).await;
        let waits = bench.outcome(late.id).await;
        assert!(matches!(waits, WorkResult::Waiting { .. }), "{waits:?}");
        let mut other = bench.work(stream, Action::Exec(Exec::Start { command: words("echo b") }));
        other.project = ProjectId("other".to_owned());
        bench.offer(&other, None).await;
        let done = bench.outcome(other.id).await;
        assert!(matches!(done, WorkResult::Done(_)), "{done:?}");
        for action in [
            Action::Do(Operation::Kill { signal: "SIGHUP".to_owned() }),
            Action::Do(Operation::Stop { grace_s: 0 }),
            Action::Do(Operation::Reboot { grace_s: 0 }),
            Action::Remove(Removed::Container),
        ] {
            let done = timeout(Duration::from_secs(10), bench.act(stream, action)).await;
            assert!(matches!(done, Ok(WorkResult::Done(_))), "{done:?}");
        }
        assert_eq!(bench.engine.containers().len(), 0);
    });
}

/// A kill waits neither behind a stop that has no place yet nor for a place of that kind.
#[test]
fn a_kill_passes_a_stop_that_waits_for_a_place() {
    run(async {
        let mut bench = Bench::new();
        let bay = StreamId::new(Kind::Bay, clock::new_object_id());
        bench.act(bay, Action::Apply(Desired::Network)).await;
        let command = words(r#"sh -c "trap '' TERM; sleep 100000""#);
        let image = "busybox:local".to_owned();
        let spec = ContainerSpec { image, command, ..ContainerSpec::default() };
        let mut last = None;
        // One more than may be stopped for a project at once.
        for _ in 0..=256 {
            let stream = StreamId::new(Kind::Container, clock::new_object_id());
            let spec = spec.clone();
            let make = Desired::Container { name: None, bay_id: bay.id, spec };
            bench.act(stream, Action::Apply(make)).await;
            bench.act(stream, Action::Do(Operation::Start)).await;
            let stop = bench.work(stream, Action::Do(Operation::Stop { grace_s: 3600 }));
            bench.offer(&stop, None).await;
            last = Some((stream, stop.id));
        }
        let (stream, stop) = last.unwrap();
        let waits = bench.outcome(stop).await;
        let WorkResult::Waiting { reason, .. } = &waits else { panic!("{waits:?}") };
        assert!(reason.ends_with("; 256 are taken by this project"), "{reason}");
        let kill = Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() });
        let killed = bench.act(stream, kill).await;
        assert!(matches!(killed, WorkResult::Done(_)), "{killed:?}");
    });
}

/// A command whose caller has gone before there was a place for it is not executed.
#[test]
fn a_command_that_nobody_waits_for_is_not_started() {
    run(async {
        let mut bench = Bench::new();
        let stream = bench.running().await;
        bench.hang(stream, 64).await;
        let command = Action::Exec(Exec::Start { command: words("echo a") });
        let late = bench.work(stream, command);
        let reply_to = ReplyTo(clock::new_uuid());
        let reader = frames(&bench.bus, reply_to).unwrap();
        bench.offer(&late, Some(reply_to)).await;
        assert!(matches!(bench.outcome(late.id).await, WorkResult::Waiting { .. }));
        drop(reader);
        let failed = bench.outcome(late.id).await;
        assert!(matches!(failed, WorkResult::Failed { .. }), "{failed:?}");
        assert!(!bench.engine.effects().iter().any(|(id, _)| *id == late.id));
    });
}

/// Rule W5: a delete ends the attempt in progress, and what waits behind it never starts.
#[test]
fn w5_a_delete_ends_what_is_under_way() {
    run(async {
        let mut bench = Bench::new();
        let stream = StreamId::new(Kind::Container, clock::new_object_id());
        let make = bench.work(stream, create(clock::new_object_id(), "silent/x:1"));
        let start = bench.work(stream, Action::Do(Operation::Start));
        bench.offer(&make, None).await;
        bench.offer(&start, None).await;
        let delete = bench.work(stream, Action::Remove(Removed::Container));
        bench.offer(&delete, None).await;
        let (mut ended, mut deleted) = (None, None);
        while deleted.is_none() {
            let outcome = timeout(PATIENCE, bench.told.recv()).await.unwrap().unwrap();
            assert_ne!(outcome.work_id, start.id, "it was dropped");
            let which = if outcome.work_id == make.id { &mut ended } else { &mut deleted };
            *which = Some(outcome.result);
        }
        assert!(matches!(ended, Some(WorkResult::Failed { .. })), "{ended:?}");
        assert!(matches!(deleted, Some(WorkResult::Done(_))), "{deleted:?}");
    });
}

/// A delete does not wait for the reader of a command's output, who is told that some is missing.
#[test]
fn w5_output_that_a_delete_cuts_off_ends_with_an_error() {
    run(async {
        let mut bench = Bench::new();
        let stream = bench.running().await;
        let command = Action::Exec(Exec::Start { command: words("echo a") });
        let work = bench.work(stream, command);
        let reply_to = ReplyTo(clock::new_uuid());
        let mut reader = frames(&bench.bus, reply_to).unwrap();
        bench.offer(&work, Some(reply_to)).await;
        // It has nothing to do but to write, and the reader has no room yet.
        let begun = async {
            while !bench.engine.effects().iter().any(|(id, _)| *id == work.id) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, begun).await.expect("it begins");
        let deleted = bench.act(stream, Action::Remove(Removed::Container)).await;
        assert!(matches!(deleted, WorkResult::Done(_)), "{deleted:?}");
        let end = timeout(PATIENCE, reader.next()).await.unwrap().unwrap();
        assert!(end.is_err(), "{end:?}");
        assert!(reader.next().await.is_none());
    });
}

/// Rule W8: an offer to an earlier life of the agent, which is late, makes nothing: the object may
/// have been deleted since.
#[test]
fn w8_what_was_offered_to_an_earlier_session_is_not_begun() {
    run(async {
        let mut bench = Bench::new();
        let (bay, id) = (clock::new_object_id(), clock::new_object_id());
        let stream = StreamId::new(Kind::Container, id);
        bench.act(StreamId::new(Kind::Bay, bay), Action::Apply(Desired::Network)).await;
        let late = bench.work(stream, create(bay, "busybox:local"));
        let session = SessionId(clock::new_uuid());
        let offer = Offer { work: late.clone(), revision: Revision(0), session, reply_to: None };
        bench.worker.work(offer).await.unwrap();
        bench.act(stream, Action::Remove(Removed::Container)).await;
        assert!(!bench.engine.effects().iter().any(|(id, _)| *id == late.id));
    });
}

/// Rule W8: an offer that comes twice is taken once, also after its end.
#[test]
fn w8_what_has_begun_is_not_begun_again() {
    run(async {
        let mut bench = Bench::new();
        let stream = bench.running().await;
        let command = Action::Exec(Exec::Start { command: words("echo a") });
        let work = bench.work(stream, command);
        bench.offer(&work, None).await;
        bench.offer(&work, None).await;
        assert!(matches!(bench.outcome(work.id).await, WorkResult::Done(_)));
        bench.offer(&work, None).await;
        bench.act(stream, Action::Do(Operation::Pause)).await;
        let times = bench.engine.effects().iter().filter(|(id, _)| *id == work.id).count();
        assert_eq!(times, 1);
        let released = async {
            while !bench.worker.hello().holds.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, released).await.expect("it holds nothing");
    });
}
