//! From the log to work: in which order, after which time and from which events the reactor hands
//! it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use magnum::actors::Entity;
use magnum::actors::aggregate::Aggregate;
use magnum::actors::cascade::{self, Members, Orphan};
use magnum::actors::container::{Container, ContainerCommand, ContainerState};
use magnum::actors::lifecycle::Cascade;
use magnum::actors::objects::Objects;
use magnum::actors::reactor::Reactor;
use magnum::actors::snapshot::Snapshots;
use magnum::backends::{BackendError, Done, Outcome, RunState, Work, WorkResult};
use magnum::bus::local::LocalBus;
use magnum::bus::{
    self, Authority, CommandError, CommandMessage, CommandPort, CommandReply, Ctx, Hello,
    LogRequest, NodePort, Offer, OutputErasure, ServiceCommand, SessionId, Taken,
};
use magnum::clock;
use magnum::events::bay::{BayAbandonedV1, BayEvent};
use magnum::events::container::{
    ActionDoneV1, ActionRequestedV1, ContainerEvent, ContainerSpec, CreatedV1, ExecuteRequestedV1,
    ExecutedV1, KillRequestedV1, StopRequestedV1,
};
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::{WorkBlockedV1, WorkFailedV2};
use magnum::events::{Meta, NewEvent};
use magnum::ids::{EventId, Kind, ObjectId, Position, ProjectId, Revision, StreamId, Timestamp};
use magnum::replay::{Question, Source, When};
use tokio::sync::{mpsc, watch};

use crate::backend::{Bench, Fake, Notes, observed, started};
use crate::log_around::{Around, LogAround};

/// A node that notes what it is given to do.
struct Noting(mpsc::UnboundedSender<Work>);

#[async_trait]
impl NodePort for Noting {
    async fn work(&self, offer: Offer) -> Result<Taken, BackendError> {
        let ended = |_| BackendError::Unavailable("the test ended".to_owned());
        self.0.send(offer.work).map(|()| Taken).map_err(ended)
    }

    async fn logs(&self, _: LogRequest) -> Result<Taken, BackendError> {
        Err(BackendError::Missing("nobody asks for output here".to_owned()))
    }

    async fn erase_output(&self, _: OutputErasure) -> Result<Taken, BackendError> {
        Ok(Taken)
    }
}

/// Who is in a bay that is gone; nobody is in others.
#[derive(Default)]
struct Left {
    orphans: Vec<Orphan>,
    /// Of any bay that is asked about.
    members: Vec<StreamId>,
}

#[async_trait]
impl Members for Left {
    async fn of(&self, _: &ProjectId, _: ObjectId) -> Result<Vec<StreamId>, String> {
        Ok(self.members.clone())
    }

    async fn has_bay(&self, _: &ProjectId, _: ObjectId) -> Result<bool, String> {
        Ok(true)
    }

    async fn orphans(&self) -> Result<Vec<Orphan>, String> {
        Ok(self.orphans.clone())
    }
}

/// Records events of a container.
async fn record(log: &dyn EventLog, stream: StreamId, events: &[ContainerEvent]) -> Vec<EventId> {
    let events: Vec<NewEvent> = events
        .iter()
        .map(|event| NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), event))
        .collect();
    let ids = events.iter().map(|event| event.id).collect();
    let head = log.stream_head(stream).unwrap();
    let expected = head.map_or(Expected::NoStream, Expected::Exact);
    log.append(Append { stream, expected, command: None, events }).await.unwrap();
    ids
}

/// A reactor over a log, and the work that it gives to a node.
struct Reacting {
    log: Arc<dyn EventLog>,
    stream: StreamId,
    told: mpsc::UnboundedReceiver<Work>,
    _ends: (watch::Sender<bool>, mpsc::Sender<Hello>),
}

