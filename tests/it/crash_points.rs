//! A crash at every record, on the model of an engine: whatever was in the log and at the engine
//! when the process died, the next one brings everything to the same end, does no work twice and
//! leaves nothing behind (F1, F2, F3, F4, F6, F7).
//!
//! One run of a scenario is taped: every append, and what the engine had just before it. That
//! picture is how a crash may find the engine after the append before (work done, outcome not
//! recorded) and after this one (work asked for, not begun). From each of them everything is
//! started again, the client sends the whole scenario again with the same keys, and the end is
//! compared. `MAGNUM_CRASH_AGAIN=N` crashes those lives as well, at every Nth of their points.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use magnum::actors::Entity;
use magnum::actors::bay::BayCommand;
use magnum::actors::baymodel::BaymodelCommand;
use magnum::actors::container::ContainerCommand as Command;
use magnum::actors::placement::NodeFacts;
use magnum::actors::snapshot::Snapshots;
use magnum::app::parts::{Base, Parts};
use magnum::backends::fake::{FakeBackend, FakeEngine, Fault, Picture};
use magnum::backends::{BackendError, RunState};
use magnum::bus::{CommandMessage, CommandReply, NounCommand, Origin};
use magnum::clock;
use magnum::config::{BackendConfig, Config};
use magnum::events::bay::BayPlan;
use magnum::events::baymodel::BaymodelFields;
use magnum::events::container::ContainerSpec;
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::{Append, AppendError, Appended, EventLog};
use magnum::events::work::FieldChange;
use magnum::events::{Recorded, codec};
use magnum::ids::{CommandId, EventId, Kind, ObjectId, Position, StreamId, Timestamp};
use magnum::projections::View;
use magnum::projections::bay::BayView;
use magnum::projections::baymodel::BaymodelView;
use magnum::projections::container::ContainerView;
use magnum::projections::node::NodeView;
use magnum::projections::store::Store;
use magnum::replay::{self, Source};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use crate::harness::PATIENCE;
use crate::log_around::{Around, LogAround};

/// Lives that are lived at the same time: most of each is waiting.
const THREADS: usize = 48;

/// Tapes what is appended and what the engine had just before it.
pub struct Taping {
    engine: Arc<FakeEngine>,
    tape: tokio::sync::Mutex<Tape>,
    /// What the work of the next command of the client meets.
    fault: Mutex<Option<Fault>>,
}

/// A life as it was taped.
#[derive(Clone, Default)]
pub struct Tape {
    pub appends: Vec<Append>,
    /// The engine before an append, for those of this life.
    pictures: Vec<(usize, Picture)>,
}

#[async_trait]
impl Around for Taping {
    async fn append(&self, log: &MemoryLog, append: Append) -> Result<Appended, AppendError> {
        // Nothing else is appended meanwhile, so log and picture belong together.
        let mut tape = self.tape.lock().await;
        let picture = self.engine.picture();
        if append.command.is_some()
            && let Some(fault) = self.fault.lock().unwrap().take()
        {
            self.engine.inject(fault);
        }
        let appended = log.append(append.clone()).await?;
        let place = tape.appends.len();
        tape.pictures.push((place, picture));
        tape.appends.push(append);
        Ok(appended)
    }
}

/// One step of the scenario.
pub enum Step {
    /// The client asks, with a key that is the same in every life; its work may meet a fault.
    Ask { key: String, stream: StreamId, command: Value, fault: Option<Fault> },
    /// Something happens to the engine.
    Happens(fn(&FakeEngine)),
    /// The client waits.
    Until(Condition),
}

#[derive(Clone, Copy, Debug)]
pub enum Condition {
    /// Nothing waits for work.
    Quiet,
    /// This container's work is blocked, or was and is done.
    Blocked(u128),
    /// This container's process has ended by itself.
    Ended(u128),
}

/// An object by number; its kind makes it another object.
pub fn object(number: u128) -> ObjectId {
    ObjectId(Uuid::from_u128(number))
}

/// Steps that are put down one after the other. The node is the nil uuid until it is known.
#[derive(Default)]
pub struct Scenario(pub Vec<Step>);

impl Scenario {
    pub fn ask(&mut self, kind: Kind, number: u128, command: &impl Serialize) -> &mut Self {
        let stream = StreamId::new(kind, object(number));
        let key = format!("key-{}", self.0.len());
        let command = serde_json::to_value(command).unwrap();
        self.0.push(Step::Ask { key, stream, command, fault: None });
        self
    }

    pub fn container(&mut self, number: u128, command: &Command) -> &mut Self {
        self.ask(Kind::Container, number, command)
    }

    fn meeting(&mut self, met: Fault) -> &mut Self {
        if let Some(Step::Ask { fault, .. }) = self.0.last_mut() {
            *fault = Some(met);
        }
        self
    }

    fn happens(&mut self, what: fn(&FakeEngine)) -> &mut Self {
        self.0.push(Step::Happens(what));
        self
    }

    pub fn until(&mut self, condition: Condition) -> &mut Self {
        self.0.push(Step::Until(condition));
        self
    }

    pub fn create(&mut self, number: u128, bay: u128, image: &str, command: &str) -> &mut Self {
        let spec = ContainerSpec {
            image: image.to_owned(),
            command: command.split(' ').map(str::to_owned).collect(),
            ..ContainerSpec::default()
        };
        let create = Command::Create {
            name: Some(format!("c{number}")),
            desc: None,
            spec,
            bay_id: object(bay),
            node_id: ObjectId::default(),
            host: "n1".to_owned(),
        };
        self.container(number, &create)
    }

    pub fn bay(&mut self, number: u128) -> &mut Self {
        let plan = BayPlan {
            name: Some(format!("b{number}")),
            baymodel_id: object(1),
            node_count: 1,
            discovery_url: None,
            create_timeout_min: 0,
            bay_type: None,
            image_id: None,
        };
        let node = NodeFacts {
            node_id: ObjectId::default(),
            host: "n1".to_owned(),
            registered: true,
            unavailable: None,
            bays: 0,
        };
        self.ask(Kind::Bay, number, &BayCommand::Create { plan, nodes: vec![node], coe: None })
    }
}

fn changes(field: &str, value: &str) -> Vec<FieldChange> {
    vec![FieldChange { field: field.to_owned(), value: value.to_owned() }]
}