impl Reacting {
    /// Starts it behind the last event of a container, whose work may be outstanding.
    async fn start(
        log: Arc<dyn EventLog>,
        snapshots: Snapshots,
        stream: StreamId,
        node_id: ObjectId,
        is_outstanding: bool,
    ) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let bus = Arc::new(LocalBus::default());
        bus.serve_node(node_id, Arc::new(Noting(tell)));
        let (stop, stopping) = watch::channel(false);
        let (hellos, heard) = mpsc::channel(1);
        let objects = Objects::new(log.clone(), snapshots);
        let own = bus.port(Authority::Conductor);
        let reactor = Reactor::new(objects, own, Arc::<Left>::default(), heard);
        let hello = Hello { node_id, session: SessionId::default(), beat: 1, holds: vec![] };
        hellos.send(hello).await.unwrap();
        let (head, outstanding) = (*log.head().borrow(), is_outstanding.then_some(stream));
        tokio::spawn(reactor.run(Vec::from_iter(outstanding), head, stopping));
        Self { log, stream, told, _ends: (stop, hellos) }
    }

    /// The next work, and after how many seconds.
    async fn next(&mut self) -> (Work, u64) {
        let began = tokio::time::Instant::now();
        let work = tokio::time::timeout(Duration::from_secs(600), self.told.recv()).await;
        let work = work.expect("it is tried").unwrap();
        assert_eq!(work.stream, self.stream);
        (work, began.elapsed().as_secs())
    }

    async fn record(&self, events: &[ContainerEvent]) -> Vec<EventId> {
        record(self.log.as_ref(), self.stream, events).await
    }
}

/// A container that was asked for, on a node.
fn asked(node_id: ObjectId) -> Vec<ContainerEvent> {
    let create = ContainerCommand::Create {
        name: None,
        desc: None,
        spec: ContainerSpec { image: "busybox:local".to_owned(), ..ContainerSpec::default() },
        bay_id: clock::new_object_id(),
        node_id,
        host: "n1".to_owned(),
    };
    let ctx = Ctx { now: clock::now() };
    Container::decide(&ContainerState::default(), create, &ctx).unwrap()
}

/// Makes a container that runs: it waits for nothing.
async fn running(log: &dyn EventLog, stream: StreamId, node_id: ObjectId) {
    let work_id = record(log, stream, &asked(node_id)).await[0];
    let created = CreatedV1 { work_id, engine_id: "e1".to_owned() };
    let asks = ContainerEvent::StartRequested(ActionRequestedV1 {});
    let work_id = record(log, stream, &[ContainerEvent::Created(created), asks]).await[1];
    record(log, stream, &[ContainerEvent::Started(ActionDoneV1 { work_id }.into())]).await;
}

/// Work that was blocked when the clock showed a day more is tried within a minute, and not at
/// once; what was blocked when it showed less is tried at once.
#[tokio::test(start_paused = true)]
async fn f17_blocked_work_waits_no_longer_than_a_minute_when_the_clock_was_set_back() {
    let log = Arc::new(MemoryLog::new());
    let (stream, node_id) = (container(), clock::new_object_id());
    let work_id = record(log.as_ref(), stream, &asked(node_id)).await[0];
    let blocked = |attempt, retry_at| {
        let (blocked_on, reason) = ("node n1".to_owned(), "no answer".to_owned());
        let blocked = WorkBlockedV1 { work_id, attempt, blocked_on, reason, retry_at };
        [ContainerEvent::WorkBlocked(blocked)]
    };
    let day_ms = 24 * 3_600_000;
    record(log.as_ref(), stream, &blocked(1, clock::now().plus_ms(day_ms))).await;
    let mut reacting = Reacting::start(log, Snapshots::default(), stream, node_id, true).await;
    let mut next = async |least_s: u64, most_s: u64| {
        let (work, waited_s) = reacting.next().await;
        assert_eq!(work.id, work_id);
        assert!((least_s..=most_s).contains(&waited_s), "{}: {waited_s} s", work.attempt);
        (work.attempt, reacting.log.clone())
    };
    // As it was found at the start, and as it is recorded later.
    let (attempt, log) = next(59, 61).await;
    record(log.as_ref(), stream, &blocked(attempt, clock::now().plus_ms(day_ms))).await;
    let (attempt, log) = next(59, 61).await;
    record(log.as_ref(), stream, &blocked(attempt, clock::now().plus_ms(20_000))).await;
    let (attempt, log) = next(19, 21).await;
    record(log.as_ref(), stream, &blocked(attempt, Timestamp(0))).await;
    next(0, 1).await;
}

/// Work that is asked for in one breath reaches its node in that order: what is overtaken on the
/// way is out of date to the node's agent.
#[tokio::test(flavor = "multi_thread")]
async fn offers_arrive_in_the_order_in_which_they_are_made() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let (stream, node_id) = (container(), clock::new_object_id());
    running(log.as_ref(), stream, node_id).await;
    let mut reacting = Reacting::start(log, Snapshots::default(), stream, node_id, false).await;
    for _ in 0..20 {
        let asks = ExecuteRequestedV1 { command: vec!["true".to_owned()] };
        let asks = vec![ContainerEvent::ExecuteRequested(asks); 16];
        let works = reacting.record(&asks).await;
        for work_id in &works {
            assert_eq!(reacting.next().await.0.id, *work_id);
        }
        let done = |work_id: &EventId| {
            ContainerEvent::Executed(ExecutedV1 { work_id: *work_id, exit_code: 0 })
        };
        reacting.record(&works.iter().map(done).collect::<Vec<_>>()).await;
    }
}