/// Two bays and what happens in them: everything that can be asked of a container but to end a
/// command, work that fails, that is blocked, that hangs and whose answer is lost, a delete that
/// overtakes, a bay that is deleted with all it holds.
fn scenario() -> Vec<Step> {
    use Condition::{Blocked, Ended, Quiet};
    let busybox = "busybox:local";
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut all = Scenario::default();
    let fields = BaymodelFields { coe: "docker".into(), ..BaymodelFields::default() };
    all.ask(Kind::Baymodel, 1, &BaymodelCommand::Create { fields: fields.clone() });
    all.ask(Kind::Baymodel, 2, &BaymodelCommand::Create { fields });
    all.bay(1).bay(2).until(Quiet);
    // One after the other, without waiting: the queue is part of the state.
    all.create(1, 1, busybox, "sleep 600").container(1, &Command::Start);
    all.container(1, &Command::Pause).container(1, &Command::Unpause).until(Quiet);
    // A job that is over before anybody looks.
    all.create(2, 2, busybox, "exit 3").container(2, &Command::Start).until(Ended(2));
    all.container(1, &Command::Execute { command: words("echo hi") });
    all.container(1, &Command::Kill { signal: "SIGHUP".into() });
    all.container(1, &Command::Reboot { grace_s: 0 }).until(Quiet);
    // What was started is rebooted before anybody waited: the start is not the reboot.
    all.container(1, &Command::Stop { grace_s: 0 }).container(1, &Command::Start);
    all.container(1, &Command::Reboot { grace_s: 0 });
    // No registry has this image.
    all.create(3, 1, "missing/none", "true").create(4, 2, "missing/none", "true").until(Quiet);
    all.container(4, &Command::Delete).until(Quiet);
    // The engine makes it and says that it failed (F2).
    let lost = Fault::LoseAnswer(BackendError::Failed("500".to_owned()));
    all.create(5, 1, busybox, "sleep 600").meeting(lost.clone()).until(Blocked(5));
    all.container(5, &Command::Start).until(Quiet);
    all.create(9, 2, busybox, "exit 4").container(9, &Command::Start).meeting(lost);
    all.happens(FakeEngine::go_away);
    all.container(1, &Command::Stop { grace_s: 0 }).until(Blocked(1));
    all.happens(FakeEngine::come_back).until(Quiet);
    all.container(1, &Command::Start);
    // The create hangs; what waits behind it never starts (F6).
    all.create(6, 2, busybox, "sleep 600").meeting(Fault::Hang);
    all.container(6, &Command::Start).container(6, &Command::Delete);
    all.happens(FakeEngine::release).until(Quiet);
    let renamed = changes("name", "\"renamed\"");
    all.container(2, &Command::Update { changes: renamed.clone() });
    all.ask(Kind::Baymodel, 1, &BaymodelCommand::Update { changes: renamed });
    all.ask(Kind::Baymodel, 2, &BaymodelCommand::Delete { bays: 0 });
    // With a running container, one that was never made, and one that is asked to stop.
    all.container(5, &Command::Stop { grace_s: 0 });
    all.ask(Kind::Bay, 1, &BayCommand::Delete);
    all.ask(Kind::Bay, 2, &BayCommand::Update { changes: changes("node_count", "2") });
    all.create(7, 2, busybox, "sleep 600").container(7, &Command::Start);
    all.container(7, &Command::Kill { signal: "SIGKILL".into() }).until(Ended(7));
    all.create(8, 2, busybox, "sleep 600").container(8, &Command::Start).until(Quiet);
    // Another one takes its place, while it runs; then one that cannot.
    let command = |line: &str| changes("command", &json!(line).to_string());
    all.container(8, &Command::Recreate { changes: command("sleep 700") }).until(Quiet);
    all.container(8, &Command::Recreate { changes: command("no-such-command") }).until(Quiet);
    all.container(8, &Command::Update { changes: command("sleep 800") });
    all.container(8, &Command::Recreate { changes: vec![] }).until(Quiet);
    all.0
}

/// A command from its JSON.
fn typed<C: NounCommand>(stream: StreamId, command: &str, origin: Origin) -> CommandMessage {
    let command: C = serde_json::from_str(command).unwrap();
    CommandMessage::new(stream.id, &command, origin).unwrap()
}

/// A process from its start on.
pub struct Life {
    name: String,
    pub parts: Parts,
    pub log: Arc<LogAround<Taping>>,
    pub engine: Arc<FakeEngine>,
    pub node_id: ObjectId,
    stop: watch::Sender<bool>,
    _home: TempDir,
}

impl Life {
    pub async fn begin(name: String, appends: &[Append], engine: Arc<FakeEngine>) -> Self {
        let log = MemoryLog::new();
        for append in appends {
            log.append(append.clone()).await.unwrap();
        }
        let tape = Tape { appends: appends.to_vec(), pictures: vec![] };
        let taping = Taping {
            engine: engine.clone(),
            tape: tokio::sync::Mutex::new(tape),
            fault: Mutex::new(None),
        };
        let log = Arc::new(LogAround::new(log, taping));
        let home = TempDir::new().unwrap();
        let views = Store::open(&home.path().join("views")).unwrap();
        let (snapshots, low_space) = (Snapshots::default(), watch::channel(None).1);
        let base = Base { log: log.clone(), snapshots, views, low_space, unique_names: true };
        let config = BackendConfig { host: "n1".to_owned(), ..Config::default().backend };
        let (stop, stopping) = watch::channel(false);
        let mut node = ObjectId::default();
        let parts = {
            let backend = |node_id| {
                node = node_id;
                Arc::new(FakeBackend::new(engine.clone(), node_id)) as _
            };
            Parts::start(base, &config, backend, &stopping).await.unwrap()
        };
        Self { name, parts, log, engine, node_id: node, stop, _home: home }
    }

    pub async fn end(self) -> Tape {
        self.stop.send_replace(true);
        self.parts.stop().await;
        self.log.around.tape.lock().await.clone()
    }

    /// Sends the whole scenario. What was answered in an earlier life is answered as then; what
    /// happened or was waited for before that is past.
    pub async fn live(&self, steps: &[Step]) {
        let recorded = |step: &Step| match step {
            Step::Ask { key, .. } => self.log.command(&id_of(key)).unwrap().is_some(),
            _ => false,
        };
        let past = steps.iter().rposition(recorded).map_or(0, |last| last + 1);
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Ask { key, stream, command, fault } => {
                    let seen = self.log.command(&id_of(key)).unwrap();
                    assert_eq!(seen.is_some(), number < past, "{}: {key}", self.name);
                    self.log.around.fault.lock().unwrap().clone_from(fault);
                    let reply = self.ask(key, *stream, command, seen.is_some()).await;
                    assert_eq!(reply.repeated, seen.is_some(), "{}: {key}", self.name);
                    if let Some(seen) = seen {
                        let first = (seen.stream, seen.appended.last, seen.appended.revision);
                        assert_eq!((reply.stream, reply.position, reply.revision), first);
                    }
                }
                _ if number < past => {}
                Step::Happens(what) => what(&self.engine),
                Step::Until(condition) => self.until(*condition).await,
            }
        }
        self.until(Condition::Quiet).await;
    }

    async fn ask(&self, key: &str, stream: StreamId, command: &Value, again: bool) -> CommandReply {
        let nil = ObjectId::default().to_string();
        let command = command.to_string().replace(&nil, &self.node_id.to_string());
        let origin = Origin {
            user: "test".to_owned(),
            request_id: key.to_owned(),
            command_id: Some(id_of(key)),
            digest: Some(*blake3::hash(key.as_bytes()).as_bytes()),
            ..Origin::default()
        };
        if again {
            self.log.around.fault.lock().unwrap().take();
        }
        let kind = stream.kind.noun().unwrap();
        let message = magnum::with_noun!(kind, entity E => {
            typed::<<E as Entity>::Command>(stream, &command, origin)
        });
        let reply = self.parts.bus.command(message).await;
        reply.unwrap_or_else(|error| panic!("{}: {key}: {error}\n{}", self.name, self.story()))
    }

    pub async fn until(&self, condition: Condition) {
        let start = Instant::now();
        while !self.holds(condition).await {
            let late = start.elapsed() > PATIENCE;
            assert!(!late, "{}: waited for {condition:?}\n{}", self.name, self.story());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn holds(&self, condition: Condition) -> bool {
        let head = *self.log.head().borrow();
        self.parts.reads.wait_for(head, PATIENCE).await.unwrap();
        let container = |number| {
            let found = self.parts.reads.any::<ContainerView>(object(number));
            found.unwrap().unwrap_or_else(|| panic!("{}: no container {number}", self.name))
        };
        match condition {
            Condition::Quiet => self.parts.reads.outstanding().unwrap().is_empty(),
            Condition::Blocked(number) => {
                let tasks = container(number).tasks;
                tasks.is_empty() || tasks.iter().any(|task| task.blocked_on.is_some())
            }
            Condition::Ended(number) => container(number).exit_code.is_some(),
        }
    }

    pub fn events(&self) -> Vec<Recorded> {
        self.log.read(Position(0), usize::MAX).unwrap()
    }

    /// The log in words, for a failure.
    pub fn story(&self) -> String {
        let line = |event: &Recorded| {
            let (name, data) = (event.event_type.as_str(), data(event));
            format!("{} {} {} {name} {data}", event.position, event.time, event.stream)
        };
        let events: Vec<_> = self.events().iter().map(line).collect();
        format!("{}\n{:?}", events.join("\n"), self.engine.effects())
    }
}

fn id_of(key: &str) -> CommandId {
    CommandId(format!("default/{key}"))
}

fn data(event: &Recorded) -> Value {
    let name = event.event_type.as_str();
    codec::payload_json(event.stream.kind, name, event.version, &event.payload).unwrap()
}

/// What is compared of an end: every object, without what may differ from life to life.
fn end_state(life: &Life) -> BTreeMap<StreamId, Value> {
    let mut all = BTreeMap::new();
    rows::<BayView>(life, &mut all);
    rows::<BaymodelView>(life, &mut all);
    rows::<ContainerView>(life, &mut all);
    rows::<NodeView>(life, &mut all);
    all
}

fn rows<V: View>(life: &Life, all: &mut BTreeMap<StreamId, Value>) {
    let each = |view: V| {
        let text = serde_json::to_string(&view).unwrap();
        let text = text.replace(&life.node_id.to_string(), &ObjectId::default().to_string());
        let mut row: Value = serde_json::from_str(&text).unwrap();
        for field in ["engine_id", "network_id", "status_since", "outcomes"] {
            row.as_object_mut().unwrap().remove(field);
        }
        // Of a process only that it is known.
        for field in ["started_at", "finished_at", "address"] {
            if let Some(value) = row.get_mut(field) {
                *value = json!(!value.is_null());
            }
        }
        for field in ["position", "created_position", "revision", "created_at", "updated_at"] {
            row["head"].as_object_mut().unwrap().remove(field);
        }
        // What cannot be repeated without harm is unknown where a crash cut it off.
        let certain = |outcome: &&magnum::projections::OutcomeView| {
            !matches!(outcome.action.as_str(), "execute" | "kill")
        };
        let told = view.outcomes().iter().filter(certain);
        let told = told.map(|outcome| json!([outcome.action, outcome.failure]));
        row["outcomes"] = told.collect();
        let id: ObjectId = row["head"]["uuid"].as_str().unwrap().parse().unwrap();
        all.insert(StreamId::new(V::KIND, id), row);
    };
    life.parts.reads.each(each).unwrap();
}

/// What must hold at the end of any life.
fn check(life: &Life) {
    let context = || format!("{}\n{}", life.name, life.story());
    let effects = life.engine.effects();
    let mut outcomes: BTreeMap<EventId, (String, Value)> = BTreeMap::new();
    for event in life.events() {
        let name = event.event_type.as_str();
        let behind = name == "container.drifted" || name.starts_with("node.unknown_");
        assert!(!behind, "{name}, and nobody was behind our back: {}", context());
        let data = data(&event);
        if let Some(work) = data["work_id"].as_str()
            && !name.ends_with("work_blocked")
        {
            outcomes.insert(EventId(work.parse().unwrap()), (name.to_owned(), data));
        }
    }
    for (work, (name, data)) in &outcomes {
        let times = effects.iter().filter(|(id, _)| id == work).count();
        let right = match name.as_str() {
            "container.work_failed" => times == 0,
            "container.work_unknown" => {
                times <= 1 && matches!(data["action"].as_str(), Some("execute" | "kill"))
            }
            // One for the request itself, and none of a container that was never made.
            "container.deleted" => times <= 1,
            "bay.emptied" => true,
            _ => times == 1,
        };
        assert!(right, "{name} of {work} was done {times} times: {}", context());
    }
    // What a delete cancelled may have been done before it was aborted.
    let cancelled: BTreeSet<String> = life
        .events()
        .iter()
        .flat_map(|event| data(event)["cancelled"].as_array().cloned().unwrap_or_default())
        .map(|id| id.as_str().unwrap_or_default().to_owned())
        .collect();
    let stray: Vec<_> = effects
        .iter()
        .filter(|(id, _)| !outcomes.contains_key(id) && !cancelled.contains(&id.to_string()))
        .collect();
    assert!(stray.is_empty(), "done without an outcome: {stray:?}: {}", context());
    let mut owned: BTreeMap<ObjectId, String> = BTreeMap::new();
    let mut networks = vec![];
    life.parts
        .reads
        .each(|one: ContainerView| drop(owned.insert(one.head.uuid, one.status.name().to_owned())))
        .unwrap();
    life.parts.reads.each(|bay: BayView| networks.push((life.node_id, bay.head.uuid))).unwrap();
    assert_eq!(life.engine.networks(), networks, "{}", context());
    for container in life.engine.containers() {
        let status = owned.remove(&container.stream.unwrap().id);
        let right = match container.state {
            RunState::Running => status.as_deref() == Some("Running"),
            RunState::Created | RunState::Exited => status.as_deref() == Some("Stopped"),
            _ => false,
        };
        assert!(right, "{container:?} is {status:?}: {}", context());
    }
    let missing = owned.values().all(|status| status == "Error");
    assert!(missing, "the engine lacks {owned:?}: {}", context());
}

/// Where a crash may leave things.
struct Point<'a> {
    name: String,
    appends: &'a [Append],
    picture: &'a Picture,
}