/// A signal that passed a stop and is to be tried again is for the process that has ended since: it
/// ends before anything else is started, and is over where a reboot is done.
#[tokio::test(start_paused = true)]
async fn a_signal_that_passed_a_stop_does_not_meet_the_next_process() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let bench = Fake::new();
    let (stream, node_id) = (started(&bench, "sleep 100000").await, bench.node());
    running(log.as_ref(), stream, node_id).await;
    let mut reacting =
        Reacting::start(log.clone(), Snapshots::default(), stream, node_id, false).await;
    let perform = async |work: &Work| {
        bench.backend().perform(work, &Notes::default()).await.unwrap();
        ActionDoneV1 { work_id: work.id }
    };
    let asks = StopRequestedV1 { grace_s: 0 };
    reacting.record(&[ContainerEvent::StopRequested(asks.clone())]).await;
    let (stop, _) = reacting.next().await;
    let signal = KillRequestedV1 { signal: "SIGKILL".to_owned() };
    reacting.record(&[ContainerEvent::KillRequested(signal.clone())]).await;
    let (kill, _) = reacting.next().await;
    assert_eq!((stop.action.name(), kill.action.name()), ("stop", "kill"));
    // The engine does not answer its first attempt.
    let blocked = |work_id| {
        let (blocked_on, reason) = ("node n1".to_owned(), "no answer".to_owned());
        let retry_at = clock::now().plus_ms(20_000);
        let blocked = WorkBlockedV1 { work_id, attempt: 1, blocked_on, reason, retry_at };
        ContainerEvent::WorkBlocked(blocked)
    };
    let start = ContainerEvent::StartRequested(ActionRequestedV1 {});
    let stopped = ContainerEvent::Stopped(perform(&stop).await.into());
    reacting.record(&[blocked(kill.id), start, stopped]).await;
    let (again, _) = reacting.next().await;
    assert_eq!((again.id, again.attempt), (kill.id, 2), "the start waits for it");
    reacting.record(&[ContainerEvent::Killed(perform(&again).await)]).await;
    let (start, _) = reacting.next().await;
    assert_eq!(start.action.name(), "start");
    reacting.record(&[ContainerEvent::Started(perform(&start).await.into())]).await;
    assert_eq!(observed(&bench, stream).await.state, RunState::Running);
    // A reboot starts the next process itself.
    let reboot = reacting.record(&[ContainerEvent::RebootRequested(asks)]).await[0];
    let kill = reacting.record(&[ContainerEvent::KillRequested(signal)]).await[0];
    reacting.record(&[blocked(kill)]).await;
    let snapshots = Snapshots::default();
    let aggregate = Aggregate::<Container>::load(stream, log.as_ref(), &snapshots).unwrap();
    let result = WorkResult::Done(Done::default());
    let outcome = Outcome { work_id: reboot, attempt: 1, result };
    let ctx = Ctx { now: clock::now() };
    let outcome = ContainerCommand::Outcome(outcome);
    let events = Container::decide(&aggregate.state, outcome, &ctx).unwrap();
    let [ContainerEvent::Killed(killed), ContainerEvent::Rebooted(rebooted)] = &*events else {
        panic!("{events:?}")
    };
    assert_eq!((killed.work_id, rebooted.work_id), (kill, reboot));
}

/// What waits for a signal that passed a stop says so, though it was asked for before.
#[tokio::test]
async fn a_start_that_waits_for_a_signal_names_it() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let (stream, node_id) = (container(), clock::new_object_id());
    running(log.as_ref(), stream, node_id).await;
    let stop = ContainerEvent::StopRequested(StopRequestedV1 { grace_s: 600 });
    let start = ContainerEvent::StartRequested(ActionRequestedV1 {});
    let kill = KillRequestedV1 { signal: "SIGKILL".to_owned() };
    let kill = ContainerEvent::KillRequested(kill);
    let ids = record(log.as_ref(), stream, &[stop, start, kill]).await;
    let why = || {
        let source = Source::of_project(log.clone(), ProjectId::default());
        let why = Question::Why { at: When::Latest }.answer(&source, stream).unwrap();
        let waits = why["waits_for"].as_array().unwrap().iter();
        let waits: Vec<_> = waits.map(|it| it["action"].as_str().unwrap().to_owned()).collect();
        (waits, why["says"].as_str().unwrap().to_owned())
    };
    assert_eq!(why().0, ["stop", "kill", "start"]);
    let stopped = ContainerEvent::Stopped(ActionDoneV1 { work_id: ids[0] }.into());
    record(log.as_ref(), stream, &[stopped]).await;
    let (waits, says) = why();
    assert_eq!(waits, ["kill", "start"]);
    assert!(says.contains("It is waiting for kill, requested by"), "{says}");
    assert!(says.contains("One more is queued behind it."), "{says}");
    record(log.as_ref(), stream, &[ContainerEvent::Killed(ActionDoneV1 { work_id: ids[2] })]).await;
    let (waits, says) = why();
    assert_eq!(waits, ["start"]);
    assert!(says.contains("Its node is working on it."), "{says}");
}