fn points(tape: &Tape) -> Vec<Point<'_>> {
    let mut all = vec![];
    for (place, picture) in &tape.pictures {
        let last = |appends: &[Append]| {
            let last = appends.last().and_then(|append| append.events.last());
            last.map_or("nothing", |event| event.event_type.as_str()).to_owned()
        };
        for (length, when) in [(*place, "work done"), (*place + 1, "no work begun")] {
            let appends = &tape.appends[..length];
            let name = format!("after {length} appends ({}), {when}", last(appends));
            all.push(Point { name, appends, picture });
        }
    }
    all
}

/// Lives from a point to the end.
fn live_on(point: &Point<'_>, steps: &[Step], expected: &BTreeMap<StreamId, Value>) -> Tape {
    actix::System::new().block_on(async {
        let life = Life::begin(point.name.clone(), point.appends, point.picture.engine()).await;
        life.live(steps).await;
        check(&life);
        let end = end_state(&life);
        let differs = |id: &&StreamId| end.get(id) != expected.get(id);
        if let Some(id) = end.keys().chain(expected.keys()).find(differs) {
            let (now, then) = (end.get(id), expected.get(id));
            panic!("{}: {id}:\n{now:?}\nnot\n{then:?}\n{}", life.name, life.story());
        }
        life.end().await
    })
}

/// Lives on from all points, many at a time.
fn live_on_from_all(
    points: &[Point<'_>],
    steps: &[Step],
    expected: &BTreeMap<StreamId, Value>,
    then: impl Fn(&Point<'_>, &Tape) + Sync,
) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(vec![]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let lives = || then(point, &live_on(point, steps, expected));
                    if catch_unwind(AssertUnwindSafe(lives)).is_err() {
                        failed.lock().unwrap().push(&point.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), points.len());
}

/// F49: every decision in a log, decided again from what it was based on, is the same to the byte.
pub fn decide_again(life: &Life) {
    let checked = replay::check::check(&Source::new(life.log.clone())).unwrap();
    assert!(checked.commands > 0, "{}", life.story());
    assert_eq!(checked.differences, [], "{}", life.story());
}

/// The network's bays that the node says are not recorded.
pub async fn unknown_networks(life: &Life) -> Vec<ObjectId> {
    life.parts.reads.wait_for(*life.log.head().borrow(), PATIENCE).await.unwrap();
    let node = life.parts.reads.any::<NodeView>(life.node_id).unwrap().unwrap();
    node.unknown_networks.iter().map(|network| network.bay_id).collect()
}

/// A log that is older than the engine (F54): the networks of bays that it does not know are told
/// once each, until they go, and left alone; those of bays that it knows are not told.
#[test]
fn networks_of_bays_that_an_older_log_does_not_know_are_told() {
    actix::System::new().block_on(async {
        let engine = FakeEngine::new(clock::now_and_instant());
        let mut all = Scenario::default();
        let fields = BaymodelFields { coe: "docker".into(), ..BaymodelFields::default() };
        all.ask(Kind::Baymodel, 1, &BaymodelCommand::Create { fields });
        all.bay(1).until(Condition::Quiet).bay(2).bay(3);
        let life = Life::begin("the later log".to_owned(), &[], engine.clone()).await;
        life.live(&all.0).await;
        assert_eq!(unknown_networks(&life).await, []);
        let later = life.end().await.appends;
        let second = StreamId::new(Kind::Bay, object(2));
        let cut = later.iter().position(|append| append.stream == second).unwrap();

        let life = Life::begin("the older log".to_owned(), &later[..cut], engine.clone()).await;
        let becomes = async |wanted: &[ObjectId]| {
            let start = Instant::now();
            while unknown_networks(&life).await != wanted {
                assert!(start.elapsed() < PATIENCE, "{wanted:?}\n{}", life.story());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        becomes(&[object(2), object(3)]).await;
        let bays: Vec<_> = engine.networks().into_iter().map(|(_, bay)| bay).collect();
        assert_eq!(bays, [object(1), object(2), object(3)], "left alone");
        engine.remove_network_behind(object(2));
        // Everything is compared again with an engine that comes back.
        engine.go_away();
        engine.come_back();
        becomes(&[object(3)]).await;
        let told = |name| life.events().iter().filter(|it| it.event_type.as_str() == name).count();
        let told = (told("node.unknown_network_found"), told("node.unknown_network_gone"));
        assert_eq!(told, (2, 1), "{}", life.story());
        life.end().await;
    });
}

/// The engine's clock may show any time: what is asked for is not taken for what somebody else did,
/// and what ends by itself is told.
#[test]
fn an_engine_with_a_clock_of_its_own_changes_nothing() {
    let steps = scenario();
    let live = |hours: i64| {
        let steps = &steps;
        actix::System::new().block_on(async move {
            let (now, at) = clock::now_and_instant();
            let shown = Timestamp(now.0 + hours * 3_600_000_000);
            let life = Life::begin(format!("{hours} h"), &[], FakeEngine::new((shown, at))).await;
            life.live(steps).await;
            check(&life);
            let exits = life.events().into_iter();
            let exits = exits.filter(|event| event.event_type.as_str() == "container.exited");
            let exits: Vec<_> = exits.map(|event| data(&event)["exit_code"].clone()).collect();
            let end = (exits, end_state(&life));
            life.end().await;
            end
        })
    };
    let expected = live(0);
    assert_eq!(expected.0, [3, 4, 137]);
    for hours in [-400 * 24, -2, 2, 400 * 24] {
        assert_eq!(live(hours), expected, "{hours} h ahead");
    }
}

#[test]
fn a_crash_at_any_record_changes_nothing_about_the_end() {
    let steps = scenario();
    let (tape, expected) = actix::System::new().block_on(async {
        let engine = FakeEngine::new(clock::now_and_instant());
        let life = Life::begin("without a crash".to_owned(), &[], engine).await;
        life.live(&steps).await;
        check(&life);
        decide_again(&life);
        let expected = end_state(&life);
        (life.end().await, expected)
    });
    let points = points(&tape);
    eprintln!("{} crash points", points.len());
    assert!(points.len() >= 150, "{}", points.len());
    let every: Option<usize> =
        std::env::var("MAGNUM_CRASH_AGAIN").ok().and_then(|text| text.parse().ok());
    live_on_from_all(&points, &steps, &expected, |point, tape| {
        let Some(every) = every else { return };
        for again in self::points(tape).iter().step_by(every) {
            let name = format!("{}; {}", point.name, again.name);
            live_on(&Point { name, ..*again }, &steps, &expected);
        }
    });
}