/// F51: an object that waits for nothing is not in memory; what it is asked for then is found from
/// its last snapshot, however many events it has.
#[tokio::test]
async fn f51_work_of_an_object_with_many_events_is_found_from_its_snapshot() {
    let log = Arc::new(LogAround::new(MemoryLog::new(), Reads::default()));
    let (stream, node_id) = (container(), clock::new_object_id());
    running(log.as_ref(), stream, node_id).await;
    let asks = [ContainerEvent::PauseRequested(ActionRequestedV1 {})];
    for _ in 0..1_000 {
        let work_id = record(log.as_ref(), stream, &asks).await[0];
        let failed = WorkFailedV2 {
            work_id,
            action: "execute".to_owned(),
            reason: "r".to_owned(),
            cancelled: vec![],
        };
        record(log.as_ref(), stream, &[ContainerEvent::WorkFailed(failed)]).await;
    }
    let tree = sled::Config::new().temporary(true).open().unwrap().open_tree("s").unwrap();
    let snapshots = Snapshots::new(tree);
    Aggregate::<Container>::load(stream, log.as_ref(), &snapshots).unwrap();
    let mut reacting = Reacting::start(log.clone(), snapshots, stream, node_id, false).await;
    let before = log.around.0.load(Ordering::Relaxed);
    reacting.record(&asks).await;
    assert_eq!(reacting.next().await.0.action.name(), "pause");
    let read = log.around.0.load(Ordering::Relaxed) - before;
    assert!(read < 10, "{read} events were read");
}

/// What is asked to go, as a container that cannot.
struct Asked(mpsc::UnboundedSender<(StreamId, ServiceCommand)>);

#[async_trait]
impl CommandPort for Asked {
    async fn command(
        &self,
        message: CommandMessage,
        _: Authority,
    ) -> Result<CommandReply, CommandError> {
        let bus::Asked::Service(command) = message.asked() else { panic!("{message:?}") };
        self.0.send((message.stream, command.clone())).unwrap();
        tokio::time::sleep(Duration::from_secs(90)).await;
        let (stream, revision, position) = (message.stream, Revision(0), Position(1));
        Ok(CommandReply { stream, revision, position, work: None, repeated: false })
    }
}

/// A container of a bay that is gone is asked to go until it has gone, once at a time.
#[tokio::test(start_paused = true)]
async fn what_a_deleted_bay_left_behind_is_asked_to_go_again_and_again() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let left = container();
    let orphan = Orphan { member: left, bay_id: clock::new_object_id(), is_abandoned: false };
    let bus = Arc::new(LocalBus::default());
    let (sender, mut asked) = mpsc::unbounded_channel();
    bus.serve_commands(Arc::new(Asked(sender)));
    let (_stop, stopping) = watch::channel(false);
    let (_hellos, heard) = mpsc::channel(1);
    let objects = Objects::new(log, Snapshots::default());
    let members = Arc::new(Left { orphans: vec![orphan], members: vec![] });
    let reactor = Reactor::new(objects, bus.port(Authority::Conductor), members, heard);
    let began = tokio::time::Instant::now();
    tokio::spawn(reactor.run(vec![], Position(0), stopping));
    for minutes in [0, 2, 4] {
        let stream = tokio::time::timeout(Duration::from_secs(600), asked.recv()).await;
        assert_eq!(stream.unwrap(), Some((left, ServiceCommand::Delete)));
        assert_eq!(began.elapsed().as_secs(), minutes * 60);
    }
}

/// A bay with as many containers as were asked to go, minus those that have gone by a time.
struct Going(tokio::time::Instant);

#[async_trait]
impl Members for Going {
    async fn of(&self, _: &ProjectId, _: ObjectId) -> Result<Vec<StreamId>, String> {
        let left = [60, 90].into_iter().filter(|gone_s| self.0.elapsed().as_secs() < *gone_s);
        Ok(left.map(|_| StreamId::new(Kind::Container, ObjectId::default())).collect())
    }

    async fn has_bay(&self, _: &ProjectId, _: ObjectId) -> Result<bool, String> {
        Ok(false)
    }

    async fn orphans(&self) -> Result<Vec<Orphan>, String> {
        Ok(vec![])
    }
}

/// What is told of work, and of when.
struct Heard(mpsc::UnboundedSender<WorkResult>);

#[async_trait]
impl CommandPort for Heard {
    async fn command(
        &self,
        message: CommandMessage,
        _: Authority,
    ) -> Result<CommandReply, CommandError> {
        if let bus::Asked::Service(ServiceCommand::Outcome(outcome)) = message.asked() {
            self.0.send(outcome.result.clone()).unwrap();
        }
        let (stream, revision, position) = (message.stream, Revision(0), Position(1));
        Ok(CommandReply { stream, revision, position, work: None, repeated: false })
    }
}

/// A deletion that proceeds is not blocked any more, so it is not one that may be given up.
#[tokio::test(start_paused = true)]
async fn a_bay_that_was_blocked_says_that_a_container_has_gone() {
    let bus = Arc::new(LocalBus::default());
    let (sender, mut heard) = mpsc::unbounded_channel();
    bus.serve_commands(Arc::new(Heard(sender)));
    let members = Arc::new(Going(tokio::time::Instant::now()));
    let mut told = vec![];
    for attempt in 1..=3 {
        let work = Work {
            id: clock::new_event_id(),
            attempt,
            not_before: None,
            due_at: None,
            stream: StreamId::new(Kind::Bay, clock::new_object_id()),
            project: ProjectId::default(),
            node_id: clock::new_object_id(),
            request_id: String::new(),
            action: Cascade::EmptyBay,
        };
        // The third one begins 50 s after the first.
        let port = bus.port(Authority::Conductor);
        cascade::empty_bay(port, members.clone(), work).await;
        while let Ok(result) = heard.try_recv() {
            told.push(match result {
                WorkResult::Blocked { .. } => "blocked",
                WorkResult::Progress(_) => "proceeds",
                WorkResult::Done(_) => "done",
                other => panic!("{other:?}"),
            });
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(told, ["blocked", "blocked", "proceeds", "blocked"]);
}

/// Containers of a bay that was given up are told at once, and by the next process again.
#[tokio::test(start_paused = true)]
async fn what_a_bay_that_was_given_up_has_goes_at_once_and_after_a_restart() {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let (left, bay) = (container(), StreamId::new(Kind::Bay, clock::new_object_id()));
    let orphan = Orphan { member: left, bay_id: bay.id, is_abandoned: true };
    for is_restart in [false, true] {
        let bus = Arc::new(LocalBus::default());
        let (sender, mut asked) = mpsc::unbounded_channel();
        bus.serve_commands(Arc::new(Asked(sender)));
        let (_stop, stopping) = watch::channel(false);
        let (_hellos, heard) = mpsc::channel(1);
        let objects = Objects::new(log.clone(), Snapshots::default());
        let (orphans, members) =
            if is_restart { (vec![orphan], vec![]) } else { (vec![], vec![left]) };
        let members = Arc::new(Left { orphans, members });
        let reactor = Reactor::new(objects, bus.port(Authority::Conductor), members, heard);
        let head = *log.head().borrow();
        let began = tokio::time::Instant::now();
        tokio::spawn(reactor.run(vec![], head, stopping));
        if !is_restart {
            let (left_behind, still_deleted) = (vec![], vec![left.id]);
            let gone = BayAbandonedV1 { left_behind, still_deleted, cancelled: vec![] };
            let gone = BayEvent::Abandoned(gone);
            let meta = Meta::default();
            let gone = NewEvent::new(clock::new_event_id(), clock::now(), meta, &gone);
            let expected = Expected::NoStream;
            let append = Append { stream: bay, expected, command: None, events: vec![gone] };
            log.append(append).await.unwrap();
        }
        assert_eq!(asked.recv().await, Some((left, ServiceCommand::Abandon)));
        assert_eq!(began.elapsed().as_secs(), 0);
    }
}

/// Events that were read.
#[derive(Default)]
struct Reads(AtomicUsize);

impl Around for Reads {
    fn read(&self, events: usize) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }
}

fn container() -> StreamId {
    StreamId::new(Kind::Container, clock::new_object_id())
}
